#pragma once

/// @file How the steps follow each other: order, previous states, which steps count; and each worker's share.

#include "product.hpp"

namespace grus {
namespace {

/// What a step at time t of row b of the batch starts from.
struct Steps {
    const Layer<Real>& layer;
    Sequence<const Real> states;

    /// The time of a step from its place in the order of running.
    GRUS_INLINE Size time(Size index) const { return layer.reverse ? layer.sizes.T - 1 - index : index; }
    GRUS_INLINE bool valid(Size t, Size b) const {
        return !layer.valid || layer.valid[t * layer.sizes.B + b];
    }
    GRUS_INLINE bool reset(Size t, Size b) const { return layer.reset && layer.reset[t * layer.sizes.B + b]; }
    /// The state [H] that the step starts from.
    GRUS_INLINE const Real* h_prev(Size t, Size b) const {
        const Size H = layer.sizes.H;
        if (reset(t, b)) return layer.reset_state + b * H;
        if (t == time(0)) return layer.h0 + b * H;
        return states.data + (layer.reverse ? t + 1 : t - 1) * states.step + b * states.row;
    }
};

/// Some rows of the batch in some steps, step after step: the rows of a product.
struct StepRows {
    struct Row {
        const Real *x, *h_prev;
        Real *planes, *h;     // h null: the state is there already
        const Real* zoneout;  // [H] the share of the state that the step leaves; null: nothing
        bool idle;            // not valid: the step carries the state
    };

    const Layer<Real>* layer;
    Range batch, times;
    Sequence<const Real> states;
    Sequence<Real> written;  // the states, where they are still to come; null data: they are there
    Real* planes;            // of the workspace, [times, B, 4H]
    bool keeps;              // whether they are to hold the gates, for backward
    Size B = layer->sizes.B, H = layer->sizes.H;

    Range all() const { return {0, (batch.last - batch.first) * (times.last - times.first)}; }

    /// The step at times.first + i alone.
    StepRows only(Size i) const {
        StepRows one = *this;
        one.times = {times.first + i, times.first + i + 1};
        one.planes += i * B * 4 * H;
        return one;
    }

    GRUS_INLINE Row row(Size t, Size b) const {
        const Steps of{*layer, states};
        return {layer->x.data + t * layer->x.step + b * layer->x.row,
                of.h_prev(t, b),
                planes + ((t - times.first) * B + b) * 4 * H,
                written.data ? written.data + t * written.step + b * written.row : nullptr,
                layer->zoneout.data ? layer->zoneout.data + t * layer->zoneout.step + b * layer->zoneout.row
                                    : nullptr,
                !of.valid(t, b)};
    }

    /// visit(m, t, b) for rows first + m, m < count.
    template <class Visit>
    GRUS_INLINE void each(Size first, Size count, Visit visit) const {
        const Size width = batch.last - batch.first;
        Size t = times.first, b = batch.first + first;
        if (first >= width) t += first / width, b = batch.first + first % width;
        for (Size m = 0; m < count; ++m) {
            visit(m, t, b);
            if (++b == batch.last) b = batch.first, ++t;
        }
    }

    GRUS_INLINE void locate(Size first, Size count, Row* rows) const {
        each(first, count, [&](Size m, Size t, Size b) { rows[m] = row(t, b); });
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
