#pragma once

/// @file dW = dg^T @ inputs and db = sum of dg, over all steps and rows of the batch.
///
/// A row here is one step of one sequence, in the order of the workspace. Sums run over blocks of `block`
/// rows, then over the blocks in order; neither depends on the number of workers, each of which has its own
/// rows of dW.

#include "steps.hpp"

namespace grus {
namespace {

constexpr Size block = 256;

/// One block's input [rows, N], packed as columns.
struct PackedInput {
    ColumnPanels panels;
    Real* columns;
};

/// One product: `count` neighbouring numbers of a workspace row, dg, against an input.
struct Term {
    Size offset, count;  // of dg in the row
    const PackedInput& input;
    Real* dweight;  // [count, N]
    Real* dbias;    // [count]
};

/// One block of rows' share of a tile of dW: the sums over k start at zero and are added when complete.
struct OuterProduct {
    const Term& term;
    Size first, count;  // rows of dW
    const Real* dg;     // [k][block_rows]

    template <int G>
    void run(Size p) const {
        const ColumnPanels& panels = term.input.panels;
        V sums[block_rows * G] = {};
        const Real* columns = term.input.columns + panels.offset(p);
        add_product<block_rows, 1, G>(sums, PackedRows<block_rows>{dg}, columns, 0, panels.K);
        for (Size i = 0; i < count; ++i)
            for (int v = 0; v < G; ++v) {
                const Size column = panels.first_column(p) + v * W;
                Real* to = term.dweight + (first + i) * panels.N + column;
                store(to, load(to, panels.N - column) + sums[i * G + v], panels.N - column);
            }
    }
    void run_all() const {
        for (Size p = 0; p < term.input.panels.count(); ++p) switch (term.input.panels.width(p)) {
                case 3:
                    run<3>(p);
                    break;
                case 2:
                    run<2>(p);
                    break;
                default:
                    run<1>(p);
            }
    }
};

class WeightGradients {
  public:
    static Size scratch_size(const Layer<Real>& layer) {
        Scratch scratch(nullptr);
        WeightGradients(layer, scratch);
        return scratch.used();
    }

    WeightGradients(const Layer<Real>& layer, Scratch& scratch)
        : layer_(layer),
          x_{{}, scratch.take(packed_size(ColumnPanels{block, layer.sizes.I}))},
          h_prev_{{}, scratch.take(packed_size(ColumnPanels{block, layer.sizes.H}))},
          reset_h_{{},
                   layer.form.reset_after ? nullptr
                                          : scratch.take(packed_size(ColumnPanels{block, layer.sizes.H}))} {}

    /// Every gradient's rows that fall to this worker.
    void run(const Backward<Real>& problem, const Worker& worker) {
        const Size H = layer_.sizes.H, rows = layer_.sizes.T * layer_.sizes.B;
        const bool after = layer_.form.reset_after;
        Real *dweight_hn = problem.dweight_hh + 2 * H * H, *dbias_hn = problem.dbias_hh + 2 * H;
        const Term terms[] = {
            {0, 3 * H, x_, problem.dweight_ih, problem.dbias_ih},
            {0, 2 * H, h_prev_, problem.dweight_hh, problem.dbias_hh},
            {after ? 3 * H : 2 * H, H, after ? h_prev_ : reset_h_, dweight_hn, dbias_hn},
        };
        const Size widths[] = {layer_.sizes.I, H, H};
        for (int i = 0; i < 3; ++i) clear(terms[i], widths[i], worker);
        for (Size from = 0; from < rows; from += block) {
            const Size count = least(block, rows - from);
            pack_inputs(problem, from, count);
            for (const Term& term : terms) add_block(problem.workspace + from * 4 * H, count, term, worker);
        }
    }

  private:
    static void clear(const Term& term, Size N, const Worker& worker) {
        const Range own = share(term.count, block_rows, worker);
        for (Size i = own.first * N; i < own.last * N; ++i) term.dweight[i] = 0;
        for (Size i = own.first; i < own.last; ++i) term.dbias[i] = 0;
    }

    void pack_inputs(const Backward<Real>& problem, Size from, Size rows) {
        const auto [T, B, I, H] = layer_.sizes;
        Size t = from / B, b = from % B;
        const auto copy = [rows](const PackedInput& input, Size k, const Real* row) {
            for (Size p = 0; p < input.panels.count(); ++p)
                for (int v = 0, width = input.panels.width(p); v < width; ++v) {
                    const Size column = input.panels.first_column(p) + v * W;
                    Real* to = input.columns + input.panels.offset(p) + (k * width + v) * W;
                    store(to, row ? load(row + column, input.panels.N - column) : V{});
                }
        };
        x_.panels = {rows, I};
        h_prev_.panels = reset_h_.panels = {rows, H};
        for (Size k = 0; k < rows; ++k) {
            const Step step(layer_, problem.states, layer_.reverse ? T - 1 - t : t);
            // what x holds where a step is not valid is never used, not even times zero
            copy(x_, k, step.valid(b) ? layer_.x.data + t * layer_.x.step + b * layer_.x.row : nullptr);
            copy(h_prev_, k, step.h_prev(b));
            if (reset_h_.columns) copy(reset_h_, k, problem.workspace + (from + k) * 4 * H + 3 * H);
            if (++b == B) b = 0, ++t;
        }
    }

    /// @param planes  the workspace's rows of this block
    void add_block(const Real* planes, Size rows, const Term& term, const Worker& worker) const {
        const Size H = layer_.sizes.H;
        const Range own = share(term.count, block_rows, worker);
        alignas(vector_bytes) Real dg[block * block_rows];
        for (Size first = own.first; first < own.last; first += block_rows) {
            const Size count = least(block_rows, own.last - first);
            const Real* from = planes + term.offset + first;
            for (Size k = 0; k < rows; ++k, from += 4 * H) {
                if (count == block_rows) {
                    for (int i = 0; i < block_rows; ++i) dg[k * block_rows + i] = from[i];
                } else {
                    for (int i = 0; i < block_rows; ++i)
                        dg[k * block_rows + i] = i < count ? from[i] : Real(0);
                }
            }
            add_bias(term.dbias + first, dg, rows, count);
            OuterProduct{term, first, count, dg}.run_all();
        }
    }

    /// Four chains at once, because each addition has to wait for the one before it.
    static void add_bias(Real* dbias, const Real* dg, Size rows, Size count) {
        Real sum[4][block_rows] = {};
        for (Size k = 0; k < rows; ++k)
            for (int i = 0; i < block_rows; ++i) sum[k % 4][i] += dg[k * block_rows + i];
        for (int i = 0; i < count; ++i) dbias[i] += (sum[0][i] + sum[1][i]) + (sum[2][i] + sum[3][i]);
    }

    const Layer<Real>& layer_;
    PackedInput x_, h_prev_, reset_h_;
};

}  // namespace
}  // namespace grus
