#pragma once

/// @file Random problems for the C++ tests: the one place that fills the contract's structures for them.
/// Every array is a heap block of exactly its size, so that AddressSanitizer sees any number read or written
/// past it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gru.hpp"

namespace grus::tests {

/// The same pseudo-random numbers on every machine (Knuth's linear congruential generator).
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint32_t bits() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::uint32_t>(state_ >> 32);
    }
    Size below(Size count) { return static_cast<Size>(bits()) * count >> 32; }
    bool chance(Size one_in) { return below(one_in) == 0; }
    double number() { return (static_cast<double>(bits()) - 2147483648.0) / 2147483648.0; }  ///< in -1 ... 1

  private:
    std::uint64_t state_;
};

/// What stands where nothing was written yet: a number that no kernel leaves by chance, and that spoils every
/// result it enters.
template <class Real>
Real untouched() {
    using Bits = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;
    const Bits bits = sizeof(Real) == 4 ? Bits(0x7fc0beef) : Bits(0x7ff8deadbeefbeefu);  // NaN
    Real value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class Real>
bool same_bits(Real a, Real b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

/// A heap block of exactly `size` numbers.
template <class T>
class Block {
  public:
    Block(Size size, T value) : size_(size), data_(new T[static_cast<std::size_t>(size)]) {
        std::fill_n(data_.get(), size, value);
    }
    T* data() const { return data_.get(); }
    Size size() const { return size_; }
    T* begin() const { return data(); }
    T* end() const { return data() + size_; }

  private:
    Size size_;
    std::unique_ptr<T[]> data_;
};

/// How an array [T, B, width] lies in memory. `same_*`: one step, or one row, serves for all; only for input.
enum class Layout { time_major, batch_major, spaced, backwards, same_step, same_row };
constexpr int written_layouts = 4;

/// An array [T, B, width] in some layout, and nothing around it.
template <class Real>
class Steps {
  public:
    Steps(const Sizes& sizes, Size width, Layout layout)
        : T_(sizes.T), B_(sizes.B), width_(width), memory_(place(layout), untouched<Real>()) {}

    Sequence<Real> all() const { return {memory_.data() + origin_, step_, row_}; }
    Sequence<const Real> read() const { return {memory_.data() + origin_, step_, row_}; }
    Real* at(Size t, Size b) const { return memory_.data() + origin_ + t * step_ + b * row_; }

    template <class Function>
    void for_each_row(Function function) const {
        for (Size t = 0; t < T_; ++t)
            for (Size b = 0; b < B_; ++b) function(t, b, at(t, b));
    }
    /// The numbers in the order of t, b, whatever the layout.
    void append_to(std::vector<Real>& values) const {
        for_each_row([&](Size, Size, const Real* row) { values.insert(values.end(), row, row + width_); });
    }
    /// Whether what lies between the rows is as it was made.
    bool gaps_untouched() const {
        std::vector<bool> inside(static_cast<std::size_t>(memory_.size()));
        for_each_row([&](Size, Size, const Real* row) {
            std::fill_n(inside.begin() + (row - memory_.data()), width_, true);
        });
        for (Size i = 0; i < memory_.size(); ++i)
            if (!inside[static_cast<std::size_t>(i)] && !same_bits(memory_.data()[i], untouched<Real>()))
                return false;
        return true;
    }

  private:
    /// Sets the strides and the origin; returns how many numbers the array spans.
    Size place(Layout layout) {
        step_ = B_ * width_, row_ = width_;
        if (layout == Layout::batch_major) step_ = width_, row_ = T_ * width_;
        if (layout == Layout::spaced) row_ = width_ + 3, step_ = B_ * row_ + 1;
        if (layout == Layout::backwards) step_ = -step_, row_ = -row_;
        if (layout == Layout::same_step) step_ = 0;
        if (layout == Layout::same_row) step_ = width_, row_ = 0;
        if (T_ * B_ * width_ == 0) return 0;
        const Size reach = (T_ - 1) * step_ + (B_ - 1) * row_;
        origin_ = std::max<Size>(0, -reach);
        return std::abs(reach) + width_;
    }

    Size T_, B_, width_, step_ = 0, row_ = 0, origin_ = 0;  // in the order of their initialisation
    Block<Real> memory_;
};

/// All that makes one problem another, but its numbers.
struct Shape {
    Sizes sizes;
    Formulation form;
    bool reverse = false, masked = false, resets = false;
    bool normalised = false, decays = false, leaves = false;  // layer normalisation, decay, zoneout
    bool recurrent_mask = false, input_mask = false, dx_wanted = true;
    Layout x = Layout::time_major, states = Layout::time_major, d_states = Layout::time_major,
           dx = Layout::time_major, decay = Layout::time_major, zoneout = Layout::time_major;

    Size planes() const { return normalised ? 10 : 4; }

    /// Whether a gradient jumps where an activation is 0, 1 or alpha: there a last bit may change all of it.
    bool has_kinks() const {
        const auto kinked = [](const Activation& a) {
            return a.function == Function::relu || a.function == Function::leaky_relu ||
                   a.function == Function::hard_sigmoid || a.function == Function::thresholded_relu ||
                   (a.function == Function::elu && a.alpha != 1) || a.clip != 0;
        };
        return form.gradient_clip != 0 || kinked(form.activation) || kinked(form.reset_activation) ||
               kinked(form.update_activation);
    }
    std::string text() const {
        char line[400];
        const auto number = [](auto value) { return static_cast<int>(value); };
        std::snprintf(
            line, sizeof line,
            "T=%d B=%d I=%d H=%d reset=%d functions=%d,%d,%d reverse=%d masked=%d resets=%d "
            "layouts=%d,%d,%d,%d blocks=%d truncate=%d gradient_clip=%g clip=%g normalised=%d decay=%d "
            "zoneout=%d masks=%d,%d dx=%d",
            number(sizes.T), number(sizes.B), number(sizes.I), number(sizes.H), number(form.reset),
            number(form.activation.function), number(form.reset_activation.function),
            number(form.update_activation.function), reverse, masked, resets, number(x), number(states),
            number(d_states), number(dx), number(form.blocks), number(form.truncate), form.gradient_clip,
            form.activation.clip, normalised, decays, leaves, recurrent_mask, input_mask, dx_wanted);
        return line;
    }
};

constexpr Size functions = static_cast<Size>(Function::softplus) + 1;

inline Activation random_activation(Random& random, Function usual) {
    const auto function = random.chance(2) ? usual : static_cast<Function>(random.below(functions));
    return {function, random.chance(2) ? 1.0 : 0.25 + 0.2 * random.number(), 0.5,
            random.chance(8) ? 0.5 : 0.0};
}

/// One of the numbers that divide `size`.
inline Size random_divisor(Random& random, Size size) {
    Size blocks = 1 + random.below(std::max<Size>(size, 1));
    while (size % blocks) --blocks;
    return blocks;
}

/// Sizes from 0 to 70, mostly small; every option at random.
inline Shape random_shape(Random& random) {
    const auto size = [&] { return random.below((const Size[]){3, 10, 21, 71}[random.below(4)]); };
    const auto flag = [&] { return random.chance(2); };
    const auto layout = [&](int count) { return static_cast<Layout>(flag() ? 0 : random.below(count)); };
    Shape shape;
    shape.sizes.T = size(), shape.sizes.B = size(), shape.sizes.I = size(), shape.sizes.H = size();
    const bool plain = flag();  // so that the fused kernels have their share
    const auto option = [&] { return !plain && random.chance(4); };
    shape.form.reset = static_cast<Reset>(random.below(plain ? 2 : 3));
    shape.form.activation = {Function::tanh, 0, 0, 0};
    shape.form.reset_activation = shape.form.update_activation = {Function::sigmoid, 0, 0, 0};
    if (!plain) shape.form.activation = random_activation(random, Function::tanh);
    if (!plain) shape.form.reset_activation = random_activation(random, Function::sigmoid);
    if (!plain) shape.form.update_activation = random_activation(random, Function::sigmoid);
    shape.form.blocks = option() ? random_divisor(random, shape.sizes.H) : 1;
    shape.form.truncate = option() ? random.below(shape.sizes.T + 2) : -1;
    shape.form.gradient_clip = shape.form.truncate < 0 && option() ? 0.05 : 0.0;
    shape.normalised = option(), shape.decays = option(), shape.leaves = option();
    shape.recurrent_mask = option(), shape.input_mask = option(), shape.dx_wanted = !random.chance(8);
    shape.decay = layout(6), shape.zoneout = layout(6);
    shape.reverse = flag(), shape.masked = flag(), shape.resets = flag();
    shape.x = layout(6), shape.d_states = layout(6);
    shape.states = layout(written_layouts), shape.dx = layout(written_layouts);
    return shape;
}

template <class Real>
class Results;

/// One layer's inputs and the gradients that arrive; never written after it was made, so threads may share
/// it.
template <class Real>
class Problem {
  public:
    Problem(const Shape& shape, Random& random)
        : shape(shape),
          weight_ih_(numbers(random, 3 * H() * I(), 8 * I())),
          weight_hh_(numbers(random, 3 * H() * H() / shape.form.blocks, 8 * H())),
          bias_ih_(numbers(random, 3 * H(), 8)),
          bias_hh_(numbers(random, 3 * H(), 8)),
          gain_ih_(numbers(random, shape.normalised ? 3 * H() : 0, 2)),
          gain_hh_(numbers(random, shape.normalised ? 3 * H() : 0, 2)),
          recurrent_mask_(numbers(random, shape.recurrent_mask ? 3 * B() * H() : 0, 1)),
          input_mask_(numbers(random, shape.input_mask ? 3 * B() * H() : 0, 1)),
          h0_(numbers(random, B() * H(), 1)),
          reset_state_(numbers(random, B() * H(), 1)),
          d_h_n_(numbers(random, B() * H(), 1)),
          valid_(flags(random, shape.masked, true)),
          reset_(flags(random, shape.resets, false)),
          x_(shape.sizes, I(), shape.x),
          d_states_(shape.sizes, H(), shape.d_states),
          decay_(shape.decays ? shape.sizes : Sizes{}, H(), shape.decay),
          zoneout_(shape.leaves ? shape.sizes : Sizes{}, H(), shape.zoneout) {
        const auto fill = [&](Real* row, Size count) {
            for (Size i = 0; i < count; ++i) row[i] = static_cast<Real>(random.number());
        };
        x_.for_each_row([&](Size, Size, Real* row) { fill(row, I()); });
        d_states_.for_each_row([&](Size, Size, Real* row) { fill(row, H()); });
        decay_.for_each_row([&](Size, Size, Real* row) { fill(row, H()); });
        zoneout_.for_each_row([&](Size, Size, Real* row) {
            for (Size i = 0; i < H(); ++i) row[i] = static_cast<Real>(std::abs(random.number()));
        });
        if (!shape.masked || shape.x == Layout::same_step || shape.x == Layout::same_row) return;
        x_.for_each_row([&](Size t, Size b, Real* row) {  // there x may hold anything
            if (!valid_.data()[t * B() + b]) std::fill_n(row, I(), untouched<Real>());
        });
    }

    Forward<Real> forward(const Results<Real>& results, bool keep) const;
    Backward<Real> backward(const Results<Real>& results, bool kept) const;
    const Shape shape;

  private:
    Size T() const { return shape.sizes.T; }
    Size B() const { return shape.sizes.B; }
    Size I() const { return shape.sizes.I; }
    Size H() const { return shape.sizes.H; }

    /// @param divisor  of every number: with it no state grows without bound, whatever the activation
    static Block<Real> numbers(Random& random, Size count, Size divisor) {
        Block<Real> block(count, 0);
        for (Real& value : block)
            value = static_cast<Real>(random.number() / static_cast<double>(divisor ? divisor : 1));
        return block;
    }
    Block<std::uint8_t> flags(Random& random, bool given, bool mostly) const {
        Block<std::uint8_t> block(given ? T() * B() : 0, mostly);
        for (std::uint8_t& flag : block) flag = random.chance(4) ? !mostly : mostly;
        return block;
    }
    Layer<Real> layer() const;

    Block<Real> weight_ih_, weight_hh_, bias_ih_, bias_hh_, gain_ih_, gain_hh_, recurrent_mask_, input_mask_;
    Block<Real> h0_, reset_state_, d_h_n_;
    Block<std::uint8_t> valid_, reset_;
    Steps<Real> x_, d_states_, decay_, zoneout_;
};

/// Everything that forward and backward write.
template <class Real>
class Results {
  public:
    explicit Results(const Shape& shape)
        : states(shape.sizes, shape.sizes.H, shape.states),
          workspace(shape.sizes.T * shape.sizes.B * shape.planes() * shape.sizes.H, untouched<Real>()),
          dx(shape.dx_wanted ? shape.sizes : Sizes{}, shape.sizes.I, shape.dx),
          d_decay(shape.decays ? shape.sizes : Sizes{}, shape.sizes.H, shape.dx),
          dh0(shape.sizes.B * shape.sizes.H, untouched<Real>()),
          d_reset_state(shape.resets ? shape.sizes.B * shape.sizes.H : 0, untouched<Real>()),
          dweight_ih(3 * shape.sizes.H * shape.sizes.I, untouched<Real>()),
          dweight_hh(3 * shape.sizes.H * shape.sizes.H / shape.form.blocks, untouched<Real>()),
          dbias_ih(3 * shape.sizes.H, untouched<Real>()),
          dbias_hh(3 * shape.sizes.H, untouched<Real>()),
          dgain_ih(shape.normalised ? 3 * shape.sizes.H : 0, untouched<Real>()),
          dgain_hh(shape.normalised ? 3 * shape.sizes.H : 0, untouched<Real>()) {}

    /// Each result by itself, the states first; their names are `names`.
    std::vector<std::vector<Real>> values() const {
        std::vector<std::vector<Real>> all(3);
        states.append_to(all[0]);
        dx.append_to(all[1]);
        d_decay.append_to(all[2]);
        for (const Block<Real>* block :
             {&dh0, &d_reset_state, &dweight_ih, &dweight_hh, &dbias_ih, &dbias_hh, &dgain_ih, &dgain_hh})
            all.emplace_back(block->begin(), block->end());
        return all;
    }
    static constexpr const char* names[] = {"states",        "dx",         "d_decay",    "dh0",
                                            "d_reset_state", "dweight_ih", "dweight_hh", "dbias_ih",
                                            "dbias_hh",      "dgain_ih",   "dgain_hh"};

    Steps<Real> states;
    Block<Real> workspace;
    Steps<Real> dx, d_decay;
    Block<Real> dh0, d_reset_state, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dgain_ih, dgain_hh;
};

template <class Real>
Layer<Real> Problem<Real>::layer() const {
    Layer<Real> layer{};
    layer.sizes = shape.sizes;
    layer.form = shape.form;
    layer.reverse = shape.reverse;
    layer.weight_ih = weight_ih_.data();
    layer.weight_hh = weight_hh_.data();
    layer.bias_ih = bias_ih_.data();
    layer.bias_hh = bias_hh_.data();
    layer.x = x_.read();
    layer.h0 = h0_.data();
    layer.reset_state = shape.resets ? reset_state_.data() : nullptr;
    layer.valid = shape.masked ? valid_.data() : nullptr;
    layer.reset = shape.resets ? reset_.data() : nullptr;
    layer.gain_ih = shape.normalised ? gain_ih_.data() : nullptr;
    layer.gain_hh = shape.normalised ? gain_hh_.data() : nullptr;
    if (shape.decays) layer.decay = decay_.read();
    if (shape.leaves) layer.zoneout = zoneout_.read();
    layer.recurrent_mask = shape.recurrent_mask ? recurrent_mask_.data() : nullptr;
    layer.input_mask = shape.input_mask ? input_mask_.data() : nullptr;
    return layer;
}

template <class Real>
Forward<Real> Problem<Real>::forward(const Results<Real>& results, bool keep) const {
    Forward<Real> forward{};
    forward.layer = layer();
    forward.states = results.states.all();
    forward.workspace = keep ? results.workspace.data() : nullptr;
    return forward;
}

template <class Real>
Backward<Real> Problem<Real>::backward(const Results<Real>& results, bool kept) const {
    Backward<Real> backward{};
    backward.layer = layer();
    backward.states = results.states.read();
    backward.d_states = d_states_.read();
    backward.d_h_n = d_h_n_.data();
    backward.workspace = kept ? results.workspace.data() : nullptr;
    if (shape.dx_wanted) backward.dx = results.dx.all();
    if (shape.decays) backward.d_decay = results.d_decay.all();
    backward.dh0 = results.dh0.data();
    backward.d_reset_state = shape.resets ? results.d_reset_state.data() : nullptr;
    backward.dweight_ih = results.dweight_ih.data();
    backward.dweight_hh = results.dweight_hh.data();
    backward.dbias_ih = results.dbias_ih.data();
    backward.dbias_hh = results.dbias_hh.data();
    backward.dgain_ih = shape.normalised ? results.dgain_ih.data() : nullptr;
    backward.dgain_hh = shape.normalised ? results.dgain_hh.data() : nullptr;
    return backward;
}

/// Scratch of exactly `reals` numbers at a multiple of 64 bytes, as the contract has it, filled like the
/// rest.
template <class Real>
class Scratch {
  public:
    explicit Scratch(Size reals)
        : memory_(static_cast<Real*>(
              ::operator new(static_cast<std::size_t>(reals) * sizeof(Real), std::align_val_t{64}))) {
        std::fill_n(memory_.get(), reals, untouched<Real>());
    }
    Real* get() const { return memory_.get(); }

  private:
    struct Free {
        void operator()(Real* memory) const { ::operator delete(memory, std::align_val_t{64}); }
    };
    std::unique_ptr<Real, Free> memory_;
};

}  // namespace grus::tests
