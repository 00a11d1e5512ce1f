/// @file The native engine in Python: the structures of `gru.hpp`, made of arrays, and `run`, which takes one
/// or two of them. A cell is what stays from call to call, a layer's formulation and weights, checked once.
/// An array of another dtype or shape than `gru.hpp` names, or that is not contiguous where it is a `Whole`,
/// is refused with a TypeError that does not say more: Python's own checks do.

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

/// of a workspace
template <class Real>
Size planes(const Layer<Real>& layer) {
    return layer.gain_ih ? 10 : 4;
}

template <class Real>
void bind_cell(nb::module_& m, const char* name) {
    using Rows = Whole<const Real, 2>;
    using Row = Whole<const Real, 1>;
    nb::class_<HeldCell<Real>>(m, name).def(
        "__init__",
        [](HeldCell<Real>* self, const Formulation& form, Rows weight_ih, Rows weight_hh, Row bias_ih,
           Row bias_hh, Row gain_ih, Row gain_hh) {
            const Size I = weight_ih.shape[1], H = weight_hh.shape[1] * form.blocks;
            require(I > 0 && H > 0 && weight_ih.fits(3 * H, I) && weight_hh.fits(3 * H, H / form.blocks) &&
                    bias_ih.fits(3 * H) && bias_hh.fits(3 * H) && gain_ih.fits(3 * H) &&
                    gain_hh.fits(3 * H) && !gain_ih.data == !gain_hh.data);
            const Layer<Real> layer{
                .sizes = {0, 0, I, H},
                .form = form,
                .reverse = false,
                .weight_ih = weight_ih.data,
                .weight_hh = weight_hh.data,
                .bias_ih = bias_ih.data,
                .bias_hh = bias_hh.data,
                .gain_ih = gain_ih.data,
                .gain_hh = gain_hh.data,
            };
            new (self)
                HeldCell<Real>{layer, owners(weight_ih, weight_hh, bias_ih, bias_hh, gain_ih, gain_hh)};
        },
        "form"_a, "weight_ih"_a, "weight_hh"_a, "bias_ih"_a, "bias_hh"_a, "gain_ih"_a.none(),
        "gain_hh"_a.none());
}

/// With `run`, which releases the interpreter and takes a second call that runs beside the first.
template <class Held>
nb::class_<Held> bind_call(nb::module_& m, const char* name) {
    return nb::class_<Held>(m, name).def(
        "run",
        [](const Held& self, const Held* beside) {
            const nb::gil_scoped_release release;
            if (beside)
                run(self.problem, beside->problem);
            else
                run(self.problem);
        },
        "beside"_a.none());
}

template <class Real>
void bind_forward(nb::module_& m, const char* name) {
    using Steps = Array<const Real, 3>;
    using Rows = Whole<const Real, 2>;
    using Cell = nb::pointer_and_handle<HeldCell<Real>>;
    bind_call<HeldForward<Real>>(m, name)
        .def(
            "__init__",
            [](HeldForward<Real>* self, Cell cell, bool reverse, Steps x, Rows h0, Array<Real, 3> states,
               Whole<Real, 3> workspace, Rows reset_state, Flags valid, Flags reset, Rows recurrent_mask,
               Rows input_mask, Steps decay, Steps zoneout) {
                Layer<Real> layer = cell.p->problem;
                layer.sizes.T = x.shape[0];
                layer.sizes.B = x.shape[1];
                const auto [T, B, I, H] = layer.sizes;
                require(x.fits(T, B, I) && h0.fits(B, H) && states.fits(T, B, H) &&
                        workspace.fits(T, B, planes(layer) * H) && reset_state.fits(B, H) &&
                        valid.fits(T, B) && reset.fits(T, B) && recurrent_mask.fits(B, 3 * H) &&
                        input_mask.fits(B, 3 * H) && decay.fits(T, B, H) && zoneout.fits(T, B, H) &&
                        !reset.data == !reset_state.data);
                layer.reverse = reverse;
                layer.x = sequence(x);
                layer.h0 = h0.data;
                layer.reset_state = reset_state.data;
                layer.valid = flags_of(valid);
                layer.reset = flags_of(reset);
                layer.decay = sequence(decay);
                layer.zoneout = sequence(zoneout);
                layer.recurrent_mask = recurrent_mask.data;
                layer.input_mask = input_mask.data;
                nb::object held = nb::borrow(cell.h);
                new (self) HeldForward<Real>{{{layer, sequence(states), workspace.data, false},
                                              owners(states, workspace, x, h0, reset_state, valid, reset,
                                                     recurrent_mask, input_mask, decay, zoneout)},
                                             std::move(held)};
            },
            "cell"_a, "reverse"_a, "x"_a, "h0"_a, "states"_a, "workspace"_a.none(), "reset_state"_a.none(),
            "valid"_a.none(), "reset"_a.none(), "recurrent_mask"_a.none(), "input_mask"_a.none(),
            "decay"_a.none(), "zoneout"_a.none())
        .def_prop_ro("states", [](const HeldForward<Real>& self) { return self.arrays[0]; })
        .def_prop_ro("workspace", [](const HeldForward<Real>& self) {
            return self.arrays[1].is_valid() ? self.arrays[1] : nb::none();
        });
}

/// A vector of gradients taken apart, in the order of the weights.
template <class Real>
class Parts {
  public:
    explicit Parts(Real* data) : data_(data) {}
    Real* next(Size count) {
        Real* const part = data_;
        data_ += count;
        return part;
    }

  private:
    Real* data_;
};

template <class Real>
void bind_backward(nb::module_& m, const char* name) {
    using Out = Whole<Real, 2>;
    using Call = nb::pointer_and_handle<HeldForward<Real>>;
    bind_call<HeldBackward<Real>>(m, name).def(
        "__init__",
        [](HeldBackward<Real>* self, Call forward, Array<const Real, 3> d_states, Whole<const Real, 2> d_h_n,
           Array<Real, 3> dx, Out dh0, Whole<Real, 1> d_weights, Out d_reset_state, Array<Real, 3> d_decay) {
            const Forward<Real>& given = forward.p->problem;
            const Layer<Real>& layer = given.layer;
            const auto [T, B, I, H] = layer.sizes;
            const Size row = 3 * H, biases = 2 * row, columns = H / layer.form.blocks;
            const Size matrices = row * (I + columns), gains = layer.gain_ih ? 2 * row : 0;
            const bool with_biases = d_weights.fits(matrices + biases + gains);
            require(d_states.fits(T, B, H) && d_h_n.fits(B, H) && dx.fits(T, B, I) && dh0.fits(B, H) &&
                    (with_biases || d_weights.fits(matrices + gains)) && d_reset_state.fits(B, H) &&
                    d_decay.fits(T, B, H) && !layer.reset == !d_reset_state.data &&
                    !layer.decay.data == !d_decay.data);
            std::vector<Real> unasked(static_cast<std::size_t>(with_biases ? 0 : biases));
            Parts<Real> parts(d_weights.data), of_biases(unasked.data());
            Parts<Real>& bias = with_biases ? parts : of_biases;
            Backward<Real> problem{
                .layer = layer,
                .states = {given.states.data, given.states.step, given.states.row},
                .d_states = sequence(d_states),
                .d_h_n = d_h_n.data,
                .workspace = given.workspace,
                .dx = sequence(dx),
                .d_decay = sequence(d_decay),
                .dh0 = dh0.data,
                .d_reset_state = d_reset_state.data,
                .dweight_ih = parts.next(row * I),
                .dweight_hh = parts.next(row * columns),
                .dbias_ih = bias.next(row),
                .dbias_hh = bias.next(row),
                .dgain_ih = gains ? parts.next(row) : nullptr,
                .dgain_hh = gains ? parts.next(row) : nullptr,
            };
            nb::object held = nb::borrow(forward.h);
            new (self) HeldBackward<Real>{
                {problem, owners(d_states, d_h_n, dx, dh0, d_weights, d_reset_state, d_decay)},
                std::move(held),
                std::move(unasked)};
        },
        "forward"_a, "d_states"_a, "d_h_n"_a, "dx"_a.none(), "dh0"_a, "d_weights"_a, "d_reset_state"_a.none(),
        "d_decay"_a.none());
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
    nb::set_leak_warnings(
        false);  // a GRU may live until the interpreter ends, and what it keeps here with it
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
    bind_cell<float>(m, "CellFloat32");
    bind_cell<double>(m, "CellFloat64");
    bind_forward<float>(m, "ForwardFloat32");
    bind_forward<double>(m, "ForwardFloat64");
    bind_backward<float>(m, "BackwardFloat32");
    bind_backward<double>(m, "BackwardFloat64");
    bind_activate<float>(m);
    bind_activate<double>(m);
    m.def("available_instruction_sets", &available_instruction_sets);
    m.def("instruction_set", &instruction_set);
    m.def("use_instruction_set", &use_instruction_set, "name"_a);
    m.def("num_threads", &num_threads);
    m.def("set_num_threads", &set_num_threads, "count"_a);
}
