#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <tuple>

#include "gru.hpp"

/// @brief Adds the native engine to the module.
void bind_gru(nanobind::module_& m);

namespace grus {

template <class Real, int ndim>
using In = nanobind::ndarray<const Real, nanobind::ndim<ndim>, nanobind::device::cpu>;
template <class Real, int ndim>
using Out = nanobind::ndarray<Real, nanobind::ndim<ndim>, nanobind::device::cpu>;
using Flags = nanobind::ndarray<const bool, nanobind::ndim<2>, nanobind::device::cpu>;

/// @brief A structure for the kernels, and the arrays it points into, which live as long.
template <class Problem, class... Arrays>
struct Held {
    Problem problem;
    std::tuple<Arrays...> arrays;
};

template <class Real>
using HeldLayer = Held<Layer<Real>, In<Real, 3>, In<Real, 2>, In<Real, 2>, In<Real, 1>, In<Real, 1>,
                       In<Real, 2>, In<Real, 2>, Flags, Flags>;

}  // namespace grus
