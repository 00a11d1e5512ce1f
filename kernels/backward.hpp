#pragma once

/// @file A sequence backward: the recurrence, step by step from the last one run; then dx and the weights.
///
/// The product that ends one step, dh_prev, has the gate gradients of the step before as its epilogue, so
/// that a state's gradient is used while it is in registers.

#include "flush.hpp"
#include "gates.hpp"
#include "steps.hpp"
#include "weight_gradients.hpp"

namespace grus {
namespace {

struct BackwardScratch {
    ColumnPanels recurrent;  // of weight_hh (3H, H) for (B3), of its rows r | z (2H, H) for (B3')
    ColumnPanels new_gate;   // of weight_hn (H, H), for (B3')
    ColumnPanels input;      // of weight_ih (3H, I)
    Real *packed_recurrent, *packed_new, *packed_input;
    Real* carry;  // [B, H] what of dh goes past the products: dh * z, and all of it where a step is not valid
    Real* blocks;  // the weight gradients' own, of each worker
    Size block_size, size;

    BackwardScratch(const Layer<Real>& layer, int workers, Real* base) {
        const auto [T, B, I, H] = layer.sizes;
        const bool after = layer.form.reset_after;
        Scratch scratch(base);
        recurrent = {after ? 3 * H : 2 * H, H};
        new_gate = {H, after ? 0 : H};
        input = {3 * H, I};
        packed_recurrent = scratch.take(packed_size(recurrent));
        packed_new = scratch.take(packed_size(new_gate));
        packed_input = scratch.take(packed_size(input));
        carry = scratch.take(B * H);
        block_size = WeightGradients::scratch_size(layer);
        blocks = scratch.take(workers * block_size);
        size = scratch.used();
    }
};

struct BackwardContext {
    const Backward<Real>& problem;
    const BackwardScratch& scratch;
    Size H = problem.layer.sizes.H;

    GRUS_INLINE Real* planes(Size t, Size b) const {
        return problem.workspace + (t * problem.layer.sizes.B + b) * 4 * H;
    }
    GRUS_INLINE Real* carry(Size b) const { return scratch.carry + b * H; }
    Step step(Size index) const { return {problem.layer, problem.states, index}; }
};

/// The gate gradients of units `unit` ... of a row at `step`, from dh as it arrives from the step after it.
template <class Functions>
void gate_gradients(const BackwardContext& context, const Functions& functions, const Step& step, Size b,
                    Size unit, V dh) {
    const Size H = context.H, units = H - unit;
    const auto& d_states = context.problem.d_states;
    Real* planes = context.planes(step.t, b) + unit;
    dh += load(d_states.data + step.t * d_states.step + b * d_states.row + unit, units);
    if (!step.valid(b)) {  // the planes may hold NaN there, from what x holds
        for (int g = 0; g < 4; ++g) store(planes + g * H, V{}, units);
        return store(context.carry(b) + unit, dh, units);
    }
    const V h_prev = load(step.h_prev(b) + unit, units);
    const V z = load(planes + H, units), n = load(planes + 2 * H, units);
    const auto d = new_and_update_backward(functions, dh, z, n, h_prev);
    store(context.carry(b) + unit, d.dh_prev, units);
    store(planes + H, d.dg_z, units);
    store(planes + 2 * H, d.dgx_n, units);
    if (!context.problem.layer.form.reset_after) return;
    V dg_r, dgh_n;
    reset_backward_after(functions, d.dgx_n, load(planes, units), load(planes + 3 * H, units), dg_r, dgh_n);
    store(planes, dg_r, units);
    store(planes + 3 * H, dgh_n, units);
}

/// (B3'): q = dgx_n @ weight_hn, and what follows from it.
template <class Functions>
struct ResetBackward {
    const BackwardContext& context;
    const Functions& functions;
    Step step;
    const ColumnPanels& panels = context.scratch.new_gate;
    const Real* columns = context.scratch.packed_new;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size b) const { return !step.valid(b); }
    GRUS_INLINE const Real* row(Size b, int) const { return context.planes(step.t, b) + 2 * context.H; }
    GRUS_INLINE void start(Size, Size p, V* sums) const {
        for (int v = 0; v < panels.width(p); ++v) sums[v] = V{};
    }
    GRUS_INLINE void finish(Size b, Size p, const V* sums) const {
        if (!step.valid(b)) return;
        for (int v = 0; v < panels.width(p); ++v) {
            const Size unit = panels.first_column(p) + v * W, units = context.H - unit;
            Real* r = context.planes(step.t, b) + unit;
            Real* carry = context.carry(b) + unit;
            V dg_r, dh_prev = load(carry, units);
            reset_backward_before(functions, sums[v], load(r, units), load(step.h_prev(b) + unit, units),
                                  dg_r, dh_prev);
            store(r, dg_r, units);
            store(carry, dh_prev, units);
        }
    }
};

/// dh_prev = carry + dgh @ weight_hh, handed to the step run before this one, or to h0.
template <class Functions>
struct StateBackward {
    const BackwardContext& context;
    const Functions& functions;
    Step step;
    int segments;  // of dgh: planes r and z, which lie together, and for (B3) dgh_n
    const ColumnPanels& panels = context.scratch.recurrent;
    const Real* columns = context.scratch.packed_recurrent;

    GRUS_INLINE Size length(int s) const { return s == 0 ? 2 * context.H : context.H; }
    GRUS_INLINE bool idle(Size b) const { return !step.valid(b); }
    GRUS_INLINE const Real* row(Size b, int s) const {
        return context.planes(step.t, b) + (s == 0 ? 0 : 3 * context.H);
    }
    GRUS_INLINE void start(Size b, Size p, V* sums) const {
        for (int v = 0; v < panels.width(p); ++v) {
            const Size unit = panels.first_column(p) + v * W;
            sums[v] = load(context.carry(b) + unit, context.H - unit);
        }
    }
    GRUS_INLINE void finish(Size b, Size p, const V* sums) const {
        for (int v = 0; v < panels.width(p); ++v) {
            const Size unit = panels.first_column(p) + v * W, units = context.H - unit;
            V dh = step.valid(b) ? sums[v] : load(context.carry(b) + unit, units);
            if (step.reset(b)) {
                Real* d_reset_state = context.problem.d_reset_state + b * context.H + unit;
                store(d_reset_state, load(d_reset_state, units) + dh, units);
                dh = V{};
            }
            if (step.index == 0) {
                store(context.problem.dh0 + b * context.H + unit, dh, units);
            } else {
                gate_gradients(context, functions, context.step(step.index - 1), b, unit, dh);
            }
        }
    }
};

inline void pack_backward(const Layer<Real>& layer, const BackwardScratch& scratch, const Worker& worker) {
    const Size H = layer.sizes.H;
    const auto pack = [&](Real* packed, const Real* matrix, const ColumnPanels& panels) {
        const Range part = share(panels.count(), 1, worker);
        pack_columns(packed, matrix, false, panels, part.first, part.last);
    };
    pack(scratch.packed_recurrent, layer.weight_hh, scratch.recurrent);
    pack(scratch.packed_new, layer.weight_hh + 2 * H * H, scratch.new_gate);
    pack(scratch.packed_input, layer.weight_ih, scratch.input);
}

/// Before any step: d_reset_state is zeros, and d_h_n enters the last step run (or h0, where there is none).
template <class Functions>
void begin_backward(const BackwardContext& context, const Functions& functions, const Share& share) {
    const Backward<Real>& problem = context.problem;
    const Size T = problem.layer.sizes.T, H = context.H;
    const ColumnPanels& panels = context.scratch.recurrent;
    if (share.panels.first == share.panels.last) return;
    const Size from = panels.first_column(share.panels.first),
               to = least(H, panels.first_column(share.panels.last));
    for (Size b = share.rows.first; b < share.rows.last; ++b)
        for (Size unit = from; unit < to; unit += W) {
            const Size at = b * H + unit, units = H - unit;
            const V dh = load(problem.d_h_n + at, units);
            if (problem.d_reset_state) store(problem.d_reset_state + at, V{}, units);
            if (T == 0) {
                store(problem.dh0 + at, dh, units);
            } else {
                gate_gradients(context, functions, context.step(T - 1), b, unit, dh);
            }
        }
}

template <class Functions>
void backward_steps(const BackwardContext& context, const Worker& worker) {
    const auto [T, B, I, H] = context.problem.layer.sizes;
    const Functions functions(context.problem.layer.form);
    const bool after = context.problem.layer.form.reset_after;
    const Share share(B, context.scratch.recurrent.count(), worker);
    const auto meet = [&] { wait(share.meets ? worker.barrier : nullptr); };
    begin_backward(context, functions, share);
    for (Size index = T - 1; index >= 0; --index) {
        const Step step = context.step(index);
        meet();
        if (!after) {
            run(ResetBackward<Functions>{context, functions, step}, share.rows, share.panels);
            meet();
        }
        run(StateBackward<Functions>{context, functions, step, after ? 2 : 1}, share.rows, share.panels);
    }
}

/// dx = dgx @ weight_ih; a row is one step of one sequence.
struct InputGradient {
    const BackwardContext& context;
    const ColumnPanels& panels = context.scratch.input;
    const Real* columns = context.scratch.packed_input;
    static constexpr int segments = 1;

    GRUS_INLINE Size length(int) const { return panels.K; }
    GRUS_INLINE bool idle(Size m) const {
        return context.problem.layer.valid && !context.problem.layer.valid[m];
    }
    GRUS_INLINE const Real* row(Size m, int) const { return context.problem.workspace + m * 4 * context.H; }
    void start(Size, Size p, V* sums) const {
        for (int v = 0; v < panels.width(p); ++v) sums[v] = V{};
    }
    void finish(Size m, Size p, const V* sums) const {
        const auto [T, B, I, H] = context.problem.layer.sizes;
        const auto& dx = context.problem.dx;
        for (int v = 0; v < panels.width(p); ++v) {
            const Size column = panels.first_column(p) + v * W;
            store(dx.data + m / B * dx.step + m % B * dx.row + column, sums[v], I - column);
        }
    }
};

Size backward_scratch(const Backward<Real>& problem, int workers) {
    return BackwardScratch(problem.layer, workers, nullptr).size;
}

void backward(const Backward<Real>& problem, Real* base, const Worker& worker) {
    const FlushDenormals flush;
    const Layer<Real>& layer = problem.layer;
    const BackwardScratch scratch(layer, worker.count, base);
    const BackwardContext context{problem, scratch};
    pack_backward(layer, scratch, worker);
    wait(worker.barrier);
    if (is_tanh_and_sigmoid(layer.form)) {
        backward_steps<TanhAndSigmoid>(context, worker);
    } else {
        backward_steps<AnyFunctions>(context, worker);
    }
    wait(worker.barrier);
    const Range rows = share(layer.sizes.T * layer.sizes.B, block_rows, worker);
    run(InputGradient{context}, rows, {0, scratch.input.count()});
    Scratch own(scratch.blocks + worker.index * scratch.block_size);
    WeightGradients(layer, own).run(problem, worker);
}

}  // namespace
}  // namespace grus
