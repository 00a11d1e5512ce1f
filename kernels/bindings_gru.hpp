#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <vector>

#include "buffer.hpp"
#include "gru.hpp"

/// @brief Adds the native engine to the module.
void bind_gru(nanobind::module_& m);

namespace grus {

using Flags = Whole<const bool, 2>;

/// @brief A structure for the kernels, and the arrays it points into, which live as long.
template <class Problem, std::size_t count>
struct Held {
    Problem problem;
    std::array<nanobind::object, count> arrays;
};

/// @brief What of a layer stays from call to call, its formulation and weights; the rest is null and 0.
template <class Real>
using HeldCell = Held<Layer<Real>, 6>;

/// @brief A forward pass; the states and the workspace are the first arrays.
template <class Real>
struct HeldForward : Held<Forward<Real>, 11> {
    nanobind::object cell;
};

template <class Real>
struct HeldBackward : Held<Backward<Real>, 7> {
    nanobind::object forward;
    std::vector<Real> unasked;  ///< gradients of biases, where the layer has none
};

}  // namespace grus
