#pragma once

/// @file A sequence forward: the input projected for a few steps at a time, then those steps one by one.

#include "flush.hpp"
#include "gates.hpp"
#include "steps.hpp"

namespace grus {
namespace {

/// Every number the call needs beside its arguments.
struct ForwardScratch {
    GatePanels<3> input, recurrent;  // recurrent: for (F3)
    GatePanels<2> reset_and_update;  // of weight_hh's rows r | z, for (F3')
    ColumnPanels new_gate;           // of weight_hn, for (F3')
    Real *packed_input, *packed_recurrent, *packed_new, *workspace;
    Size kept_steps;  // of the workspace
    Size size;

    ForwardScratch(const Forward<Real>& problem, Real* base) {
        const auto [T, B, I, H] = problem.layer.sizes;
        const bool after = problem.layer.form.reset_after;
        Scratch scratch(base);
        input = {I, H};
        recurrent = {H, H};
        reset_and_update = {H, H};
        new_gate = {H, after ? 0 : H};
        packed_input = scratch.take(packed_size(input));
        packed_recurrent = scratch.take(after ? packed_size(recurrent) : packed_size(reset_and_update));
        packed_new = scratch.take(packed_size(new_gate));
        kept_steps = problem.workspace ? T : least(T, projected_steps(B, H));
        workspace = problem.workspace ? problem.workspace : scratch.take(kept_steps * B * 4 * H);
        size = scratch.used();
    }

    /// As many steps as stay in the cache between the projection and their use, of at least a few rows in
    /// all.
    static Size projected_steps(Size B, Size H) {
        const Size row = 4 * H * static_cast<Size>(sizeof(Real)), cache = 256 * 1024;
        return most(most(cache / most(B * row, 1), ceil_divide(16, most(B, 1))), 1);
    }
};

/// What the jobs below share.
struct ForwardContext {
    const Forward<Real>& problem;
    const ForwardScratch& scratch;
    Size H = problem.layer.sizes.H;

    GRUS_INLINE Real* planes(Size t, Size b) const {
        const Size slot = problem.workspace ? t : t % scratch.kept_steps;
        return scratch.workspace + (slot * problem.layer.sizes.B + b) * 4 * H;
    }
    GRUS_INLINE Real* state(Size t, Size b) const {
        return problem.states.data + t * problem.states.step + b * problem.states.row;
    }
    Step step(Size index) const {
        const auto& states = problem.states;
        return {problem.layer, {states.data, states.step, states.row}, index};
    }
};

/// gx = x @ weight_ih.T + bias_ih, and for r and z bias_hh too, for the rows of `batch` in steps from
/// `first`.
struct InputProjection {
    const ForwardContext& context;
    Range batch;
    Size first;
    const GatePanels<3>& panels = context.scratch.input;
    const Real* columns = context.scratch.packed_input;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size m) const { return !is_valid(context.problem.layer, t(m), b(m)); }
    GRUS_INLINE Size t(Size m) const { return first + m / (batch.last - batch.first); }
    GRUS_INLINE Size b(Size m) const { return batch.first + m % (batch.last - batch.first); }
    GRUS_INLINE const Real* row(Size m, int) const {
        const auto& x = context.problem.layer.x;
        return x.data + t(m) * x.step + b(m) * x.row;
    }
    void start(Size, Size p, V* sums) const {
        const Layer<Real>& layer = context.problem.layer;
        const Size unit = panels.first_unit(p), units = context.H - unit;
        for (int g = 0; g < 3; ++g) {
            sums[g] = load(layer.bias_ih + g * context.H + unit, units);
            if (g < 2) sums[g] += load(layer.bias_hh + g * context.H + unit, units);
        }
    }
    void finish(Size m, Size p, const V* sums) const {
        const Size unit = panels.first_unit(p);
        Real* planes = context.planes(t(m), b(m)) + unit;
        for (int g = 0; g < 3; ++g) store(planes + g * context.H, sums[g], context.H - unit);
    }
};

/// One step of (F1), (F2), (F3) and (F4).
template <class Functions>
struct StepAfter {
    const ForwardContext& context;
    const Functions& functions;
    Step step;
    const GatePanels<3>& panels = context.scratch.recurrent;
    const Real* columns = context.scratch.packed_recurrent;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size b) const { return !step.valid(b); }
    GRUS_INLINE const Real* row(Size b, int) const { return step.h_prev(b); }
    GRUS_INLINE void start(Size b, Size p, V* sums) const {
        const Size H = context.H, unit = panels.first_unit(p), units = H - unit;
        const Real* planes = context.planes(step.t, b) + unit;
        sums[0] = load(planes, units);
        sums[1] = load(planes + H, units);
        sums[2] = load(context.problem.layer.bias_hh + 2 * H + unit, units);
    }
    GRUS_INLINE void finish(Size b, Size p, const V* sums) const {
        const Size H = context.H, unit = panels.first_unit(p), units = H - unit;
        Real* planes = context.planes(step.t, b) + unit;
        Real* h = context.state(step.t, b) + unit;
        const V h_prev = load(step.h_prev(b) + unit, units), gh_n = sums[2];
        if (!step.valid(b)) return store(h, h_prev, units);
        V r, z;
        reset_and_update(functions, sums[0], sums[1], r, z);
        const V n = new_after(functions, load(planes + 2 * H, units), r, gh_n);
        store(h, next_state(z, n, h_prev), units);
        if (!context.problem.workspace) return;
        store(planes, r, units);
        store(planes + H, z, units);
        store(planes + 2 * H, n, units);
        store(planes + 3 * H, gh_n, units);
    }
};

/// The first half of a step with (F3'): r, z and r * h_prev of all units, which the second half needs.
template <class Functions>
struct StepBeforeGates {
    const ForwardContext& context;
    const Functions& functions;
    Step step;
    const GatePanels<2>& panels = context.scratch.reset_and_update;
    const Real* columns = context.scratch.packed_recurrent;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size b) const { return !step.valid(b); }
    GRUS_INLINE const Real* row(Size b, int) const { return step.h_prev(b); }
    GRUS_INLINE void start(Size b, Size p, V* sums) const {
        const Size unit = panels.first_unit(p), units = context.H - unit;
        const Real* planes = context.planes(step.t, b) + unit;
        sums[0] = load(planes, units);
        sums[1] = load(planes + context.H, units);
    }
    GRUS_INLINE void finish(Size b, Size p, const V* sums) const {
        const Size H = context.H, unit = panels.first_unit(p), units = H - unit;
        Real* planes = context.planes(step.t, b) + unit;
        V r, z;
        reset_and_update(functions, sums[0], sums[1], r, z);
        store(planes, r, units);
        store(planes + H, z, units);
        store(planes + 3 * H, r * load(step.h_prev(b) + unit, units), units);
    }
};

/// The second half: (F3') and (F4).
template <class Functions>
struct StepBeforeState {
    const ForwardContext& context;
    const Functions& functions;
    Step step;
    const ColumnPanels& panels = context.scratch.new_gate;
    const Real* columns = context.scratch.packed_new;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size b) const { return !step.valid(b); }
    GRUS_INLINE const Real* row(Size b, int) const { return context.planes(step.t, b) + 3 * context.H; }
    GRUS_INLINE void start(Size b, Size p, V* sums) const {
        const Size H = context.H;
        const Real* gx_n = context.planes(step.t, b) + 2 * H;
        for (int v = 0; v < panels.width(p); ++v) {
            const Size unit = panels.first_column(p) + v * W;
            sums[v] =
                load(gx_n + unit, H - unit) + load(context.problem.layer.bias_hh + 2 * H + unit, H - unit);
        }
    }
    GRUS_INLINE void finish(Size b, Size p, const V* sums) const {
        const Size H = context.H;
        for (int v = 0; v < panels.width(p); ++v) {
            const Size unit = panels.first_column(p) + v * W, units = H - unit;
            Real* planes = context.planes(step.t, b) + unit;
            const V h_prev = load(step.h_prev(b) + unit, units), z = load(planes + H, units);
            const V n = new_before(functions, sums[v]);
            store(planes + 2 * H, n, units);
            store(context.state(step.t, b) + unit, step.valid(b) ? next_state(z, n, h_prev) : h_prev, units);
        }
    }
};

inline void pack_forward(const Forward<Real>& problem, const ForwardScratch& scratch, const Worker& worker) {
    const Layer<Real>& layer = problem.layer;
    const Size H = layer.sizes.H;
    const auto part = [&](Size count) { return share(count, 1, worker); };
    const Range gates = part(scratch.input.count()), columns = part(scratch.new_gate.count());
    pack_gates(scratch.packed_input, layer.weight_ih, scratch.input, gates.first, gates.last);
    if (layer.form.reset_after) {
        return pack_gates(scratch.packed_recurrent, layer.weight_hh, scratch.recurrent, gates.first,
                          gates.last);
    }
    pack_gates(scratch.packed_recurrent, layer.weight_hh, scratch.reset_and_update, gates.first, gates.last);
    pack_columns(scratch.packed_new, layer.weight_hh + 2 * H * H, true, scratch.new_gate, columns.first,
                 columns.last);
}

template <class Functions>
void forward_steps(const ForwardContext& context, const Worker& worker) {
    const auto [T, B, I, H] = context.problem.layer.sizes;
    const Functions functions(context.problem.layer.form);
    const Share share(B, context.scratch.input.count(), worker);
    const Share columns(B, context.scratch.new_gate.count(), worker);
    const Size rows = share.rows.last - share.rows.first;
    const Size chunk = most(least(ForwardScratch::projected_steps(rows, H), context.scratch.kept_steps), 1);
    const bool after = context.problem.layer.form.reset_after;
    const auto meet = [&] { wait(share.meets ? worker.barrier : nullptr); };
    for (Size from = 0; from < T; from += chunk) {
        const Size steps = least(chunk, T - from);
        const Size first = context.problem.layer.reverse ? T - from - steps : from;
        run(InputProjection{context, share.rows, first}, {0, steps * rows}, share.panels);
        for (Size index = from; index < from + steps; ++index) {
            const Step step = context.step(index);
            if (after) {
                run(StepAfter<Functions>{context, functions, step}, share.rows, share.panels);
            } else {
                run(StepBeforeGates<Functions>{context, functions, step}, share.rows, share.panels);
                meet();
                run(StepBeforeState<Functions>{context, functions, step}, columns.rows, columns.panels);
            }
            meet();
        }
    }
}

Size forward_scratch(const Forward<Real>& problem) { return ForwardScratch(problem, nullptr).size; }

void forward(const Forward<Real>& problem, Real* base, const Worker& worker) {
    const FlushDenormals flush;
    const ForwardScratch scratch(problem, base);
    const ForwardContext context{problem, scratch};
    pack_forward(problem, scratch, worker);
    wait(worker.barrier);
    if (is_tanh_and_sigmoid(problem.layer.form)) return forward_steps<TanhAndSigmoid>(context, worker);
    forward_steps<AnyFunctions>(context, worker);
}

}  // namespace
}  // namespace grus
