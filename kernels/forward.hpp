#pragma once

/// @file A sequence forward: the input projected for a few steps at a time, then those steps one by one.

#include "gates.hpp"
#include "steps.hpp"

namespace grus {
namespace {

/// The weights as the forward products read them.
struct ForwardWeights {
    GatePanels<3> input, recurrent;  // recurrent: for (F3)
    GatePanels<2> reset_and_update;  // of weight_hh's rows r | z, for (F3')
    ColumnPanels new_gate;           // of weight_hn, for (F3')
    Real *packed_input, *packed_recurrent, *packed_new;

    ForwardWeights(const Layer<Real>& layer, Scratch& scratch) {
        const auto [T, B, I, H] = layer.sizes;
        const bool after = layer.form.reset == Reset::after;
        input = {I, H};
        recurrent = {H, H};
        reset_and_update = {H, H};
        new_gate = {H, after ? 0 : H};
        packed_input = scratch.take(packed_size(input));
        packed_recurrent = scratch.take(after ? packed_size(recurrent) : packed_size(reset_and_update));
        packed_new = scratch.take(packed_size(new_gate));
    }

    void pack(const Layer<Real>& layer, const Worker& worker) const {
        const Size H = layer.sizes.H;
        const Range gates = share(input.count(), 1, worker), columns = share(new_gate.count(), 1, worker);
        pack_gates(packed_input, layer.weight_ih, input, gates.first, gates.last);
        if (layer.form.reset == Reset::after)
            return pack_gates(packed_recurrent, layer.weight_hh, recurrent, gates.first, gates.last);
        pack_gates(packed_recurrent, layer.weight_hh, reset_and_update, gates.first, gates.last);
        pack_columns(packed_new, layer.weight_hh + 2 * H * H, true, new_gate, columns.first, columns.last);
    }
};

/// Every number the call needs beside its arguments.
struct ForwardScratch {
    Scratch scratch;
    ForwardWeights weights;
    Size kept_steps;  // of the workspace
    Real *workspace, *entering;

    ForwardScratch(const Forward<Real>& problem, Real* base)
        : scratch(base), weights(problem.layer, scratch) {
        const auto [T, B, I, H] = problem.layer.sizes;
        kept_steps = problem.workspace ? T : least(T, projected_steps(B, H));
        workspace = problem.workspace ? problem.workspace : scratch.take(kept_steps * B * 4 * H);
        const Size width = entering_width(problem.layer);
        entering = width ? scratch.take(B * width) : nullptr;
    }

    /// As many steps as stay in the cache between the projection and their use, of at least a few rows in
    /// all.
    static Size projected_steps(Size B, Size H) {
        const Size row = 4 * H * static_cast<Size>(sizeof(Real)), cache = 256 * 1024;
        return most(most(cache / most(B * row, 1), ceil_divide(16, most(B, 1))), 1);
    }
};

/// gx = x @ weight_ih.T + bias_ih, and for r and z bias_hh too; a mask comes before the biases.
struct InputProjection : StepRows {
    const GatePanels<3>& panels;
    const Real* columns;
    static constexpr bool by_vector = false;

    InputProjection(const StepRows& rows, const ForwardWeights& weights)
        : StepRows(rows), panels(weights.input), columns(weights.packed_input) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.x; }

    template <bool whole>
    GRUS_INLINE V bias(int g, Size unit) const {
        const V of_input = load<whole>(layer->bias_ih + g * H + unit, H - unit);
        return g < 2 ? of_input + load<whole>(layer->bias_hh + g * H + unit, H - unit) : of_input;
    }
    template <int, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        for (int g = 0; g < 3; ++g) sums[g] = row.input_mask ? V{} : bias<whole>(g, panels.first_unit(p));
    }
    template <int R, int P, int, bool whole>
    GRUS_INLINE void finish(const Row* rows, Size p, const V* sums) const {
        if (layer->input_mask) return finish_masked<R, P, whole>(rows, p, sums);
        for (int c = 0; c < R * P; ++c)
            for (int g = 0; g < 3; ++g) {
                const Size unit = panels.first_unit(p + c / R);
                store<whole>(rows[c % R].planes + g * H + unit, sums[c * 3 + g], H - unit);
            }
    }
    template <int R, int P, bool whole>
    void finish_masked(const Row* rows, Size p, const V* sums) const {
        for (int c = 0; c < R * P; ++c)
            for (int g = 0; g < 3; ++g) {
                const Size unit = panels.first_unit(p + c / R), at = g * H + unit;
                const V mask = load<whole>(rows[c % R].input_mask + at, H - unit);
                store<whole>(rows[c % R].planes + at,
                             multiply_add(sums[c * 3 + g], mask, bias<whole>(g, unit)), H - unit);
            }
    }
};

template <bool whole>
GRUS_INLINE void write_special_state(const StepRows::Row& row, Size unit, V z, V n, Size units) {
    if (row.idle) return store<whole>(row.h + unit, load<whole>(row.before + unit, units), units);
    const V h_prev = row.h_prev<whole>(unit, units);
    V h = next_state(z, n, h_prev);
    if (row.zoneout) h = leave_state(load<whole>(row.zoneout + unit, units), h, h_prev);
    store<whole>(row.h + unit, h, units);
}

/// The state after a step, where it is not there already.
template <bool whole>
GRUS_INLINE void write_state(const StepRows::Row& row, Size unit, V z, V n, Size units) {
    if (!row.h) return;
    if (row.special) [[unlikely]]
        return write_special_state<whole>(row, unit, z, n, units);
    store<whole>(row.h + unit, next_state(z, n, load<whole>(row.before + unit, units)), units);
}

/// (F1), (F2), (F3) and (F4) of rows that wait with their projected input.
template <class Functions>
struct StepAfter : StepRows {
    const Functions& functions;
    const GatePanels<3>& panels;
    const Real* columns;
    static constexpr bool by_vector = false;
    Size apart = layer->recurrent_mask ? gate_stride(H) : 0;

    StepAfter(const StepRows& rows, const ForwardWeights& weights, const Functions& functions)
        : StepRows(rows),
          functions(functions),
          panels(weights.recurrent),
          columns(weights.packed_recurrent) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.entering; }

    template <int, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        const Size unit = panels.first_unit(p), units = H - unit;
        sums[0] = load<whole>(row.planes + unit, units);
        sums[1] = load<whole>(row.planes + H + unit, units);
        sums[2] = load<whole>(layer->bias_hh + 2 * H + unit, units);
    }
    template <int R, int P, int, bool whole>
    GRUS_INLINE void finish(const Row* rows, Size p, const V* sums) const {
        V r[R * P], z[R * P], n[R * P];
        for (int c = 0; c < R * P; ++c) reset_and_update(functions, sums[c * 3], sums[c * 3 + 1], r[c], z[c]);
        for (int c = 0; c < R * P; ++c) {
            const Size unit = panels.first_unit(p + c / R);
            const V gx_n = load<whole>(rows[c % R].planes + 2 * H + unit, H - unit);
            n[c] = new_after(functions, gx_n, r[c], sums[c * 3 + 2]);
        }
        for (int c = 0; c < R * P; ++c) {
            const Row& row = rows[c % R];
            const Size unit = panels.first_unit(p + c / R), units = H - unit;
            write_state<whole>(row, unit, z[c], n[c], units);
            if (!keeps || row.idle) continue;
            Real* gates = row.planes + unit;
            store<whole>(gates, r[c], units);
            store<whole>(gates += H, z[c], units);
            store<whole>(gates += H, n[c], units);
            store<whole>(gates += H, sums[c * 3 + 2], units);
        }
    }
};

/// The first half of a step with (F3'): r, z and r * h_prev of all units, which the second half needs.
template <class Functions>
struct StepBeforeGates : StepRows {
    const Functions& functions;
    const GatePanels<2>& panels;
    const Real* columns;
    static constexpr bool by_vector = false;
    Size apart = layer->recurrent_mask ? gate_stride(H) : 0;

    StepBeforeGates(const StepRows& rows, const ForwardWeights& weights, const Functions& functions)
        : StepRows(rows),
          functions(functions),
          panels(weights.reset_and_update),
          columns(weights.packed_recurrent) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.entering; }

    template <int, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        const Size unit = panels.first_unit(p), units = H - unit;
        for (int g = 0; g < 2; ++g) sums[g] = load<whole>(row.planes + g * H + unit, units);
    }
    template <int R, int P, int, bool whole>
    GRUS_INLINE void finish(const Row* rows, Size p, const V* sums) const {
        V r[R * P], z[R * P];
        for (int c = 0; c < R * P; ++c) reset_and_update(functions, sums[c * 2], sums[c * 2 + 1], r[c], z[c]);
        for (int c = 0; c < R * P; ++c) {
            const Row& row = rows[c % R];
            const Size unit = panels.first_unit(p + c / R), units = H - unit;
            if (row.idle) continue;
            store<whole>(row.planes + unit, r[c], units);
            store<whole>(row.planes + H + unit, z[c], units);
            V reset = r[c] * row.template h_prev<whole>(unit, units);
            if (row.mask) reset *= load<whole>(row.mask + 2 * H + unit, units);
            store<whole>(row.planes + 3 * H + unit, reset, units);
        }
    }
};

/// The second half: (F3') and (F4).
template <class Functions>
struct StepBeforeState : StepRows {
    const Functions& functions;
    const ColumnPanels& panels;
    const Real* columns;
    static constexpr bool by_vector = true;

    StepBeforeState(const StepRows& rows, const ForwardWeights& weights, const Functions& functions)
        : StepRows(rows), functions(functions), panels(weights.new_gate), columns(weights.packed_new) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.planes + 3 * H; }

    template <int G, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        for (int v = 0; v < G; ++v) {
            const Size unit = panels.first_column(p) + v * W, units = H - unit;
            sums[v] = load<whole>(row.planes + 2 * H + unit, units) +
                      load<whole>(layer->bias_hh + 2 * H + unit, units);
        }
    }
    template <bool whole>
    GRUS_INLINE void finish_vector(const Row& row, Size unit, V sum) const {
        const Size units = H - unit;
        const V n = new_before(functions, sum);
        write_state<whole>(row, unit, load<whole>(row.planes + H + unit, units), n, units);
        if (!row.idle) store<whole>(row.planes + 2 * H + unit, n, units);
    }
};

/// What a worker computes of some steps.
struct StepShare {
    Range rows, gates, columns;  // gates, columns: panels, of three gates and of the new gate alone

    Range units(Size H) const { return {gates.first * W, least(H, gates.last * W)}; }
};

/// The equations of steps whose projected input is in their planes; `meet` is called where the units of
/// other workers are needed.
template <class Functions, class Meet>
GRUS_INLINE void take_steps(const StepRows& steps, const StepShare& own, const ForwardWeights& weights,
                            const Functions& functions, Meet meet) {
    if (steps.entering) {
        steps.prepare(own.rows, own.units(steps.H));
        meet();
    }
    if (steps.layer->form.reset == Reset::after)
        return run(StepAfter<Functions>(steps, weights, functions), own.rows, own.gates);
    run(StepBeforeGates<Functions>(steps, weights, functions), own.rows, own.gates);
    meet();
    run(StepBeforeState<Functions>(steps, weights, functions), own.rows, own.columns);
}

template <class Functions>
void forward_steps(const Forward<Real>& problem, const ForwardScratch& scratch, const Worker& worker) {
    const Layer<Real>& layer = problem.layer;
    const auto [T, B, I, H] = layer.sizes;
    const ForwardWeights& weights = scratch.weights;
    const Functions functions(layer.form);
    const Share share(B, weights.input.count(), worker), columns(B, weights.new_gate.count(), worker);
    const Size rows = share.rows.last - share.rows.first;
    const Size chunk = most(least(ForwardScratch::projected_steps(rows, H), scratch.kept_steps), 1);
    const auto& states = problem.states;
    const auto meet = [&] { wait(share.meets ? worker.barrier : nullptr); };
    for (Size from = 0; from < T; from += chunk) {
        const Size count = least(chunk, T - from), lowest = layer.reverse ? T - from - count : from;
        const StepRows steps{&layer,
                             share.rows,
                             {lowest, lowest + count},
                             {states.data, states.step, states.row},
                             states,
                             problem.workspace ? problem.workspace + lowest * B * 4 * H : scratch.workspace,
                             problem.workspace != nullptr,
                             scratch.entering};
        run(InputProjection(steps, weights), steps.all(), share.panels);
        for (Size i = 0; i < count; ++i) {
            take_steps(steps.only(layer.reverse ? count - 1 - i : i),
                       {{0, rows}, share.panels, columns.panels}, weights, functions, meet);
            meet();
        }
    }
}

Size plain_forward_scratch(const Forward<Real>& problem) {
    return ForwardScratch(problem, nullptr).scratch.used();
}

void plain_forward(const Forward<Real>& problem, Real* base, const Worker& worker) {
    const ForwardScratch scratch(problem, base);
    if (!problem.packed) scratch.weights.pack(problem.layer, worker);
    wait(worker.barrier);
    if (is_tanh_and_sigmoid(problem.layer.form))
        return forward_steps<TanhAndSigmoid>(problem, scratch, worker);
    forward_steps<LookedUpFunctions>(problem, scratch, worker);
}

}  // namespace
}  // namespace grus
