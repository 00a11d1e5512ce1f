/// @file The native engine in Python: the structures of `gru.hpp`, made of arrays, and `run`, which takes one
/// or two of them. An array of another dtype or shape than `gru.hpp` names, or that is not contiguous where
/// it is a `Whole`, is refused with a TypeError that does not say more: Python's own checks do.

#include "bindings_gru.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.hpp"
#include "threads.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace grus;

namespace {

template <class Real>
Sequence<Real> sequence(const Array<Real, 3>& a) {
    return {a.data, a.stride[0], a.stride[1]};  // null where it is None
}

const std::uint8_t* flags_of(const Flags& a) { return reinterpret_cast<const std::uint8_t*>(a.data); }

/// What keeps the memory of these arrays.
template <class... Arrays>
std::array<nb::object, sizeof...(Arrays)> owners(Arrays&... arrays) {
    return {std::move(arrays.owner)...};
}

void require(bool fits) {
    if (!fits) throw nb::next_overload();
}

template <class Real>
using HeldForward = Held<Forward<Real>, 2>;
template <class Real>
using HeldBackward = Held<Backward<Real>, 14>;

/// of a workspace
template <class Real>
Size planes(const Layer<Real>& layer) {
    return layer.gain_ih ? 10 : 4;
}

template <class Real>
void bind_layer(nb::module_& m, const char* name) {
    using Steps = Array<const Real, 3>;
    using Rows = Whole<const Real, 2>;
    using Row = Whole<const Real, 1>;
    nb::class_<HeldLayer<Real>>(m, name).def(
        "__init__",
        [](HeldLayer<Real>* self, const Formulation& form, bool reverse, Steps x, Rows weight_ih,
           Rows weight_hh, Row bias_ih, Row bias_hh, Row gain_ih, Row gain_hh, Rows h0, Rows reset_state,
           Flags valid, Flags reset, Rows recurrent_mask, Rows input_mask, Steps decay, Steps zoneout) {
            const Sizes sizes{x.shape[0], x.shape[1], x.shape[2], h0.shape[1]};
            const auto [T, B, I, H] = sizes;
            require(I > 0 && H > 0 && weight_ih.fits(3 * H, I) && weight_hh.fits(3 * H, H / form.blocks) &&
                    bias_ih.fits(3 * H) && bias_hh.fits(3 * H) && gain_ih.fits(3 * H) &&
                    gain_hh.fits(3 * H) && h0.fits(B, H) && reset_state.fits(B, H) && valid.fits(T, B) &&
                    reset.fits(T, B) && decay.fits(T, B, H) && recurrent_mask.fits(B, 3 * H) &&
                    input_mask.fits(B, 3 * H) && zoneout.fits(T, B, H));
            const Layer<Real> layer{
                .sizes = sizes,
                .form = form,
                .reverse = reverse,
                .weight_ih = weight_ih.data,
                .weight_hh = weight_hh.data,
                .bias_ih = bias_ih.data,
                .bias_hh = bias_hh.data,
                .gain_ih = gain_ih.data,
                .gain_hh = gain_hh.data,
                .x = sequence(x),
                .h0 = h0.data,
                .reset_state = reset_state.data,
                .valid = flags_of(valid),
                .reset = flags_of(reset),
                .decay = sequence(decay),
                .zoneout = sequence(zoneout),
                .recurrent_mask = recurrent_mask.data,
                .input_mask = input_mask.data,
            };
            new (self) HeldLayer<Real>{
                layer, owners(x, weight_ih, weight_hh, bias_ih, bias_hh, gain_ih, gain_hh, h0, reset_state,
                              valid, reset, recurrent_mask, input_mask, decay, zoneout)};
        },
        "form"_a, "reverse"_a, "x"_a, "weight_ih"_a, "weight_hh"_a, "bias_ih"_a, "bias_hh"_a,
        "gain_ih"_a.none(), "gain_hh"_a.none(), "h0"_a, "reset_state"_a.none(), "valid"_a.none(),
        "reset"_a.none(), "recurrent_mask"_a.none(), "input_mask"_a.none(), "decay"_a.none(),
        "zoneout"_a.none());
}

template <class Real>
void bind_forward(nb::module_& m, const char* name) {
    nb::class_<HeldForward<Real>>(m, name).def(
        "__init__",
        [](HeldForward<Real>* self, const HeldLayer<Real>& layer, Array<Real, 3> states,
           Whole<Real, 3> workspace) {
            const auto [T, B, I, H] = layer.problem.sizes;
            require(states.fits(T, B, H) && workspace.fits(T, B, planes(layer.problem) * H));
            new (self) HeldForward<Real>{{layer.problem, sequence(states), workspace.data, false},
                                         owners(states, workspace)};
        },
        nb::keep_alive<1, 2>(), "layer"_a, "states"_a, "workspace"_a.none());
}

template <class Real>
void bind_backward(nb::module_& m, const char* name) {
    using Out = Whole<Real, 2>;
    using OutRow = Whole<Real, 1>;
    nb::class_<HeldBackward<Real>>(m, name).def(
        "__init__",
        [](HeldBackward<Real>* self, const HeldLayer<Real>& layer, Array<const Real, 3> states,
           Whole<Real, 3> workspace, Array<const Real, 3> d_states, Whole<const Real, 2> d_h_n,
           Array<Real, 3> dx, Out dh0, Out dweight_ih, Out dweight_hh, OutRow dbias_ih, OutRow dbias_hh,
           OutRow dgain_ih, OutRow dgain_hh, Out d_reset_state, Array<Real, 3> d_decay) {
            const auto [T, B, I, H] = layer.problem.sizes;
            require(states.fits(T, B, H) && workspace.fits(T, B, planes(layer.problem) * H) &&
                    d_states.fits(T, B, H) && d_h_n.fits(B, H) && dx.fits(T, B, I) && dh0.fits(B, H) &&
                    dweight_ih.fits(3 * H, I) && dweight_hh.fits(3 * H, H / layer.problem.form.blocks) &&
                    dbias_ih.fits(3 * H) && dbias_hh.fits(3 * H) && dgain_ih.fits(3 * H) &&
                    dgain_hh.fits(3 * H) && d_reset_state.fits(B, H) && d_decay.fits(T, B, H));
            new (self) HeldBackward<Real>{
                {layer.problem, sequence(states), sequence(d_states), d_h_n.data, workspace.data,
                 sequence(dx), sequence(d_decay), dh0.data, d_reset_state.data, dweight_ih.data,
                 dweight_hh.data, dbias_ih.data, dbias_hh.data, dgain_ih.data, dgain_hh.data},
                owners(states, workspace, d_states, d_h_n, dx, dh0, dweight_ih, dweight_hh, dbias_ih,
                       dbias_hh, dgain_ih, dgain_hh, d_reset_state, d_decay)};
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
        [](const Whole<Real, 1>& out, const Whole<const Real, 1>& in, const Activation& activation) {
            const nb::gil_scoped_release release;
            kernels<Real>().activate(activation, in.data, out.data, in.shape[0]);
        },
        "out"_a, "in_"_a, "activation"_a);
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
