#pragma once

/// @file How the steps follow each other: order, previous states, which steps count; and each worker's share.

#include "product.hpp"

namespace grus {
namespace {

/// Where the entry of step t and row b is; null in a sequence that is absent.
GRUS_INLINE const Real* entry(const Sequence<const Real>& of, Size t, Size b) {
    return of.data ? of.data + t * of.step + b * of.row : nullptr;
}

/// (F0)
/// @param decay  null: there is none
template <bool whole>
GRUS_INLINE V decayed(const Real* before, const Real* decay, Size unit, Size units) {
    const V h = load<whole>(before + unit, units);
    return decay ? h * load<whole>(decay + unit, units) : h;
}

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

/// From one gate's masked state to the next: they are read together, so they must not all lie in the same
/// bank of the cache, as they would where H is a multiple of 16.
GRUS_INLINE Size gate_stride(Size H) { return H + 8 / static_cast<Size>(sizeof(Real)); }

/// Numbers that are prepared for a row's recurrent products; 0: they read the state as it is.
GRUS_INLINE Size entering_width(const Layer<Real>& layer) {
    const Size H = layer.sizes.H;
    return layer.recurrent_mask ? 3 * gate_stride(H) : layer.decay.data ? H : 0;
}

/// Some rows of the batch in some steps, step after step: the rows of a product.
struct StepRows {
    struct Row {
        const Real *x, *before;         // before: the state that the step finds
        Real* entering;                 // what the recurrent products read: that, or what is prepared of it
        Real *planes, *h;               // h null: the state is there already
        const Real *decay, *zoneout;    // [H] of the state before, and the share of it that the step leaves
        const Real *mask, *input_mask;  // [3H] of the recurrent and of the input's products
        bool idle;                      // not valid: the step carries the state
        bool special;                   // idle, with a decay or with zoneout

        /// The state that the equations start from.
        template <bool whole>
        GRUS_INLINE V h_prev(Size unit, Size units) const {
            return decayed<whole>(before, decay, unit, units);
        }
    };

    const Layer<Real>* layer;
    Range batch, times;
    Sequence<const Real> states;
    Sequence<Real> written;    // the states, where they are still to come; null data: they are there
    Real* planes;              // of the workspace, [times, B, 4H]
    bool keeps;                // whether they are to hold the gates, for backward
    Real* entering = nullptr;  // [times, B, entering_width]; null: products read the states as they are
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
        const bool idle = !of.valid(t, b);
        const Size slot = (t - times.first) * B + b;
        const Real* before = of.h_prev(t, b);
        return {layer->x.data + t * layer->x.step + b * layer->x.row,
                before,
                entering ? entering + slot * entering_width(*layer) : const_cast<Real*>(before),
                planes + slot * 4 * H,
                written.data ? written.data + t * written.step + b * written.row : nullptr,
                entry(layer->decay, t, b),
                entry(layer->zoneout, t, b),
                layer->recurrent_mask ? layer->recurrent_mask + b * 3 * H : nullptr,
                layer->input_mask ? layer->input_mask + b * 3 * H : nullptr,
                idle,
                idle || layer->decay.data || layer->zoneout.data};
    }

    /// visit(m, t, b) for rows first + m, m < count.
    template <class Visit>
    GRUS_INLINE void each(Size first, Size count, Visit visit) const {
        if (count == 0) return;  // the batch's share may be of no rows
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

    /// (F0) of some rows, and each gate's mask.
    void prepare(Range rows, Range units) const {
        if (!entering) return;
        each(rows.first, rows.last - rows.first, [&](Size, Size t, Size b) {
            const Row of = row(t, b);
            for (Size unit = units.first; unit < units.last && !of.idle; unit += W) {
                const V h = of.h_prev<false>(unit, H - unit);
                if (!of.mask) store(of.entering + unit, h, H - unit);
                for (int g = 0; g < 3 && of.mask; ++g)
                    store(of.entering + g * gate_stride(H) + unit, h * load(of.mask + g * H + unit, H - unit),
                          H - unit);
            }
        });
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
