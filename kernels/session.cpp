#include "session.hpp"

#include <algorithm>
#include <functional>

#include "dispatch.hpp"

namespace grus {

template <class Real>
Session<Real>::Session(const std::vector<Layer<Real>>& layers, Real* states)
    : kernels_(&kernels<Real>()), states_(states), size_(layers.front().sizes.B * layers.front().sizes.H) {
    for (const Layer<Real>& layer : layers) {
        Forward<Real> problem{layer, {}, nullptr, false};
        problem.layer.decay = {states_, 0, layer.sizes.H};  // a step may have one, which takes more
        const Size reals = kernels_->forward_scratch(problem);
        const std::size_t bytes = std::max(static_cast<std::size_t>(reals) * sizeof(Real), std::size_t{64});
        void* scratch = ::operator new(bytes, std::align_val_t{64});
        steps_.push_back({problem, std::unique_ptr<Real, Free>(static_cast<Real*>(scratch))});
    }
    // A step into the half that is not in use, so that the first one finds the weights packed.
    const std::vector<Real> zeros(static_cast<std::size_t>(sizes().B * sizes().I));
    run({zeros.data(), 0, sizes().I}, nullptr, half_);
}

template <class Real>
void Session<Real>::step(const Sequence<const Real>& x, const Real* decay) {
    run(x, decay, half_);
    half_ = 1 - half_;
}

template <class Real>
void Session<Real>::run(const Sequence<const Real>& x, const Real* decay, int from) {
    Sequence<const Real> input = x;
    for (Size k = 0; k < layers(); ++k) {
        auto& [problem, scratch] = steps_[static_cast<std::size_t>(k)];
        const Size H = problem.layer.sizes.H;
        problem.layer.x = input;
        problem.layer.h0 = state(from, k);
        problem.layer.decay = {decay ? decay + k * size_ : nullptr, 0, H};
        problem.states = {state(1 - from, k), 0, H};
        kernels_->forward(problem, scratch.get(), {0, 1, true, nullptr});
        problem.packed = true;
        input = {problem.states.data, 0, H};
    }
}

template <class Real>
bool Session<Real>::writes(const void* first, const void* last) const {
    const std::less<const void*> before;
    const Real* written = state(1 - half_, 0);
    return before(first, written + layers() * size_) && before(written, last);
}

template <class Real>
double Session<Real>::operations() const {
    double sum = 0;
    for (const Step& step : steps_) {
        const auto [T, B, I, H] = step.problem.layer.sizes;
        sum += 6.0 * static_cast<double>(B * H) * static_cast<double>(I + H);
    }
    return sum;
}

template class Session<float>;
template class Session<double>;

}  // namespace grus
