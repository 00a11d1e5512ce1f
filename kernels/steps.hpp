#pragma once

/// @file How the steps follow each other: order, previous states, which steps count; and each worker's share.

#include "product.hpp"

namespace grus {
namespace {

GRUS_INLINE bool is_valid(const Layer<Real>& layer, Size t, Size b) {
    return !layer.valid || layer.valid[t * layer.sizes.B + b];
}

/// One step of a layer: where its arrays are, row by row.
struct Step {
    const Layer<Real>& layer;
    Sequence<const Real> states;
    Size index;  ///< in the order of running, from 0
    Size t;      ///< in the arrays

    Step(const Layer<Real>& layer, Sequence<const Real> states, Size index)
        : layer(layer), states(states), index(index), t(layer.reverse ? layer.sizes.T - 1 - index : index) {}

    GRUS_INLINE bool valid(Size b) const { return is_valid(layer, t, b); }
    GRUS_INLINE bool reset(Size b) const { return layer.reset && layer.reset[t * layer.sizes.B + b]; }

    /// The state [H] that row b's step starts from.
    GRUS_INLINE const Real* h_prev(Size b) const {
        const Size H = layer.sizes.H;
        if (reset(b)) return layer.reset_state + b * H;
        if (index == 0) return layer.h0 + b * H;
        return states.data + (layer.reverse ? t + 1 : t - 1) * states.step + b * states.row;
    }
};

GRUS_INLINE Range share(Size count, Size granule, const Worker& worker) {
    const Size granules = ceil_divide(count, granule);
    const Size first = granules * worker.index / worker.count,
               last = granules * (worker.index + 1) / worker.count;
    return {least(count, first * granule), least(count, last * granule)};
}

/// The rows and the panels of units that a worker computes at every step.
struct Share {
    Range rows, panels;
    bool meets;  ///< whether it must wait for the others between steps

    Share(Size B, Size panels, const Worker& worker) : rows{0, B}, panels{0, panels}, meets(false) {
        if (worker.split_rows) {
            rows = share(B, block_rows, worker);
        } else {
            this->panels = share(panels, 1, worker);
            meets = worker.count > 1;
        }
    }
};

/// Hands out the scratch piece by piece; from null, only measures it.
class Scratch {
  public:
    explicit Scratch(Real* base) : base_(base) {}
    Real* take(Size count) {
        Real* piece = base_ ? base_ + used_ : nullptr;
        used_ += ceil_divide(count, 64 / sizeof(Real)) * (64 / sizeof(Real));
        return piece;
    }
    Size used() const { return used_; }

  private:
    Real* base_;
    Size used_ = 0;
};

}  // namespace

void wait(Barrier* barrier);  // in threads.cpp; a null barrier is that of one worker

}  // namespace grus
