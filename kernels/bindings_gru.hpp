#pragma once

#include <nanobind/nanobind.h>

#include <array>

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

template <class Real>
using HeldLayer = Held<Layer<Real>, 15>;

}  // namespace grus
