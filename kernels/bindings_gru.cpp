/// @file The native engine in Python. `src/grus/_native.py` has made every array of the shape and dtype named
/// here, with a contiguous last axis, and all but x, states, d_states and dx contiguous.

#include "bindings_gru.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace grus;

namespace {

template <class Real, int ndim>
using In = nb::ndarray<const Real, nb::ndim<ndim>, nb::device::cpu>;
template <class Real, int ndim>
using Out = nb::ndarray<Real, nb::ndim<ndim>, nb::device::cpu>;
using Flags = nb::ndarray<const bool, nb::ndim<2>, nb::device::cpu>;

template <class Array>
auto sequence(const Array& a) {
    using Real = std::remove_pointer_t<decltype(a.data())>;
    return Sequence<Real>{a.data(), a.stride(0), a.stride(1)};
}

/// null where it is None
template <class Array>
auto* data_of(const Array& a) {
    return a.is_valid() ? a.data() : nullptr;
}

const std::uint8_t* flags_of(const Flags& a) {
    return a.is_valid() ? reinterpret_cast<const std::uint8_t*>(a.data()) : nullptr;
}

/// A layer and what its steps are, as Python holds them for the call that follows.
template <class Real>
Layer<Real> layer_of(const Formulation& form, bool reverse, const In<Real, 3>& x,
                     const In<Real, 2>& weight_ih, const In<Real, 2>& weight_hh, const In<Real, 1>& bias_ih,
                     const In<Real, 1>& bias_hh, const In<Real, 2>& h0, const In<Real, 2>& reset_state,
                     const Flags& valid, const Flags& reset) {
    Layer<Real> layer{};
    layer.sizes = {static_cast<Size>(x.shape(0)), static_cast<Size>(x.shape(1)),
                   static_cast<Size>(x.shape(2)), static_cast<Size>(h0.shape(1))};
    layer.form = form;
    layer.reverse = reverse;
    layer.weight_ih = weight_ih.data();
    layer.weight_hh = weight_hh.data();
    layer.bias_ih = bias_ih.data();
    layer.bias_hh = bias_hh.data();
    layer.x = sequence(x);
    layer.h0 = h0.data();
    layer.reset_state = reset_state.data();
    layer.valid = flags_of(valid);
    layer.reset = flags_of(reset);
    return layer;
}

template <class Real>
void bind_engine(nb::module_& m) {
    m.def(
        "gru_forward",
        [](Out<Real, 3> states, Out<Real, 3> workspace, const Formulation& form, bool reverse, In<Real, 3> x,
           In<Real, 2> weight_ih, In<Real, 2> weight_hh, In<Real, 1> bias_ih, In<Real, 1> bias_hh,
           In<Real, 2> h0, In<Real, 2> reset_state, Flags valid, Flags reset) {
            const Forward<Real> problem{layer_of<Real>(form, reverse, x, weight_ih, weight_hh, bias_ih,
                                                       bias_hh, h0, reset_state, valid, reset),
                                        sequence(states), data_of(workspace)};
            const nb::gil_scoped_release release;
            run_forward(problem);
        },
        "states"_a, "workspace"_a.none(), "form"_a, "reverse"_a, "x"_a.noconvert(), "weight_ih"_a,
        "weight_hh"_a, "bias_ih"_a, "bias_hh"_a, "h0"_a, "reset_state"_a, "valid"_a.none(), "reset"_a.none());
    m.def(
        "gru_backward",
        [](Out<Real, 3> dx, Out<Real, 2> dh0, Out<Real, 2> dweight_ih, Out<Real, 2> dweight_hh,
           Out<Real, 1> dbias_ih, Out<Real, 1> dbias_hh, Out<Real, 2> d_reset_state, In<Real, 3> d_states,
           In<Real, 2> d_h_n, In<Real, 3> states, Out<Real, 3> workspace, const Formulation& form,
           bool reverse, In<Real, 3> x, In<Real, 2> weight_ih, In<Real, 2> weight_hh, In<Real, 1> bias_ih,
           In<Real, 1> bias_hh, In<Real, 2> h0, In<Real, 2> reset_state, Flags valid, Flags reset) {
            const Backward<Real> problem{layer_of<Real>(form, reverse, x, weight_ih, weight_hh, bias_ih,
                                                        bias_hh, h0, reset_state, valid, reset),
                                         sequence(states),
                                         sequence(d_states),
                                         d_h_n.data(),
                                         data_of(workspace),
                                         sequence(dx),
                                         dh0.data(),
                                         d_reset_state.data(),
                                         dweight_ih.data(),
                                         dweight_hh.data(),
                                         dbias_ih.data(),
                                         dbias_hh.data()};
            const nb::gil_scoped_release release;
            run_backward(problem);
        },
        "dx"_a, "dh0"_a, "dweight_ih"_a, "dweight_hh"_a, "dbias_ih"_a, "dbias_hh"_a, "d_reset_state"_a,
        "d_states"_a, "d_h_n"_a, "states"_a, "workspace"_a.none(), "form"_a, "reverse"_a, "x"_a.noconvert(),
        "weight_ih"_a, "weight_hh"_a, "bias_ih"_a, "bias_hh"_a, "h0"_a, "reset_state"_a, "valid"_a.none(),
        "reset"_a.none());
    m.def(
        "activate",
        [](Out<Real, 1> out, In<Real, 1> in, const Activation& activation) {
            const nb::gil_scoped_release release;
            kernels<Real>().activate(activation, in.data(), out.data(), static_cast<Size>(in.shape(0)));
        },
        "out"_a, "in_"_a.noconvert(), "activation"_a);
}

}  // namespace

void bind_gru(nb::module_& m) {
    nb::enum_<Function>(m, "Function")
        .value("identity", Function::identity)
        .value("tanh", Function::tanh)
        .value("sigmoid", Function::sigmoid)
        .value("relu", Function::relu)
        .value("leaky_relu", Function::leaky_relu)
        .value("elu", Function::elu)
        .value("softsign", Function::softsign)
        .value("hard_sigmoid", Function::hard_sigmoid);
    nb::class_<Activation>(m, "Activation")
        .def(
            "__init__",
            [](Activation* self, Function function, double alpha, double beta) {
                new (self) Activation{function, alpha, beta};
            },
            "function"_a, "alpha"_a, "beta"_a);
    nb::class_<Formulation>(m, "Formulation")
        .def(
            "__init__",
            [](Formulation* self, bool reset_after, const Activation& activation,
               const Activation& reset_activation, const Activation& update_activation) {
                new (self) Formulation{reset_after, activation, reset_activation, update_activation};
            },
            "reset_after"_a, "activation"_a, "reset_activation"_a, "update_activation"_a);
    bind_engine<float>(m);
    bind_engine<double>(m);
    m.def("available_instruction_sets", &available_instruction_sets);
    m.def("instruction_set", &instruction_set);
    m.def("use_instruction_set", &use_instruction_set, "name"_a);
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, "count"_a);
}
