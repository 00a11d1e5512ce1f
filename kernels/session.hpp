#pragma once

/// @file One direction's layers bound for running step by step: what a step needs is packed and allocated
/// when the session is made.

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "gru.hpp"

namespace grus {

/// @brief Each step takes the states in one half of an array and leaves the next ones in the other half.
/// Steps allocate nothing and run on the calling thread; their bits are those of the whole sequence.
template <class Real>
class Session {
  public:
    /// @param layers  from the first to the last, each with T = 1; what they point to has to stay as it is,
    /// but x, h0 and decay are not read
    /// @param states  [2, layers, B, H]; the states to start from are in half 0
    Session(const std::vector<Layer<Real>>& layers, Real* states);

    /// @brief Runs one step.
    /// @param x  [1, B, I]
    /// @param decay  [layers, B, H] multiplies the states first; null: nothing does
    void step(const Sequence<const Real>& x, const Real* decay);

    /// @brief The half of the states that holds those after the last step.
    int half() const { return half_; }
    /// @brief Whether a range of memory meets what the next step writes.
    bool writes(const void* first, const void* last) const;
    /// @brief Of the first layer.
    const Sizes& sizes() const { return steps_.front().problem.layer.sizes; }
    Size layers() const { return static_cast<Size>(steps_.size()); }
    /// @brief Floating-point operations of a step.
    double operations() const;

  private:
    struct Free {
        void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
    };
    struct Step {
        Forward<Real> problem;
        std::unique_ptr<Real, Free> scratch;
    };
    void run(const Sequence<const Real>& x, const Real* decay, int from);
    Real* state(int half, Size layer) const { return states_ + (half * layers() + layer) * size_; }

    const Kernels<Real>* kernels_;
    std::vector<Step> steps_;
    Real* states_;
    Size size_;  // of a layer's states
    int half_ = 0;
};

}  // namespace grus
