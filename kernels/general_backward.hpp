#pragma once

/// @file A sequence backward with options: as `backward.hpp` some steps after the other from the last one
/// run, the recurrence through them first, then their dx and their share of the weights' gradients.

#include "general_forward.hpp"

namespace grus {
namespace {

/// One row of the batch at one step, backward.
struct GeneralBack {
    GeneralRow of;
    const Real* d_states;  // [H] is added to dh first; null: nothing is
    Real* dh;              // [H] of the state after the step becomes that of the state before it
    Real* sums;            // [3H] each gate's share of it, where they differ by a mask
    Real* gain_terms;      // [6H] what the gains get, with layer normalisation
    Real* d_decay;         // [H] written; null: there is none
};

/// The weights as the products backward read them.
struct GeneralBackwardWeights {
    Packed input;          // of weight_ih (3H, I)
    PackedGates gates[3];  // of weight_hh; gates[0] may hold r and z
    bool together;         // it does

    GeneralBackwardWeights(const Layer<Real>& layer, bool with_input, Scratch& scratch) {
        const auto [T, B, I, H] = layer.sizes;
        together = !layer.recurrent_mask && layer.form.blocks == 1;
        input.take(with_input ? 3 * H : 0, with_input ? I : 0, scratch);
        gates[0].take(H, layer.form.blocks, together ? 2 : 1, true, scratch);
        if (!together) gates[1].take(H, layer.form.blocks, 1, true, scratch);
        gates[2].take(H, layer.form.blocks, 1, true, scratch);
    }
    void pack(const Layer<Real>& layer, const Worker& worker) const {
        if (input.panels.K) input.pack(layer.weight_ih, false, worker);
        const Size gate = layer.sizes.H * gates[0].size;
        gates[0].pack(layer.weight_hh, worker);
        if (!together) gates[1].pack(layer.weight_hh + gate, worker);
        gates[2].pack(layer.weight_hh + 2 * gate, worker);
    }
};

/// Where a gate's dgh @ weight_hh starts: the gradients of the products.
GRUS_INLINE Real* d_products(const Layer<Real>& layer, Real* planes, int gate) {
    const Size H = layer.sizes.H;
    if (layer.gain_hh) return planes + (products_hh + gate) * H;
    return planes + (gate == 2 && layer.form.reset == Reset::after ? 3 : gate) * H;
}

/// Steps back, of rows that may belong to one step or to many.
class GeneralStepsBack {
  public:
    GeneralStepsBack(const Layer<Real>& layer, const GeneralBackwardWeights& weights, const Worker& worker)
        : layer_(layer),
          weights_(weights),
          worker_(worker),
          functions_(layer.form),
          H_(layer.sizes.H),
          units_(own_units(H_, worker)),
          before_(layer.form.reset == Reset::before) {}

    /// dh of rows becomes that of the states before their steps; their planes become the gates' gradients.
    template <class Meet>
    void take(const GeneralBack* rows, Size count, Meet meet) const {
        for (Size m = 0; m < count; ++m) gate_gradients(rows[m]);
        if (before_) {
            normalise(rows, count, 2, 3, meet);
            meet();
            multiply(rows, count, 2, weights_.gates[2], true);
            meet();
            for (Size m = 0; m < count; ++m) reset_gradients(rows[m]);
            normalise(rows, count, 0, 2, meet);
            meet();
        } else {
            normalise(rows, count, 0, 3, meet);
            meet();
            multiply(rows, count, 2, weights_.gates[2], layer_.recurrent_mask != nullptr);
        }
        multiply(rows, count, 0, weights_.gates[0], layer_.recurrent_mask != nullptr);
        if (!weights_.together) multiply(rows, count, 1, weights_.gates[1], layer_.recurrent_mask != nullptr);
        meet();
        for (Size m = 0; m < count; ++m) leave(rows[m]);
    }

  private:
    /// All that follows from dh in a step without another product.
    void gate_gradients(const GeneralBack& row) const {
        if (row.of.idle) {
            for (Size unit = units_.first; unit < units_.last && row.d_states; unit += W)
                store(row.dh + unit, load(row.dh + unit, H_ - unit) + load(row.d_states + unit, H_ - unit),
                      H_ - unit);
            return;
        }
        const bool candidate = layer_.form.reset == Reset::candidate;
        for (Size unit = units_.first; unit < units_.last; unit += W) {
            const Size lanes = H_ - unit;
            Real *r_plane = row.of.planes + unit, *z_plane = r_plane + H_, *n_plane = z_plane + H_,
                 *inner_plane = n_plane + H_;
            V dh = load(row.dh + unit, lanes), stays{};
            if (row.d_states) dh += load(row.d_states + unit, lanes);
            if (row.of.zoneout) dh = leave_state_backward(load(row.of.zoneout + unit, lanes), dh, stays);
            const V r = load(r_plane, lanes), z = load(z_plane, lanes), n = load(n_plane, lanes),
                    h_prev = load(row.of.h_prev + unit, lanes);
            const auto d = new_and_update_backward(functions_, dh, z, n, h_prev);
            V dg_r, dgx_n = d.dgx_n, dgh_n;
            if (candidate) {
                reset_backward_candidate(functions_, d.dgx_n, r, load(inner_plane, lanes), dg_r, dgx_n);
            } else if (!before_) {
                reset_backward_after(functions_, d.dgx_n, r, load(inner_plane, lanes), dg_r, dgh_n);
                store(inner_plane, dgh_n, lanes);
            }
            if (!before_) store(r_plane, dg_r, lanes);
            store(z_plane, d.dg_z, lanes);
            store(n_plane, dgx_n, lanes);
            store(row.dh + unit, d.dh_prev + stays, lanes);
        }
    }

    /// (B6) of some gates; it needs all units of a row, and does its worker's share of the rows.
    template <class Meet>
    void normalise(const GeneralBack* rows, Size count, int first, int last, Meet meet) const {
        if (!layer_.gain_hh) return;
        meet();
        const Range own = worker_.split_rows ? Range{0, count} : share(count, 1, worker_);
        for (Size m = own.first; m < own.last; ++m)
            for (int g = first; g < last && !rows[m].of.idle; ++g) {
                Real* planes = rows[m].of.planes;
                const Real* dgh = planes + (g == 2 && layer_.form.reset == Reset::after ? 3 : g) * H_;
                normalise_backward(planes + (products_hh + g) * H_, dgh, layer_.gain_hh + g * H_,
                                   rows[m].gain_terms + (3 + g) * H_, H_);
            }
    }

    /// Of gates that have one product: into their sums, or added to dh.
    void multiply(const GeneralBack* rows, Size count, int gate, const PackedGates& packed,
                  bool apart) const {
        SomeRows products(count);
        for (Size m = 0; m < count; ++m)
            products[m] = {d_products(layer_, rows[m].of.planes, gate),
                           apart ? rows[m].sums + gate * H_ : rows[m].dh, rows[m].of.idle};
        packed.multiply(products, worker_, nullptr, !apart);
    }

    /// (B3'): what follows from q.
    void reset_gradients(const GeneralBack& row) const {
        if (row.of.idle) return;
        for (Size unit = units_.first; unit < units_.last; unit += W) {
            const Size lanes = H_ - unit;
            V q = load(row.sums + 2 * H_ + unit, lanes), dg_r, dh_prev = load(row.dh + unit, lanes);
            if (row.of.mask) q *= load(row.of.mask + 2 * H_ + unit, lanes);
            reset_backward_before(functions_, q, load(row.of.planes + unit, lanes),
                                  load(row.of.h_prev + unit, lanes), dg_r, dh_prev);
            store(row.of.planes + unit, dg_r, lanes);
            store(row.dh + unit, dh_prev, lanes);
        }
    }

    /// From the gradient of h_prev to that of the state before.
    void leave(const GeneralBack& row) const {
        const Real limit = Real(layer_.form.gradient_clip);
        if (!row.of.mask && !row.of.decay && limit == 0) return;
        for (Size unit = units_.first; unit < units_.last; unit += W) {
            const Size lanes = H_ - unit;
            if (row.of.idle) {
                if (row.d_decay) store(row.d_decay + unit, V{}, lanes);
                continue;
            }
            V dh = load(row.dh + unit, lanes);
            for (int g = 0; g < 3 - before_ && row.of.mask; ++g)
                dh = multiply_add(load(row.of.mask + g * H_ + unit, lanes),
                                  load(row.sums + g * H_ + unit, lanes), dh);
            if (row.d_decay) store(row.d_decay + unit, dh * load(row.of.before + unit, lanes), lanes);
            if (row.of.decay) dh *= load(row.of.decay + unit, lanes);  // (B0)
            if (limit != 0) dh = at_most(at_least(dh, all(-limit)), all(limit));
            store(row.dh + unit, dh, lanes);
        }
    }

    const Layer<Real>& layer_;
    const GeneralBackwardWeights& weights_;
    const Worker& worker_;
    const AnyFunctions functions_;
    const Size H_;
    const Range units_;
    const bool before_;
};
/// What the steps that are taken together leave for the products over all of them.
struct GeneralChunk {
    Size capacity;        // rows
    Real* d_products_ih;  // [rows, 3H] where they are not the planes
    Real* gain_terms;     // [rows, 6H]
    Real* sums;           // [rows, 3H]
    Real *planes, *dh;    // [rows, planes * H], [rows, H]: copies, where gradients are truncated

    GeneralChunk(const Layer<Real>& layer, Scratch& scratch) {
        const auto [T, B, I, H] = layer.sizes;
        capacity = BackwardScratch::chunk_steps(layer.sizes) * B;
        const bool apart = layer.gain_ih || layer.input_mask, truncated = layer.form.truncate >= 0;
        d_products_ih = apart ? scratch.take(capacity * 3 * H) : nullptr;
        gain_terms = layer.gain_ih ? scratch.take(capacity * 6 * H) : nullptr;
        sums = scratch.take(capacity * 3 * H);
        planes = truncated ? scratch.take(capacity * planes_of(layer) * H) : nullptr;
        dh = truncated ? scratch.take(capacity * H) : nullptr;
    }
};

/// What of a row the products over all steps of a chunk read, once its planes are the gates' gradients.
struct FinishedRow {
    const Real *x, *h_prev, *masked;
    Real *planes, *d_products_ih, *gain_terms;
    bool idle;
};

/// dW, db and the gains' gradients: what a block of rows adds to this worker's rows of each.
class GeneralWeightGradients {
  public:
    GeneralWeightGradients(const Backward<Real>& problem, const Worker& worker, Scratch& own)
        : problem_(problem),
          worker_(worker),
          H_(problem.layer.sizes.H),
          size_(H_ / problem.layer.form.blocks),
          x_(problem.layer.sizes.I, own),
          h_(size_, own),
          strips_(ceil_divide(3 * H_, worker.count * block_rows) * block_rows, own) {}

    void clear() const {
        const Size I = problem_.layer.sizes.I;
        clear(problem_.dweight_ih, 3 * H_, I);
        for (Size b = 0; b < 3 * problem_.layer.form.blocks; ++b)
            clear(problem_.dweight_hh + b * size_ * size_, size_, size_);
        for (Real* sums : {problem_.dbias_ih, problem_.dbias_hh, problem_.dgain_ih, problem_.dgain_hh})
            if (sums) clear(sums, 3 * H_, 1);
    }

    /// @param rows  at most block_size of them
    void add(const FinishedRow* rows, Size count) {
        const Layer<Real>& layer = problem_.layer;
        Size used = 0;
        for (Size m = 0; m < count; ++m)
            if (!rows[m].idle) rows_[used] = &rows[m], d_ih_[used++] = rows[m].d_products_ih;
        x_.pack(used, [&](Size k) { return rows_[k]->x; });
        add_product_of(x_, d_ih_, 0, 3 * H_, used, problem_.dweight_ih);
        const bool together = layer.form.blocks == 1 && !layer.recurrent_mask;
        for (int g = 0; g < 3; g += together && g == 0 ? 2 : 1) {
            for (Size k = 0; k < used; ++k) dg_[k] = d_products(layer, rows_[k]->planes, g);
            const bool same = together && g == 2 && layer.form.reset != Reset::before;
            const Size width = together && g == 0 ? 2 * H_ : size_;
            for (Size b = 0; b < layer.form.blocks; ++b) {
                if (!same) h_.pack(used, [&](Size k) { return input(*rows_[k], g) + b * size_; });
                add_product_of(h_, dg_, b * size_, width, used,
                               problem_.dweight_hh + (g * H_ + b * size_) * size_);
            }
        }
        const Size dgh_n = layer.form.reset == Reset::after ? 3 * H_ : 2 * H_;
        const auto planes = [&](Size k) { return rows_[k]->planes; };
        add_sums(used, 3 * H_, planes, problem_.dbias_ih);
        add_sums(used, 2 * H_, planes, problem_.dbias_hh);
        add_sums(used, H_, [&](Size k) { return rows_[k]->planes + dgh_n; }, problem_.dbias_hh + 2 * H_);
        if (!layer.gain_ih) return;
        add_sums(used, 3 * H_, [&](Size k) { return rows_[k]->gain_terms; }, problem_.dgain_ih);
        add_sums(used, 3 * H_, [&](Size k) { return rows_[k]->gain_terms + 3 * H_; }, problem_.dgain_hh);
    }

  private:
    void clear(Real* to, Size rows, Size width) const {
        const Range own = share(rows, block_rows, worker_);
        for (Size i = own.first * width; i < own.last * width; ++i) to[i] = 0;
    }
    const Real* input(const FinishedRow& row, int gate) const {
        if (gate == 2 && problem_.layer.form.reset == Reset::before) return row.planes + 3 * H_;
        return row.masked ? row.masked + gate * H_ : row.h_prev;
    }
    void add_product_of(const PackedInput& input, const Real* const* dg, Size offset, Size count, Size rows,
                        Real* dweight) const {
        const Range own = share(count, block_rows, worker_);
        const Size width = own.last - own.first;
        strips_.pack(dg, offset + own.first, rows, width, {nullptr, nullptr});
        add_strips(input, strips_, own.first, width, dweight);
    }
    template <class Row>
    void add_sums(Size rows, Size count, Row row, Real* to) const {
        const Range own = share(count, block_rows, worker_);
        Size at = own.first;
        for (; at + 4 * W <= own.last; at += 4 * W) add_sums<4>(rows, row, to, at, 4 * W);
        for (; at < own.last; at += W) add_sums<1>(rows, row, to, at, own.last - at);
    }
    /// Of some vectors together: each is a chain of additions.
    template <int vectors, class Row>
    GRUS_INLINE void add_sums(Size rows, Row row, Real* to, Size at, Size lanes) const {
        V sum[vectors] = {};
        for (Size k = 0; k < rows; ++k)
            for (int v = 0; v < vectors; ++v) sum[v] += load(row(k) + at + v * W, lanes - v * W);
        for (int v = 0; v < vectors; ++v)
            store(to + at + v * W, load(to + at + v * W, lanes - v * W) + sum[v], lanes - v * W);
    }

    const Backward<Real>& problem_;
    const Worker& worker_;
    const Size H_, size_;
    PackedInput x_, h_;
    PackedStrips strips_;
    const FinishedRow* rows_[block_size];
    const Real *d_ih_[block_size], *dg_[block_size];
};

/// Every number that the workers share beside the call's arguments.
struct GeneralBackwardScratch {
    Scratch scratch;
    GeneralBackwardWeights weights;
    GeneralForwardWeights again;  // where forward kept no workspace
    GeneralChunk chunk;
    GeneralRoom room;
    Real* workspace;  // of a chunk, where forward kept none
    Real* dh;         // [B, H] on its way through the steps
    Real *arriving, *next,
        *total;  // [T, B, H] where gradients are truncated: at each step, one step later, all

    GeneralBackwardScratch(const Backward<Real>& problem, Real* base)
        : scratch(base),
          weights(problem.layer, problem.dx.data != nullptr, scratch),
          again(problem.workspace ? of_no_size(problem.layer) : problem.layer, scratch),
          chunk(problem.layer, scratch),
          room(problem.layer, chunk.capacity, !problem.workspace, scratch) {
        const auto [T, B, I, H] = problem.layer.sizes;
        const Size every = problem.layer.form.truncate >= 0 ? T * B * H : 0;
        workspace = problem.workspace ? nullptr : scratch.take(chunk.capacity * planes_of(problem.layer) * H);
        dh = scratch.take(B * H);
        arriving = scratch.take(every);
        next = scratch.take(every);
        total = scratch.take(every);
    }

  private:
    static Layer<Real> of_no_size(Layer<Real> layer) {
        layer.sizes = {};
        return layer;
    }
};

/// One worker's way through a call.
class GeneralBackwardRun {
  public:
    GeneralBackwardRun(const Backward<Real>& problem, Real* base, const Worker& worker)
        : problem_(problem),
          layer_(problem.layer),
          worker_(worker),
          by_rows_{worker.index, worker.count, true, worker.barrier},
          shared_(problem, base),
          own_(base + shared_size(problem) + worker.index * own_size(problem, worker.count)),
          gradients_(problem, worker, own_),
          share_(layer_.sizes.B, ceil_divide(layer_.sizes.H, W), worker),
          units_(own_units(layer_.sizes.H, worker)) {}

    void run_all() {
        const Size T = layer_.sizes.T, chunk = BackwardScratch::chunk_steps(layer_.sizes);
        const bool truncated = layer_.form.truncate >= 0;
        shared_.weights.pack(layer_, worker_);
        if (!problem_.workspace) shared_.again.pack(layer_, worker_);
        start();
        gradients_.clear();
        meet_all();
        if (truncated) truncate();
        for (Size last = T; last > 0;) {
            const Size first = (last - 1) / chunk * chunk;
            const StepRows steps = steps_of(first, last);
            ready(steps);
            if (truncated) {
                take_at_once(steps, shared_.total, true);
            } else {
                run_steps(steps, first, last);
            }
            meet_all();
            finish_steps(steps);
            meet_all();  // the next chunk takes the same room
            last = first;
        }
        if (!truncated)
            each_own([&](Size b, Size unit, Size lanes) {
                store(problem_.dh0 + b * H_ + unit, load(shared_.dh + b * H_ + unit, lanes), lanes);
            });
    }

    static Size shared_size(const Backward<Real>& problem) {
        return GeneralBackwardScratch(problem, nullptr).scratch.used();
    }
    static Size own_size(const Backward<Real>& problem, int workers) {
        Scratch own(nullptr);
        GeneralWeightGradients(problem, {0, workers, true, nullptr}, own);
        return own.used();
    }

  private:
    void meet_all() const { wait(worker_.barrier); }

    /// visit(b, unit, lanes) for the vectors of a state [B, H] that are this worker's.
    template <class Visit>
    void each_own(Visit visit) const {
        for (Size b = share_.rows.first; b < share_.rows.last; ++b)
            for (Size unit = units_.first; unit < units_.last; unit += W) visit(b, unit, H_ - unit);
    }

    void start() const {
        each_own([&](Size b, Size unit, Size lanes) {
            const Size at = b * H_ + unit;
            if (problem_.d_reset_state) store(problem_.d_reset_state + at, V{}, lanes);
            const V d_h_n = load(problem_.d_h_n + at, lanes);
            store(shared_.dh + at, d_h_n, lanes);
            store(problem_.dh0 + at, layer_.sizes.T ? V{} : d_h_n, lanes);
        });
    }

    /// All rows of the batch in the steps of these places in the order of running.
    StepRows steps_of(Size first, Size last) const {
        const auto [T, B, I, H] = layer_.sizes;
        const Range times = layer_.reverse ? Range{T - last, T - first} : Range{first, last};
        Real* planes = problem_.workspace ? problem_.workspace + times.first * B * planes_of(layer_) * H
                                          : shared_.workspace;
        return {&layer_, {0, B}, times, problem_.states, {}, planes, true};
    }

    /// This worker's share of a chunk's rows.
    Range own_rows(const StepRows& steps) const { return share(steps.all().last, block_rows, worker_); }

    /// What the steps started from, and where forward kept nothing their gates.
    void ready(const StepRows& steps) const {
        if (problem_.workspace && !shared_.room.prepares()) return;
        const GeneralSteps again(layer_, shared_.again, shared_.room, by_rows_);
        GeneralRow rows[most_together];
        in_groups(own_rows(steps), [&](Range some) {
            const Size count = some.last - some.first;
            if (!problem_.workspace) again.project(steps, some);
            steps.each(some.first, count,
                       [&](Size m, Size t, Size b) { rows[m] = again.row(steps, t, b, some.first + m); });
            if (problem_.workspace) {
                for (Size m = 0; m < count; ++m) shared_.room.prepare(rows[m], H_, {0, H_});
            } else {
                if (again.finishes_projection()) again.finish_projection(rows, count);
                again.take(rows, count, [] {});
            }
        });
        meet_all();
    }

    /// @param slot  of the row in its chunk
    GRUS_INLINE GeneralBack back(const StepRows& steps, Size t, Size b, Size slot) const {
        const GeneralRow of = shared_.room.row(layer_, steps, t, b, slot);
        const auto& d_decay = problem_.d_decay;
        return {of,
                nullptr,
                nullptr,
                shared_.chunk.sums + slot * 3 * H_,
                shared_.chunk.gain_terms ? shared_.chunk.gain_terms + slot * 6 * H_ : nullptr,
                d_decay.data ? d_decay.data + t * d_decay.step + b * d_decay.row : nullptr};
    }

    /// The recurrence through a chunk.
    void run_steps(const StepRows& steps, Size first, Size last) const {
        const Size B = layer_.sizes.B;
        const GeneralStepsBack step(layer_, shared_.weights, worker_);
        const Steps of{layer_, problem_.states};
        const auto meet = [&] { wait(worker_.split_rows ? nullptr : worker_.barrier); };
        GeneralBack rows[most_together];
        for (Size index = last - 1; index >= first; --index) {
            const Size t = of.time(index);
            in_groups(share_.rows, [&](Range some) {
                const Size count = some.last - some.first;
                for (Size m = 0; m < count; ++m) {
                    const Size b = some.first + m;
                    rows[m] = back(steps, t, b, (t - steps.times.first) * B + b);
                    rows[m].dh = shared_.dh + b * H_;
                    rows[m].d_states =
                        problem_.d_states.data + t * problem_.d_states.step + b * problem_.d_states.row;
                }
                step.take(rows, count, meet);
            });
            if (layer_.reset)
                each_own([&](Size b, Size unit, Size lanes) {
                    if (of.reset(t, b)) begin_sequence(b, unit, lanes, shared_.dh + b * H_ + unit);
                });
        }
    }

    /// A gradient that reaches the beginning of a sequence belongs to the state that it began with.
    void begin_sequence(Size b, Size unit, Size lanes, Real* dh) const {
        Real* to = problem_.d_reset_state + b * H_ + unit;
        store(to, load(to, lanes) + load(dh, lanes), lanes);
        store(dh, V{}, lanes);
    }

    /// A chunk's rows all at once, from dh [T, B, H]. With `last` their planes become the gates' gradients;
    /// otherwise dh becomes that of the states before the steps, and all else stays.
    void take_at_once(const StepRows& steps, Real* dh, bool last) const {
        const Size B = layer_.sizes.B, width = planes_of(layer_) * H_;
        const GeneralStepsBack step(layer_, shared_.weights, by_rows_);
        GeneralBack rows[most_together];
        in_groups(own_rows(steps), [&](Range some) {
            const Size count = some.last - some.first;
            steps.each(some.first, count, [&](Size m, Size t, Size b) {
                rows[m] = back(steps, t, b, some.first + m);
                rows[m].dh = dh + (t * B + b) * H_;
                if (last) return;
                Real* copy = shared_.chunk.planes + (some.first + m) * width;
                for (Size i = 0; i < width; i += W)
                    store(copy + i, load(rows[m].of.planes + i, width - i), width - i);
                rows[m].of.planes = copy;
                rows[m].d_decay = nullptr;
            });
            step.take(rows, count, [] {});
        });
    }

    /// What arrives at each step after it has passed at most so many of them.
    void truncate() {
        const auto [T, B, I, H] = layer_.sizes;
        const Size chunk = BackwardScratch::chunk_steps(layer_.sizes);
        if (T == 0) return;
        const Steps of{layer_, problem_.states};
        each_own([&](Size b, Size unit, Size lanes) {
            for (Size t = 0; t < T; ++t) {
                V dh = load(
                    problem_.d_states.data + t * problem_.d_states.step + b * problem_.d_states.row + unit,
                    lanes);
                if (t == of.time(T - 1)) dh += load(problem_.d_h_n + b * H + unit, lanes);
                store(at(shared_.arriving, t, b, unit), dh, lanes);
            }
            pass_invalid(of, shared_.arriving, b, unit, lanes);
            for (Size t = 0; t < T; ++t)
                store(at(shared_.total, t, b, unit), load(at(shared_.arriving, t, b, unit), lanes), lanes);
        });
        for (Size passed = 0; passed < least(layer_.form.truncate, T); ++passed) {
            meet_all();
            for (Size last = T; last > 0;) {
                const Size first = (last - 1) / chunk * chunk;
                const StepRows steps = steps_of(first, last);
                ready(steps);
                take_at_once(steps, shared_.arriving, false);
                meet_all();
                last = first;
            }
            each_own([&](Size b, Size unit, Size lanes) {
                for (Size t = 0; t < T; ++t) store(at(shared_.next, t, b, unit), V{}, lanes);
                for (Size index = 0; index < T; ++index)
                    to_step_before(of, index, shared_.arriving, shared_.next, b, unit, lanes);
                pass_invalid(of, shared_.next, b, unit, lanes);
                for (Size t = 0; t < T; ++t) {
                    Real* total = at(shared_.total, t, b, unit);
                    store(total, load(total, lanes) + load(at(shared_.next, t, b, unit), lanes), lanes);
                }
            });
            Real* const used = shared_.arriving;
            shared_.arriving = shared_.next;
            shared_.next = used;
        }
        meet_all();
    }
    Real* at(Real* sequence, Size t, Size b, Size unit) const {
        return sequence + (t * layer_.sizes.B + b) * H_ + unit;
    }

    /// The gradient that leaves a step reaches the one before, h0, or what a sequence began with.
    void to_step_before(const Steps& of, Size index, Real* left, Real* arriving, Size b, Size unit,
                        Size lanes) const {
        const Size t = of.time(index);
        Real* dh = at(left, t, b, unit);
        if (of.reset(t, b)) begin_sequence(b, unit, lanes, dh);
        Real* to = index ? at(arriving, of.time(index - 1), b, unit) : problem_.dh0 + b * H_ + unit;
        store(to, load(to, lanes) + load(dh, lanes), lanes);
    }

    /// Gradients that arrive at steps which only carry the state go on to where it came from.
    void pass_invalid(const Steps& of, Real* arriving, Size b, Size unit, Size lanes) const {
        if (!layer_.valid) return;
        for (Size index = layer_.sizes.T - 1; index >= 0; --index) {
            if (of.valid(of.time(index), b)) continue;
            to_step_before(of, index, arriving, arriving, b, unit, lanes);
            store(at(arriving, of.time(index), b, unit), V{}, lanes);
        }
    }

    /// @param slot  of the row in its chunk
    GRUS_INLINE FinishedRow finished(const StepRows& steps, Size t, Size b, Size slot) const {
        const StepRows::Row of = steps.row(t, b);
        const GeneralRoom& room = shared_.room;
        Real* planes = steps.planes + ((t - steps.times.first) * steps.B + b) * planes_of(layer_) * H_;
        Real *apart = shared_.chunk.d_products_ih, *gain_terms = shared_.chunk.gain_terms;
        return {of.x,
                room.h_prev ? room.h_prev + slot * H_ : of.before,
                room.masked ? room.masked + slot * 3 * H_ : nullptr,
                planes,
                apart ? apart + slot * 3 * H_ : planes,
                gain_terms ? gain_terms + slot * 6 * H_ : nullptr,
                of.idle};
    }

    /// dx of a chunk, and what it adds to the weights' gradients.
    void finish_steps(const StepRows& steps) {
        const Size total = steps.all().last, blocks = ceil_divide(total, block_size);
        finish_input(steps);
        FinishedRow rows[block_size];
        for (Size i = 0; i < blocks; ++i) {
            const Size first = total * i / blocks, count = total * (i + 1) / blocks - first;
            steps.each(first, count,
                       [&](Size m, Size t, Size b) { rows[m] = finished(steps, t, b, first + m); });
            gradients_.add(rows, count);
        }
    }

    /// From dgx to the gradients of the products with weight_ih, and from them to dx.
    void finish_input(const StepRows& steps) const {
        const auto& dx = problem_.dx;
        const bool apart = shared_.chunk.d_products_ih;
        if (!apart && !dx.data) return;
        in_groups(own_rows(steps), [&](Range some) {
            SomeRows products(some.last - some.first);
            steps.each(some.first, products.count(), [&](Size m, Size t, Size b) {
                const FinishedRow row = finished(steps, t, b, some.first + m);
                if (apart && !row.idle) finish_input(row, b);
                Real* to = dx.data ? dx.data + t * dx.step + b * dx.row : nullptr;
                products[m] = {row.d_products_ih, to, row.idle};
            });
            if (!dx.data) return;
            for (Size m = 0; m < products.count(); ++m)
                for (Size i = 0; products[m].idle && i < layer_.sizes.I; ++i) products[m].out[i] = 0;
            shared_.weights.input.multiply(products, by_rows_);
        });
        if (apart) meet_all();
    }
    void finish_input(const FinishedRow& row, Size b) const {
        const Real* mask = layer_.input_mask ? layer_.input_mask + b * 3 * H_ : nullptr;
        Real* to = row.d_products_ih;
        for (Size at = 0; at < 3 * H_; at += W) {
            const Size lanes = 3 * H_ - at;
            const V d = load(row.planes + at, lanes);
            store(to + at, mask ? d * load(mask + at, lanes) : d, lanes);
        }
        if (!layer_.gain_ih) return;
        Real* products = row.planes + products_ih * H_;
        for (Size gate = 0; gate < 3 * H_; gate += H_)
            normalise_backward(products + gate, to + gate, layer_.gain_ih + gate, row.gain_terms + gate, H_);
        for (Size at = 0; at < 3 * H_; at += W) store(to + at, load(products + at, 3 * H_ - at), 3 * H_ - at);
    }

    const Backward<Real>& problem_;
    const Layer<Real>& layer_;
    const Worker& worker_;
    const Worker by_rows_;
    const Size H_ = problem_.layer.sizes.H;
    GeneralBackwardScratch shared_;
    Scratch own_;
    GeneralWeightGradients gradients_;
    const Share share_;
    const Range units_;
};

inline Size general_backward_scratch(const Backward<Real>& problem, int workers) {
    return GeneralBackwardRun::shared_size(problem) +
           workers * GeneralBackwardRun::own_size(problem, workers);
}

inline void general_backward(const Backward<Real>& problem, Real* base, const Worker& worker) {
    GeneralBackwardRun(problem, base, worker).run_all();
}

}  // namespace
}  // namespace grus
