#pragma once

/// @file A sequence backward, some steps after the other from the last one run: the recurrence through them,
/// then their dx and their share of the weights' gradients, while their planes are in the cache.
///
/// The product that ends one step, dh_prev, has the gate gradients of the step before as its epilogue, so
/// that a state's gradient is used while it is in registers.

#include "forward.hpp"
#include "weight_gradients.hpp"

namespace grus {
namespace {

/// Every number that the workers share beside the call's arguments.
struct BackwardScratch {
    Scratch scratch;
    ColumnPanels recurrent;  // of weight_hh (3H, H) for (B3), of its rows r | z (2H, H) for (B3')
    ColumnPanels new_gate;   // of weight_hn (H, H), for (B3')
    ColumnPanels input;      // of weight_ih (3H, I)
    Real *packed_recurrent, *packed_new, *packed_input;
    Real* carry;  // [B, H] what of dh goes past the products: dh * z, and all of it where a step is not valid

    BackwardScratch(const Layer<Real>& layer, Real* base) : scratch(base) {
        const auto [T, B, I, H] = layer.sizes;
        const bool after = layer.form.reset == Reset::after;
        recurrent = {after ? 3 * H : 2 * H, H};
        new_gate = {H, after ? 0 : H};
        input = {3 * H, I};
        packed_recurrent = scratch.take(packed_size(recurrent));
        packed_new = scratch.take(packed_size(new_gate));
        packed_input = scratch.take(packed_size(input));
        carry = scratch.take(B * H);
    }

    void pack(const Layer<Real>& layer, const Worker& worker) const {
        const Size H = layer.sizes.H;
        const auto pack = [&](Real* packed, const Real* matrix, const ColumnPanels& panels) {
            const Range part = share(panels.count(), 1, worker);
            pack_columns(packed, matrix, false, panels, part.first, part.last);
        };
        pack(packed_recurrent, layer.weight_hh, recurrent);
        pack(packed_new, layer.weight_hh + 2 * H * H, new_gate);
        pack(packed_input, layer.weight_ih, input);
    }

    /// Steps that are taken together: as many as a block of weight gradients has rows for, at least one.
    static Size chunk_steps(const Sizes& sizes) {
        return most(1, least(sizes.T, block_size / most(sizes.B, 1)));
    }
};

/// Where one row of the batch has what a step's gate gradients are made of.
struct GateRow {
    Real* planes;  // null: no step of the chunk
    const Real *before, *decay, *d_states, *zoneout;
    bool idle;

    template <bool whole>
    GRUS_INLINE V h_prev(Size unit, Size units) const {
        return decayed<whole>(before, decay, unit, units);
    }
};

/// One row of the batch at one step backward, and at the step that is next.
struct BackwardRow : GateRow {
    const Real* mask;
    Real *carry, *d_decay;
    Real* d_reset_state;  // null: the step begins no sequence
    Real* dh_prev;        // where it belongs when no step of the chunk is next
    GateRow next;
};

/// What the jobs of one step backward share.
template <class Functions>
struct BackwardStep {
    using Row = BackwardRow;

    const Backward<Real>& problem;
    const BackwardScratch& scratch;
    const Functions& functions;
    const StepRows& chunk;
    Size first, index;  // places in the order of running: of the chunk's first step, and of this one
    Size H = problem.layer.sizes.H;

    GRUS_INLINE GateRow gate_row(Size t, Size b) const {
        const StepRows::Row row = chunk.row(t, b);
        return {row.planes, row.before, row.decay, entry(problem.d_states, t, b), row.zoneout, row.idle};
    }
    GRUS_INLINE Row row(Size b) const {
        const Layer<Real>& layer = problem.layer;
        const Steps steps{layer, problem.states};
        const Size t = steps.time(index);
        const auto& d_decay = problem.d_decay;
        Real* carry = scratch.carry + b * H;
        return {gate_row(t, b),
                layer.recurrent_mask ? layer.recurrent_mask + b * 3 * H : nullptr,
                carry,
                d_decay.data ? d_decay.data + t * d_decay.step + b * d_decay.row : nullptr,
                steps.reset(t, b) ? problem.d_reset_state + b * H : nullptr,
                index == 0 ? problem.dh0 + b * H : carry,
                index == first ? GateRow{} : gate_row(steps.time(index - 1), b)};
    }
    GRUS_INLINE void locate(Size first_row, Size count, Row* rows) const {
        for (Size m = 0; m < count; ++m) rows[m] = row(first_row + m);
    }

    /// The gate gradients of units `unit` ... of a row, from dh as it arrives from the step after it.
    template <bool whole>
    GRUS_INLINE void gate_gradients(const GateRow& row, Real* carry, Size unit, V dh) const {
        const Size units = H - unit;
        Real *r = row.planes + unit, *z = r + H, *n = z + H, *gh_n = n + H;
        carry += unit;
        dh += load<whole>(row.d_states + unit, units);
        if (row.idle) return store<whole>(carry, dh, units);  // what its planes hold is never used
        const V h_prev = row.template h_prev<whole>(unit, units), new_gate = load<whole>(n, units);
        V left{};  // what zoneout let past the step
        if (row.zoneout) dh = leave_state_backward(load<whole>(row.zoneout + unit, units), dh, left);
        const auto d = new_and_update_backward(functions, dh, load<whole>(z, units), new_gate, h_prev);
        V dg_r, dgh_n;
        if (problem.layer.form.reset == Reset::after) {
            reset_backward_after(functions, d.dgx_n, load<whole>(r, units), load<whole>(gh_n, units), dg_r,
                                 dgh_n);
            store<whole>(r, dg_r, units);
            store<whole>(gh_n, dgh_n, units);
        }
        store<whole>(carry, row.zoneout ? d.dh_prev + left : d.dh_prev, units);
        store<whole>(z, d.dg_z, units);
        store<whole>(n, d.dgx_n, units);
    }
};

/// (B3'): q = dgx_n @ weight_hn, and what follows from it.
template <class Functions>
struct ResetBackward : BackwardStep<Functions> {
    using Row = BackwardRow;
    using Base = BackwardStep<Functions>;
    const ColumnPanels& panels = Base::scratch.new_gate;
    const Real* columns = Base::scratch.packed_new;
    static constexpr bool by_vector = true;

    explicit ResetBackward(const Base& step) : Base(step) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.planes + 2 * Base::H; }

    template <int G, bool>
    GRUS_INLINE void start(const Row&, Size, V* sums) const {
        for (int v = 0; v < G; ++v) sums[v] = V{};
    }
    template <bool whole>
    GRUS_INLINE void finish_vector(const Row& row, Size unit, V q) const {
        if (row.idle) return;
        const Size units = Base::H - unit;
        const V h_prev = row.template h_prev<whole>(unit, units);
        V dg_r, dh_prev = load<whole>(row.carry + unit, units);
        if (row.mask) q *= load<whole>(row.mask + 2 * Base::H + unit, units);
        reset_backward_before(Base::functions, q, load<whole>(row.planes + unit, units), h_prev, dg_r,
                              dh_prev);
        store<whole>(row.planes + unit, dg_r, units);
        store<whole>(row.carry + unit, dh_prev, units);
    }
};

/// dh_prev = carry + dgh @ weight_hh gate by gate, handed to the step run before this one, to the chunk
/// before, or to h0.
template <class Functions>
struct StateBackward : BackwardStep<Functions> {
    using Row = BackwardRow;
    using Base = BackwardStep<Functions>;
    const ColumnPanels& panels = Base::scratch.recurrent;
    const Real* columns = Base::scratch.packed_recurrent;
    static constexpr bool by_vector = true;
    int parts = panels.K == 3 * Base::H ? 3 : 2;  // gates: with (B3') that of n has a product of its own
    bool weighs = Base::problem.layer.recurrent_mask;

    explicit StateBackward(const Base& step) : Base(step) {}
    GRUS_INLINE const Real* at(const Row& row, int gate) const {
        return row.planes + (gate == 2 ? 3 : gate) * Base::H;
    }

    template <int G, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        for (int v = 0; v < G; ++v) {
            const Size unit = panels.first_column(p) + v * W;
            sums[v] = load<whole>(row.carry + unit, Base::H - unit);
        }
        if (!row.next.planes) return;
        for (int g = 0; g < 4; ++g) prefetch(row.next.planes + g * Base::H + panels.first_column(p), G * W);
        prefetch(row.next.d_states + panels.first_column(p), G * W);
    }
    template <int R, int P, int G, bool whole>
    GRUS_INLINE void add(const Row* rows, Size p, int gate, const V* sums, V* totals) const {
#pragma GCC unroll 1
        for (int c = 0; c < R * P * G; ++c) {
            const Size unit = panels.first_column(p + c / (R * G)) + c % G * W;
            const Real* mask = rows[c / G % R].mask + gate * Base::H + unit;
            totals[c] = multiply_add(load<whole>(mask, Base::H - unit), sums[c], totals[c]);
        }
    }
    /// @param sum  the gradient of what the equations started from
    template <bool whole>
    GRUS_INLINE void finish_vector(const Row& row, Size unit, V sum) const {
        const Size units = Base::H - unit;
        V dh = row.idle ? load<whole>(row.carry + unit, units) : sum;
        if (row.decay) dh = past_decay<whole>(row, unit, dh);
        if (row.d_reset_state) {
            Real* d_reset_state = row.d_reset_state + unit;
            store<whole>(d_reset_state, load<whole>(d_reset_state, units) + dh, units);
            dh = V{};
        }
        if (row.next.planes) return Base::template gate_gradients<whole>(row.next, row.carry, unit, dh);
        store<whole>(row.dh_prev + unit, dh, units);
    }

  private:
    /// (B0)
    template <bool whole>
    GRUS_INLINE V past_decay(const Row& row, Size unit, V dh) const {
        const Size units = Base::H - unit;
        if (row.d_decay)
            store<whole>(row.d_decay + unit, row.idle ? V{} : dh * load<whole>(row.before + unit, units),
                         units);
        return row.idle ? dh : dh * load<whole>(row.decay + unit, units);
    }
};

/// dx = dgx @ weight_ih
struct InputGradient : StepRows {
    const ColumnPanels& panels;
    const Real* columns;
    Sequence<Real> dx;
    static constexpr bool by_vector = true;
    Real* masked;  // [most_located, 3H] of this worker, where there is a mask
    struct Row {
        const Real* dgx;
        Real* dx;
        bool idle;
    };

    InputGradient(const StepRows& rows, const BackwardScratch& scratch, Sequence<Real> dx, Real* masked)
        : StepRows(rows), panels(scratch.input), columns(scratch.packed_input), dx(dx), masked(masked) {}
    GRUS_INLINE const Real* at(const Row& row) const { return row.dgx; }

    GRUS_INLINE void locate(Size first, Size count, Row* rows) const {
        each(first, count, [&](Size m, Size t, Size b) {
            const StepRows::Row of = row(t, b);
            const Real* dgx = of.input_mask && !of.idle ? mask(of, masked + m * 3 * H) : of.planes;
            rows[m] = {dgx, dx.data + t * dx.step + b * dx.row, of.idle};
        });
    }
    const Real* mask(const StepRows::Row& row, Real* to) const {
        for (Size at = 0; at < 3 * H; at += W)
            store(to + at, load(row.planes + at, 3 * H - at) * load(row.input_mask + at, 3 * H - at),
                  3 * H - at);
        return to;
    }
    template <int G, bool>
    GRUS_INLINE void start(const Row&, Size, V* sums) const {
        for (int v = 0; v < G; ++v) sums[v] = V{};
    }
    template <bool whole>
    GRUS_INLINE void finish_vector(const Row& row, Size column, V sum) const {
        store<whole>(row.dx + column, row.idle ? V{} : sum, panels.N - column);
    }
};

/// The gates of a chunk once more, where forward kept none: all its steps as one product.
struct Recomputation {
    Scratch scratch;
    ForwardWeights weights;
    Real *workspace, *entering;  // of a chunk's steps

    Recomputation(const Layer<Real>& layer, Real* base) : scratch(base), weights(layer, scratch) {
        const auto [T, B, I, H] = layer.sizes;
        const Size rows = BackwardScratch::chunk_steps(layer.sizes) * B, width = entering_width(layer);
        workspace = scratch.take(rows * 4 * H);
        entering = width ? scratch.take(rows * width) : nullptr;
    }

    template <class Functions>
    void run_chunk(StepRows steps, const Functions& functions, const Worker& worker) const {
        steps.entering = entering;
        const Range rows = share(steps.all().last, block_rows, worker), gates{0, weights.input.count()};
        run(InputProjection(steps, weights), rows, gates);
        take_steps(steps, {rows, gates, {0, weights.new_gate.count()}}, weights, functions, [] {});
    }
};

/// One worker's way through a call.
template <class Functions>
class BackwardRun {
  public:
    BackwardRun(const Backward<Real>& problem, Real* base, const Worker& worker)
        : problem_(problem),
          worker_(worker),
          functions_(problem.layer.form),
          shared_(problem.layer, base),
          again_(problem.layer, problem.workspace ? nullptr : base + shared_.scratch.used()),
          own_(base + shared_size(problem) + worker.index * own_size(problem, worker.count)),
          weights_(problem, worker, own_),
          masked_(take_masked(problem, own_)),
          share_(problem.layer.sizes.B, shared_.recurrent.count(), worker) {}

    void run_all() {
        const Size T = problem_.layer.sizes.T, chunk = BackwardScratch::chunk_steps(problem_.layer.sizes);
        shared_.pack(problem_.layer, worker_);
        if (!problem_.workspace) again_.weights.pack(problem_.layer, worker_);
        clear();
        weights_.clear(worker_);
        wait(worker_.barrier);
        for (Size last = T; last > 0;) {
            const Size first = (last - 1) / chunk * chunk;
            const StepRows steps = steps_of(first, last);
            if (!problem_.workspace) {
                again_.run_chunk(steps, functions_, worker_);
                wait(worker_.barrier);
            }
            run_steps(steps, first, last);
            wait(worker_.barrier);
            finish_steps(steps);
            if (!problem_.workspace) wait(worker_.barrier);  // the next chunk takes the same planes
            last = first;
        }
    }

    static Size shared_size(const Backward<Real>& problem) {
        const Size again = problem.workspace ? 0 : Recomputation(problem.layer, nullptr).scratch.used();
        return BackwardScratch(problem.layer, nullptr).scratch.used() + again;
    }
    static Size own_size(const Backward<Real>& problem, int workers) {
        Scratch own(nullptr);
        WeightGradients(problem, {0, workers, true, nullptr}, own);
        take_masked(problem, own);
        return own.used();
    }

  private:
    /// Room for the masked gradients of the rows that a product takes at a time.
    static Real* take_masked(const Backward<Real>& problem, Scratch& own) {
        const bool needed = problem.layer.input_mask && problem.dx.data;
        return needed ? own.take(most_located * 3 * problem.layer.sizes.H) : nullptr;
    }

    /// All rows of the batch in the steps of these places in the order of running.
    StepRows steps_of(Size first, Size last) const {
        const auto [T, B, I, H] = problem_.layer.sizes;
        const Range times = problem_.layer.reverse ? Range{T - last, T - first} : Range{first, last};
        Real* planes = problem_.workspace ? problem_.workspace + times.first * B * 4 * H : again_.workspace;
        return {&problem_.layer, {0, B}, times, problem_.states, {}, planes, true};
    }

    /// Calls visit(b, unit) for the vectors of a state that are this worker's.
    template <class Visit>
    void each_own_vector(Visit visit) const {
        const ColumnPanels& panels = shared_.recurrent;
        if (share_.panels.first == share_.panels.last) return;
        const Size from = panels.first_column(share_.panels.first),
                   to = least(panels.N, panels.first_column(share_.panels.last));
        for (Size b = share_.rows.first; b < share_.rows.last; ++b)
            for (Size unit = from; unit < to; unit += W) visit(b, unit);
    }

    /// d_reset_state is zeros at first; without a step dh0 is d_h_n.
    void clear() const {
        const auto [T, B, I, H] = problem_.layer.sizes;
        each_own_vector([&](Size b, Size unit) {
            const Size at = b * H + unit;
            if (problem_.d_reset_state) store(problem_.d_reset_state + at, V{}, H - unit);
            if (T == 0) store(problem_.dh0 + at, load(problem_.d_h_n + at, H - unit), H - unit);
        });
    }

    /// The recurrence through a chunk; dh comes from d_h_n or from the chunk run after it.
    void run_steps(const StepRows& chunk, Size first, Size last) const {
        const Size T = problem_.layer.sizes.T, H = chunk.H;
        const Real* dh = last == T ? problem_.d_h_n : shared_.carry;
        const auto meet = [&] { wait(share_.meets ? worker_.barrier : nullptr); };
        const auto step = [&](Size index) {
            return BackwardStep<Functions>{problem_, shared_, functions_, chunk, first, index};
        };
        const Size latest = Steps{problem_.layer, problem_.states}.time(last - 1);
        each_own_vector([&](Size b, Size unit) {
            const BackwardStep<Functions> of = step(last - 1);
            of.template gate_gradients<false>(of.gate_row(latest, b), shared_.carry + b * H, unit,
                                              load(dh + b * H + unit, H - unit));
        });
        for (Size index = last - 1; index >= first; --index) {
            meet();
            if (problem_.layer.form.reset != Reset::after) {
                run(ResetBackward<Functions>(step(index)), share_.rows, share_.panels);
                meet();
            }
            run(StateBackward<Functions>(step(index)), share_.rows, share_.panels);
        }
    }

    /// dx of a chunk, and what it adds to the weights' gradients.
    void finish_steps(const StepRows& steps) {
        const Size rows = steps.all().last, blocks = ceil_divide(rows, block_size);
        if (problem_.dx.data)
            run(InputGradient(steps, shared_, problem_.dx, masked_), share(rows, block_rows, worker_),
                {0, shared_.input.count()});
        for (Size i = 0; i < blocks; ++i)
            weights_.add(steps, {rows * i / blocks, rows * (i + 1) / blocks}, worker_);
    }

    const Backward<Real>& problem_;
    const Worker& worker_;
    const Functions functions_;
    const BackwardScratch shared_;
    const Recomputation again_;
    Scratch own_;
    WeightGradients weights_;
    Real* const masked_;
    const Share share_;
};

Size plain_backward_scratch(const Backward<Real>& problem, int workers) {
    using Run = BackwardRun<TanhAndSigmoid>;
    return Run::shared_size(problem) + workers * Run::own_size(problem, workers);
}

void plain_backward(const Backward<Real>& problem, Real* base, const Worker& worker) {
    if (is_tanh_and_sigmoid(problem.layer.form))
        return BackwardRun<TanhAndSigmoid>(problem, base, worker).run_all();
    BackwardRun<LookedUpFunctions>(problem, base, worker).run_all();
}

}  // namespace
}  // namespace grus
