/// @file The native engine in Python: the structures of `gru.hpp`, made of arrays, and `run`, which takes one
/// or two of them. `src/grus/_native.py` has made every array of the shape and dtype named here, with a
/// contiguous last axis, and all but x, states, d_states and dx contiguous.

#include "bindings_gru.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace grus;

namespace {

template <class Array>
auto sequence(const Array& a) {
    using Real = std::remove_pointer_t<decltype(a.data())>;
    return a.is_valid() ? Sequence<Real>{a.data(), a.stride(0), a.stride(1)} : Sequence<Real>{};
}

/// null where it is None
template <class Array>
auto* data_of(const Array& a) {
    return a.is_valid() ? a.data() : nullptr;
}

const std::uint8_t* flags_of(const Flags& a) {
    return a.is_valid() ? reinterpret_cast<const std::uint8_t*>(a.data()) : nullptr;
}

template <class Real>
using HeldForward = Held<Forward<Real>, Out<Real, 3>, Out<Real, 3>>;
template <class Real>
using HeldBackward = Held<Backward<Real>, In<Real, 3>, Out<Real, 3>, In<Real, 3>, In<Real, 2>, Out<Real, 3>,
                          Out<Real, 2>, Out<Real, 2>, Out<Real, 2>, Out<Real, 1>, Out<Real, 1>, Out<Real, 2>,
                          Out<Real, 1>, Out<Real, 1>, Out<Real, 3>>;

/// What few layers have: gains, decay, masks.
template <class Real>
using Extras =
    Held<Layer<Real>, In<Real, 1>, In<Real, 1>, In<Real, 3>, In<Real, 3>, In<Real, 2>, In<Real, 2>>;

template <class Real>
void bind_extras(nb::module_& m, const char* name) {
    nb::class_<Extras<Real>>(m, name).def(
        "__init__",
        [](Extras<Real>* self, In<Real, 1> gain_ih, In<Real, 1> gain_hh, In<Real, 3> decay,
           In<Real, 3> zoneout, In<Real, 2> recurrent_mask, In<Real, 2> input_mask) {
            Layer<Real> layer{};
            layer.gain_ih = data_of(gain_ih);
            layer.gain_hh = data_of(gain_hh);
            layer.decay = sequence(decay);
            layer.zoneout = sequence(zoneout);
            layer.recurrent_mask = data_of(recurrent_mask);
            layer.input_mask = data_of(input_mask);
            new (self) Extras<Real>{layer, {gain_ih, gain_hh, decay, zoneout, recurrent_mask, input_mask}};
        },
        "gain_ih"_a.noconvert().none(), "gain_hh"_a.noconvert().none(), "decay"_a.noconvert().none(),
        "zoneout"_a.noconvert().none(), "recurrent_mask"_a.noconvert().none(),
        "input_mask"_a.noconvert().none());
}

template <class Real>
void bind_layer(nb::module_& m, const char* name) {
    nb::class_<HeldLayer<Real>>(m, name).def(
        "__init__",
        [](HeldLayer<Real>* self, const Formulation& form, bool reverse, In<Real, 3> x, In<Real, 2> weight_ih,
           In<Real, 2> weight_hh, In<Real, 1> bias_ih, In<Real, 1> bias_hh, In<Real, 2> h0,
           In<Real, 2> reset_state, Flags valid, Flags reset, const Extras<Real>* extras) {
            Layer<Real> layer = extras ? extras->problem : Layer<Real>{};
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
            layer.reset_state = data_of(reset_state);
            layer.valid = flags_of(valid);
            layer.reset = flags_of(reset);
            new (self) HeldLayer<Real>{
                layer, {x, weight_ih, weight_hh, bias_ih, bias_hh, h0, reset_state, valid, reset}};
        },
        nb::keep_alive<1, 13>(), "form"_a, "reverse"_a, "x"_a.noconvert(), "weight_ih"_a.noconvert(),
        "weight_hh"_a.noconvert(), "bias_ih"_a.noconvert(), "bias_hh"_a.noconvert(), "h0"_a.noconvert(),
        "reset_state"_a.noconvert().none(), "valid"_a.noconvert().none(), "reset"_a.noconvert().none(),
        "extras"_a.none());
}

template <class Real>
void bind_forward(nb::module_& m, const char* name) {
    nb::class_<HeldForward<Real>>(m, name).def(
        "__init__",
        [](HeldForward<Real>* self, const HeldLayer<Real>& layer, Out<Real, 3> states,
           Out<Real, 3> workspace) {
            new (self) HeldForward<Real>{{layer.problem, sequence(states), data_of(workspace), false},
                                         {states, workspace}};
        },
        nb::keep_alive<1, 2>(), "layer"_a, "states"_a, "workspace"_a.none());
}

template <class Real>
void bind_backward(nb::module_& m, const char* name) {
    nb::class_<HeldBackward<Real>>(m, name).def(
        "__init__",
        [](HeldBackward<Real>* self, const HeldLayer<Real>& layer, In<Real, 3> states, Out<Real, 3> workspace,
           In<Real, 3> d_states, In<Real, 2> d_h_n, Out<Real, 3> dx, Out<Real, 2> dh0,
           Out<Real, 2> dweight_ih, Out<Real, 2> dweight_hh, Out<Real, 1> dbias_ih, Out<Real, 1> dbias_hh,
           Out<Real, 1> dgain_ih, Out<Real, 1> dgain_hh, Out<Real, 2> d_reset_state, Out<Real, 3> d_decay) {
            new (self) HeldBackward<Real>{
                {layer.problem, sequence(states), sequence(d_states), d_h_n.data(), data_of(workspace),
                 sequence(dx), sequence(d_decay), dh0.data(), data_of(d_reset_state), dweight_ih.data(),
                 dweight_hh.data(), dbias_ih.data(), dbias_hh.data(), data_of(dgain_ih), data_of(dgain_hh)},
                {states, workspace, d_states, d_h_n, dx, dh0, dweight_ih, dweight_hh, dbias_ih, dbias_hh,
                 d_reset_state, dgain_ih, dgain_hh, d_decay}};
        },
        nb::keep_alive<1, 2>(), "layer"_a, "states"_a, "workspace"_a.none(), "d_states"_a, "d_h_n"_a,
        "dx"_a.none(), "dh0"_a, "dweight_ih"_a, "dweight_hh"_a, "dbias_ih"_a, "dbias_hh"_a,
        "dgain_ih"_a.none(), "dgain_hh"_a.none(), "d_reset_state"_a.none(), "d_decay"_a.none());
}

template <class Problem>
void bind_run(nb::module_& m) {
    m.def(
        "run",
        [](const Problem& call) {
            const nb::gil_scoped_release release;
            run(call.problem);
        },
        "call"_a);
    m.def(
        "run",
        [](const Problem& call, const Problem& other) {
            const nb::gil_scoped_release release;
            run(call.problem, other.problem);
        },
        "call"_a, "other"_a);
}

template <class Real>
void bind_activate(nb::module_& m) {
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
        .value("hard_sigmoid", Function::hard_sigmoid)
        .value("affine", Function::affine)
        .value("thresholded_relu", Function::thresholded_relu)
        .value("scaled_tanh", Function::scaled_tanh)
        .value("softplus", Function::softplus);
    nb::class_<Activation>(m, "Activation")
        .def(
            "__init__",
            [](Activation* self, Function function, double alpha, double beta, double clip) {
                new (self) Activation{function, alpha, beta, clip};
            },
            "function"_a, "alpha"_a, "beta"_a, "clip"_a);
    nb::enum_<Reset>(m, "Reset")
        .value("after", Reset::after)
        .value("before", Reset::before)
        .value("candidate", Reset::candidate);
    nb::class_<Formulation>(m, "Formulation")
        .def(
            "__init__",
            [](Formulation* self, Reset reset, const Activation& activation,
               const Activation& reset_activation, const Activation& update_activation, Size blocks,
               Size truncate, double gradient_clip) {
                new (self) Formulation{reset,  activation, reset_activation, update_activation,
                                       blocks, truncate,   gradient_clip};
            },
            "reset"_a, "activation"_a, "reset_activation"_a, "update_activation"_a, "blocks"_a, "truncate"_a,
            "gradient_clip"_a);
    bind_extras<float>(m, "ExtrasFloat32");
    bind_extras<double>(m, "ExtrasFloat64");
    bind_layer<float>(m, "LayerFloat32");
    bind_layer<double>(m, "LayerFloat64");
    bind_forward<float>(m, "ForwardFloat32");
    bind_forward<double>(m, "ForwardFloat64");
    bind_backward<float>(m, "BackwardFloat32");
    bind_backward<double>(m, "BackwardFloat64");
    bind_run<HeldForward<float>>(m);
    bind_run<HeldForward<double>>(m);
    bind_run<HeldBackward<float>>(m);
    bind_run<HeldBackward<double>>(m);
    bind_activate<float>(m);
    bind_activate<double>(m);
    m.def("available_instruction_sets", &available_instruction_sets);
    m.def("instruction_set", &instruction_set);
    m.def("use_instruction_set", &use_instruction_set, "name"_a);
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, "count"_a);
}
