/// @file One-step sessions in Python. A step is taken from any object with a buffer, without making an array
/// of it; what does not fit is not said here: `src/grus/stream.py` finds out and says it.

#include "bindings_session.hpp"

#include <mutex>
#include <optional>

#include "bindings_gru.hpp"
#include "session.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace grus;

namespace {

constexpr double worth_letting_others_run = 1e6;  // operations of a step

template <class Real>
class BoundSession {
  public:
    BoundSession(nb::tuple layers, const Whole<Real, 4>& states, nb::tuple outputs)
        : session_(made_of(layers), states.data),
          lets_others_run_(session_.operations() > worth_letting_others_run),
          layers_(std::move(layers)),
          states_(states.owner),
          outputs_(std::move(outputs)) {}

    /// The output, which is the one of the two halves' that holds it; None where the arrays do not fit.
    nb::object step(nb::handle x, nb::handle decay) {
        const Buffer input(x);
        if (!input.holds<Real>() || !fits(input)) return nb::none();
        const Size row = input.ndim() == 2 ? input.stride(0) : 0;
        const Sequence<const Real> given{static_cast<const Real*>(input.data()), 0,
                                         row / static_cast<Size>(sizeof(Real))};
        if (decay.is_none()) return run(given, row, nullptr, input.ndim());
        const Buffer factors(decay);
        if (!factors.holds<Real>() || !is_whole(factors)) return nb::none();
        return run(given, row, static_cast<const Real*>(factors.data()), input.ndim());
    }
    int half() const { return session_.half(); }

  private:
    static std::vector<Layer<Real>> made_of(const nb::tuple& layers) {
        std::vector<Layer<Real>> result;
        for (const nb::handle layer : layers)
            result.push_back(nb::cast<const HeldForward<Real>&>(layer).problem.layer);
        return result;
    }

    /// (B, I), or (I,) where B is 1.
    bool fits(const Buffer& x) const {
        const auto [T, B, I, H] = session_.sizes();
        if (x.ndim() == 1) return B == 1 && x.shape(0) == I;
        return x.ndim() == 2 && x.shape(0) == B && x.shape(1) == I;
    }

    /// (layers, B, H), contiguous.
    bool is_whole(const Buffer& decay) const {
        const auto [T, B, I, H] = session_.sizes();
        const Size row = H * static_cast<Size>(sizeof(Real));
        return decay.ndim() == 3 && decay.shape(0) == session_.layers() && decay.shape(1) == B &&
               decay.shape(2) == H && (B <= 1 || decay.stride(1) == row) &&
               (session_.layers() == 1 || decay.stride(0) == B * row);
    }

    nb::object run(const Sequence<const Real>& x, Size row, const Real* decay, int ndim) {
        int half;
        {
            std::optional<nb::gil_scoped_release> release;
            if (lets_others_run_) release.emplace();
            const std::lock_guard lock(mutex_);
            if (meets_written(x, row, decay)) {
                half = -1;
            } else {
                session_.step(x, decay);
                half = session_.half();
            }
        }
        return half < 0 ? nb::none() : nb::object(outputs_[ndim == 1 ? 2 + half : half]);
    }

    /// Such as an output of the step before last, given as x.
    bool meets_written(const Sequence<const Real>& x, Size row, const Real* decay) const {
        const auto [T, B, I, H] = session_.sizes();
        const char* first = reinterpret_cast<const char*>(x.data);
        const Size rows = (B - 1) * row;
        if (session_.writes(first + std::min<Size>(rows, 0),
                            first + std::max<Size>(rows, 0) + I * static_cast<Size>(sizeof(Real))))
            return true;
        return decay && session_.writes(decay, decay + session_.layers() * B * H);
    }

    Session<Real> session_;
    std::mutex mutex_;
    const bool lets_others_run_;
    const nb::tuple layers_;  // what the session points into
    const nb::object states_;
    const nb::tuple outputs_;  // of half 0 and half 1: (B, H), and where B is 1 (H,)
};

template <class Real>
void bind(nb::module_& m, const char* name) {
    nb::class_<BoundSession<Real>>(m, name)
        .def(nb::init<nb::tuple, const Whole<Real, 4>&, nb::tuple>(), "layers"_a, "states"_a, "outputs"_a)
        .def("step", &BoundSession<Real>::step, "x"_a.none(), "decay"_a.none())
        .def_prop_ro("half", &BoundSession<Real>::half);
}

}  // namespace

void bind_session(nb::module_& m) {
    bind<float>(m, "SessionFloat32");
    bind<double>(m, "SessionFloat64");
}
