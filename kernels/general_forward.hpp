#pragma once

/// @file A sequence forward with options.

#include "general.hpp"

namespace grus {
namespace {

/// One row of the batch at one step, forward.
struct GeneralRow {
    const Real *x, *before;         // before: the state that the step is given
    const Real* h_prev;             // what it makes of that: times its decay
    const Real* masked;             // [3H] the same for each gate; null: h_prev for all
    Real *planes, *gh;              // gh [3H]: products with weight_hh
    Real* h;                        // null: the state is there already
    const Real *decay, *zoneout;    // [H]; null: none
    const Real *mask, *input_mask;  // [3H]; null: none
    bool idle;

    GRUS_INLINE const Real* input(int gate, Size H) const { return masked ? masked + gate * H : h_prev; }
};

/// The weights as the general products read them; recurrent gates that read the same numbers are taken
/// together.
struct GeneralForwardWeights {
    Packed input;
    PackedGates first, others[2];  // from gate 0 on, and what of the gates is not in it
    bool before;

    GeneralForwardWeights(const Layer<Real>& layer, Scratch& scratch) {
        const auto [T, B, I, H] = layer.sizes;
        before = layer.form.reset == Reset::before;
        const bool apart = layer.recurrent_mask || layer.form.blocks > 1;
        const Size blocks = layer.form.blocks;
        input.take(I, 3 * H, scratch);
        first.take(H, blocks, apart ? 1 : before ? 2 : 3, false, scratch);
        for (int i = 0; i < 2; ++i)
            if (gate_of(i) < 3) others[i].take(H, blocks, 1, false, scratch);
    }
    /// The gate that others[i] is of; 3: there is none.
    int gate_of(int i) const { return least(first.gates + i, 3); }

    void pack(const Layer<Real>& layer, const Worker& worker) const {
        const Size block_rows_of_gate = layer.sizes.H * first.size;
        input.pack(layer.weight_ih, true, worker);
        first.pack(layer.weight_hh, worker);
        for (int i = 0; i < 2; ++i)
            if (gate_of(i) < 3) others[i].pack(layer.weight_hh + gate_of(i) * block_rows_of_gate, worker);
    }
};

/// What rows need beside the workspace while their step is taken.
struct GeneralRoom {
    Real *h_prev = nullptr, *masked = nullptr, *gh = nullptr;

    GeneralRoom(const Layer<Real>& layer, Size rows, bool with_gh, Scratch& scratch) {
        const Size H = layer.sizes.H;
        if (layer.decay.data) h_prev = scratch.take(rows * H);
        if (layer.recurrent_mask) masked = scratch.take(rows * 3 * H);
        if (with_gh) gh = scratch.take(rows * 3 * H);
    }
    bool prepares() const { return h_prev || masked; }

    /// @param steps  whose first planes those of the first row are
    /// @param slot   the row's place in the room
    GRUS_INLINE GeneralRow row(const Layer<Real>& layer, const StepRows& steps, Size t, Size b,
                               Size slot) const {
        const Size H = layer.sizes.H;
        const StepRows::Row of = steps.row(t, b);
        Real* planes = steps.planes + ((t - steps.times.first) * layer.sizes.B + b) * planes_of(layer) * H;
        return {of.x,
                of.before,
                h_prev ? h_prev + slot * H : of.before,
                masked ? masked + slot * 3 * H : nullptr,
                planes,
                layer.gain_hh ? planes + products_hh * H : gh + slot * 3 * H,
                of.h,
                of.decay,
                of.zoneout,
                of.mask,
                of.input_mask,
                of.idle};
    }

    /// The state that a step starts from, as each product reads it.
    void prepare(const GeneralRow& row, Size H, Range units) const {
        if (row.idle) return;
        for (Size unit = units.first; unit < units.last; unit += W) {
            const Size lanes = H - unit;
            const V h = decayed<false>(row.before, row.decay, unit, lanes);
            if (h_prev) store(const_cast<Real*>(row.h_prev) + unit, h, lanes);
            for (int g = 0; g < 3 && masked; ++g) {
                Real* to = const_cast<Real*>(row.masked) + g * H + unit;
                store(to, h * load(row.mask + g * H + unit, lanes), lanes);
            }
        }
    }
};

/// Steps of rows whose states are known or become known one after the other.
class GeneralSteps {
  public:
    GeneralSteps(const Layer<Real>& layer, const GeneralForwardWeights& weights, const GeneralRoom& room,
                 const Worker& worker)
        : layer_(layer),
          weights_(weights),
          room_(room),
          worker_(worker),
          functions_(layer.form),
          H_(layer.sizes.H),
          units_(own_units(H_, worker)) {}

    GRUS_INLINE GeneralRow row(const StepRows& steps, Size t, Size b, Size slot) const {
        return room_.row(layer_, steps, t, b, slot);
    }

    /// gx of rows; then others may need to meet.
    void project(const StepRows& steps, Range some) const {
        SomeRows products(some.last - some.first);
        const Size to = layer_.gain_ih ? products_ih * H_ : 0, width = planes_of(layer_) * H_;
        steps.each(some.first, products.count(), [&](Size m, Size t, Size b) {
            const StepRows::Row of = steps.row(t, b);
            Real* planes = steps.planes + ((t - steps.times.first) * steps.B + b) * width;
            products[m] = {of.x, planes + to, of.idle};
        });
        weights_.input.multiply(products, worker_, finishes_projection() ? nullptr : layer_.bias_ih);
    }

    /// Whether layer normalisation or a mask comes after the projection.
    bool finishes_projection() const { return layer_.gain_ih || layer_.input_mask; }
    void finish_projection(const GeneralRow* rows, Size count) const {
        for (Size m = 0; m < count; ++m)
            for (int g = 0; g < 3 && !rows[m].idle; ++g) finish_projection(rows[m], g * H_);
    }

    /// h of rows; `meet` is called where the units of other workers are needed.
    template <class Meet>
    void take(const GeneralRow* rows, Size count, Meet meet) const {
        if (room_.prepares()) {
            for (Size m = 0; m < count; ++m) room_.prepare(rows[m], H_, units_);
            meet();
        }
        multiply(rows, count, weights_.first, 0);
        if (!weights_.before) {
            for (int i = 0; i < 2; ++i) multiply_other(rows, count, i);
            meet();
            for (Size m = 0; m < count; ++m) finish<Reset::after>(rows[m]);
            return;
        }
        if (weights_.gate_of(0) == 1) multiply_other(rows, count, 0);
        meet();
        for (Size m = 0; m < count; ++m) reset_state(rows[m]);
        meet();
        multiply_other(rows, count, weights_.gate_of(0) == 2 ? 0 : 1);
        meet();
        for (Size m = 0; m < count; ++m) finish<Reset::before>(rows[m]);
    }

  private:
    void finish_projection(const GeneralRow& row, Size gate) const {
        Real* gx = row.planes + gate;
        const Real* products = layer_.gain_ih ? row.planes + products_ih * H_ + gate : gx;
        Normalisation normal;
        if (layer_.gain_ih) normal = Normalisation(products, H_);
        for (Size unit = units_.first; unit < units_.last; unit += W) {
            const Size lanes = H_ - unit;
            V a = load(products + unit, lanes);
            if (layer_.gain_ih) a = normal(a) * load(layer_.gain_ih + gate + unit, lanes);
            if (row.input_mask) a *= load(row.input_mask + gate + unit, lanes);
            store(gx + unit, a + load(layer_.bias_ih + gate + unit, lanes), lanes);
        }
    }

    void multiply(const GeneralRow* rows, Size count, const PackedGates& gates, int gate) const {
        SomeRows products(count);
        for (Size m = 0; m < count; ++m) {
            const GeneralRow& row = rows[m];
            const Real* in = gate == 2 && weights_.before ? row.planes + 3 * H_ : row.input(gate, H_);
            products[m] = {in, row.gh + gate * H_, row.idle};
        }
        gates.multiply(products, worker_, layer_.gain_hh ? nullptr : layer_.bias_hh + gate * H_, false);
    }
    void multiply_other(const GeneralRow* rows, Size count, int i) const {
        if (weights_.gate_of(i) < 3) multiply(rows, count, weights_.others[i], weights_.gate_of(i));
    }

    /// A gate's gh, from its products.
    struct StateInput {
        const Real *products, *gain, *bias;
        Normalisation normal;
        GRUS_INLINE StateInput(const Layer<Real>& layer, const GeneralRow& row, int gate, Size H)
            : products(row.gh + gate * H), gain(layer.gain_hh), bias(layer.bias_hh + gate * H) {
            if (!gain) return;
            gain += gate * H;
            normal = Normalisation(products, H);
        }
        GRUS_INLINE V operator()(Size unit, Size lanes) const {
            const V a = load(products + unit, lanes);
            return gain ? multiply_add(normal(a), load(gain + unit, lanes), load(bias + unit, lanes)) : a;
        }
    };

    /// (F1), (F2), and for (F3') what the product with weight_hn reads.
    void reset_state(const GeneralRow& row) const {
        if (row.idle) return;
        const StateInput gh_r(layer_, row, 0, H_), gh_z(layer_, row, 1, H_);
        Real *r_plane = row.planes, *z_plane = r_plane + H_, *reset = row.planes + 3 * H_;
        for (Size unit = units_.first; unit < units_.last; unit += W) {
            const Size lanes = H_ - unit;
            V r, z;
            reset_and_update(functions_, load(r_plane + unit, lanes) + gh_r(unit, lanes),
                             load(z_plane + unit, lanes) + gh_z(unit, lanes), r, z);
            store(r_plane + unit, r, lanes);
            store(z_plane + unit, z, lanes);
            const V h = load(row.h_prev + unit, lanes) * r;
            store(reset + unit, row.mask ? h * load(row.mask + 2 * H_ + unit, lanes) : h, lanes);
        }
    }

    /// The rest of the step; all of it where r does not come before the product.
    template <Reset when>
    void finish(const GeneralRow& row) const {
        if (row.idle) {
            if (row.h)
                for (Size unit = units_.first; unit < units_.last; unit += W)
                    store(row.h + unit, load(row.before + unit, H_ - unit), H_ - unit);
            return;
        }
        const StateInput gh_r(layer_, row, 0, H_), gh_z(layer_, row, 1, H_), gh_n(layer_, row, 2, H_);
        Size unit = units_.first;
        for (; unit + 4 * W <= units_.last; unit += 4 * W) finish_units<when, 4>(row, unit, gh_r, gh_z, gh_n);
        for (; unit < units_.last; unit += W) finish_units<when, 1>(row, unit, gh_r, gh_z, gh_n);
    }

    /// Some vectors of units together, so that their long chains of operations overlap.
    template <Reset when, int U>
    GRUS_INLINE void finish_units(const GeneralRow& row, Size unit, const StateInput& gh_r,
                                  const StateInput& gh_z, const StateInput& gh_n) const {
        Real* planes = row.planes + unit;
        const Size left = H_ - unit;
        const bool candidate = layer_.form.reset == Reset::candidate;
        V r[U], z[U], n[U], inner[U];
        for (int i = 0; i < U; ++i) {
            const Size lanes = left - i * W;
            if (when == Reset::before) {
                z[i] = load(planes + H_ + i * W, lanes);
                continue;
            }
            const V a_r = load(planes + i * W, lanes) + gh_r(unit + i * W, lanes);
            const V a_z = load(planes + H_ + i * W, lanes) + gh_z(unit + i * W, lanes);
            reset_and_update(functions_, a_r, a_z, r[i], z[i]);
        }
        for (int i = 0; i < U; ++i) {
            const Size lanes = left - i * W;
            const V gx_n = load(planes + 2 * H_ + i * W, lanes);
            inner[i] = gh_n(unit + i * W, lanes);
            if (when == Reset::before) {
                n[i] = new_before(functions_, gx_n + inner[i]);
            } else if (candidate) {
                inner[i] += gx_n;
                n[i] = new_candidate(functions_, r[i], inner[i]);
            } else {
                n[i] = new_after(functions_, gx_n, r[i], inner[i]);
            }
        }
        for (int i = 0; i < U; ++i) {
            const Size lanes = left - i * W, at = unit + i * W;
            if (row.h) {
                const V h_prev = load(row.h_prev + at, lanes);
                V h = next_state(z[i], n[i], h_prev);
                if (row.zoneout) h = leave_state(load(row.zoneout + at, lanes), h, h_prev);
                store(row.h + at, h, lanes);
            }
            if (when != Reset::before) {
                store(planes + i * W, r[i], lanes);
                store(planes + H_ + i * W, z[i], lanes);
                store(planes + 3 * H_ + i * W, inner[i], lanes);
            }
            store(planes + 2 * H_ + i * W, n[i], lanes);
        }
    }

    const Layer<Real>& layer_;
    const GeneralForwardWeights& weights_;
    const GeneralRoom& room_;
    const Worker& worker_;
    const AnyFunctions functions_;
    const Size H_;
    const Range units_;
};

/// Every number that a general forward needs beside its arguments.
struct GeneralForwardScratch {
    Scratch scratch;
    GeneralForwardWeights weights;
    GeneralRoom room;
    Size kept_steps;
    Real* workspace;

    GeneralForwardScratch(const Forward<Real>& problem, Real* base)
        : scratch(base),
          weights(problem.layer, scratch),
          room(problem.layer, problem.layer.sizes.B, true, scratch) {
        const auto [T, B, I, H] = problem.layer.sizes;
        const Size row = planes_of(problem.layer) * H;
        kept_steps = problem.workspace ? T : least(T, ForwardScratch::projected_steps(B, H));
        workspace = problem.workspace ? problem.workspace : scratch.take(kept_steps * B * row);
    }
};

inline void general_forward(const Forward<Real>& problem, Real* base, const Worker& worker) {
    const Layer<Real>& layer = problem.layer;
    const auto [T, B, I, H] = layer.sizes;
    const GeneralForwardScratch scratch(problem, base);
    if (!problem.packed) scratch.weights.pack(layer, worker);
    wait(worker.barrier);
    const GeneralSteps steps(layer, scratch.weights, scratch.room, worker);
    const Range own = worker.split_rows ? share(B, block_rows, worker) : Range{0, B};
    const Size width = own.last - own.first;
    const Size chunk = most(least(ForwardScratch::projected_steps(width, H), scratch.kept_steps), 1);
    const auto meet = [&] { wait(worker.split_rows ? nullptr : worker.barrier); };
    const Size row = planes_of(layer) * H;
    GeneralRow rows[most_together];
    for (Size from = 0; from < T; from += chunk) {
        const Size count = least(chunk, T - from), lowest = layer.reverse ? T - from - count : from;
        const StepRows all{&layer,
                           own,
                           {lowest, lowest + count},
                           {problem.states.data, problem.states.step, problem.states.row},
                           problem.states,
                           problem.workspace ? problem.workspace + lowest * B * row : scratch.workspace,
                           true};
        const auto locate = [&](Size m, Size t, Size b) { rows[m] = steps.row(all, t, b, b); };
        in_groups(all.all(), [&](Range some) { steps.project(all, some); });
        meet();
        if (steps.finishes_projection()) {
            in_groups(all.all(), [&](Range some) {
                all.each(some.first, some.last - some.first, locate);
                steps.finish_projection(rows, some.last - some.first);
            });
        }
        for (Size i = 0; i < count; ++i) {
            const Size t = layer.reverse ? lowest + count - 1 - i : lowest + i;
            in_groups(own, [&](Range some) {
                const Size of_them = some.last - some.first;
                for (Size m = 0; m < of_them; ++m) locate(m, t, some.first + m);
                steps.take(rows, of_them, meet);
            });
            meet();
        }
    }
}

}  // namespace
}  // namespace grus
