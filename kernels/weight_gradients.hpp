#pragma once

/// @file dW = dg^T @ inputs and db = sum of dg, over all steps and rows of the batch.
///
/// A row here is one step of one sequence. Backward comes with a block of them after the other; the sums over
/// a block start at zero and are added when complete. Blocks depend on the batch alone, and each worker has
/// its own rows of dW.

#include "steps.hpp"

namespace grus {
namespace {

/// A product keeps this many rows of a panel in the cache.
constexpr Size block_size = 256;

/// One input of a block [rows, N], packed as columns.
struct PackedInput {
    ColumnPanels panels;
    Real* columns;

    PackedInput(Size N, Scratch& scratch)
        : panels{block_size, N}, columns(scratch.take(packed_size(panels))) {}

    /// @param row  of k: where the numbers are
    template <class Row>
    void pack(Size rows, Row row) {
        panels.K = rows;
        for (Size p = 0; p < panels.count(); ++p) {
            const Size column = panels.first_column(p), width = panels.width(p);
            Real* to = columns + panels.offset(p);
            for (Size k = 0; k < rows; ++k)
                for (Size v = 0; v < width; ++v, to += W)
                    store(to, load(row(k) + column + v * W, panels.N - column - v * W));
        }
    }
};

/// What some columns of the planes are multiplied with, and where the product belongs.
struct Term {
    const PackedInput* input;  // null: nothing
    Real* dweight;             // [count, N]
    Real* dbias;               // [count]
};

/// `count` neighbouring numbers of a row, dg, from `offset` on.
struct Group {
    Size offset, count;
    Term terms[2];
};

/// dg packed in strips of as many columns as a block of sums has rows: [strip][k][column].
class PackedStrips {
  public:
    PackedStrips(Size columns, Scratch& scratch)
        : strips_(scratch.take(ceil_divide(columns, block_rows) * block_rows * block_size)) {}

    GRUS_INLINE const Real* at(Size column, Size rows) const { return strips_ + column * rows; }

    /// @param planes  of each row
    /// @param offset  of the first column in them
    /// @param sums    [columns] the sum of each column is added to both
    void pack(const Real* const* planes, Size offset, Size rows, Size columns, Real* const (&sums)[2]) const {
        Size first = 0;
        for (; first + 4 * block_rows <= columns; first += 4 * block_rows)
            pack_strips<4>(planes, offset + first, rows, first, sums);
        for (; first + block_rows <= columns; first += block_rows)
            pack_strips<1>(planes, offset + first, rows, first, sums);
        if (first < columns) pack_rest(planes, offset + first, rows, first, columns - first, sums);
    }

  private:
    typedef Real Strip __attribute__((vector_size(block_rows * sizeof(Real))));
    typedef Real UnalignedStrip
        __attribute__((vector_size(block_rows * sizeof(Real)), aligned(sizeof(Real)), may_alias));

    /// Neighbouring strips together, because they share cache lines.
    template <int count>
    void pack_strips(const Real* const* planes, Size offset, Size rows, Size first,
                     Real* const (&sums)[2]) const {
        Strip sum[count];
        for (int s = 0; s < count; ++s) sum[s] = Strip{};
        Real* to = strips_ + first * rows;
        for (Size k = 0; k < rows; ++k) {
            prefetch(planes[least(k + 16, rows - 1)] + offset, count * block_rows);
            for (int s = 0; s < count; ++s) {
                const Strip dg = reinterpret_cast<const UnalignedStrip*>(planes[k] + offset)[s];
                sum[s] += dg;
                *reinterpret_cast<UnalignedStrip*>(to + (s * rows + k) * block_rows) = dg;
            }
        }
        for (Real* to_sums : sums)
            for (int s = 0; s < count; ++s)
                for (int i = 0; to_sums && i < block_rows; ++i)
                    to_sums[first + s * block_rows + i] += sum[s][i];
    }

    void pack_rest(const Real* const* planes, Size offset, Size rows, Size first, Size count,
                   Real* const (&sums)[2]) const {
        Real sum[block_rows] = {};
        Real* to = strips_ + first * rows;
        for (Size k = 0; k < rows; ++k)
            for (int i = 0; i < block_rows; ++i) {
                to[k * block_rows + i] = i < count ? planes[k][offset + i] : Real(0);
                sum[i] += to[k * block_rows + i];
            }
        for (Real* to_sums : sums)
            for (Size i = 0; to_sums && i < count; ++i) to_sums[first + i] += sum[i];
    }

    Real* strips_;
};

/// dweight [count, N] += the transpose of the strips, times the input; a panel stays in the cache while all
/// strips pass it.
template <int G>
void add_strips_to_panel(const PackedInput& input, const PackedStrips& strips, Size first, Size count,
                         Real* dweight, Size p) {
    const ColumnPanels& panels = input.panels;
    const Size N = panels.N, column = panels.first_column(p);
    for (Size strip = 0; strip < count; strip += block_rows) {
        const Size rows = least(block_rows, count - strip);
        Real* to = dweight + (first + strip) * N + column;
        for (Size i = 0; i < rows; ++i) prefetch(to + i * N, G * W);
        V sums[block_rows * G];
        clear_sums(sums);
        const PackedRows<block_rows> dg{strips.at(strip, panels.K)};
        add_product<block_rows, 1, G>(sums, dg, input.columns + panels.offset(p), 0, panels.K);
        for (Size i = 0; i < rows; ++i, to += N)
            for (int v = 0; v < G; ++v) {
                const Size lanes = N - column - v * W;
                store(to + v * W, load(to + v * W, lanes) + sums[i * G + v], lanes);
            }
    }
}

/// @param first  row of dweight that the first strip's first column is
inline void add_strips(const PackedInput& input, const PackedStrips& strips, Size first, Size count,
                       Real* dweight) {
    for (Size p = 0; p < input.panels.count(); ++p) switch (input.panels.width(p)) {
            case 3:
                add_strips_to_panel<3>(input, strips, first, count, dweight, p);
                break;
            case 2:
                add_strips_to_panel<2>(input, strips, first, count, dweight, p);
                break;
            default:
                add_strips_to_panel<1>(input, strips, first, count, dweight, p);
        }
}

class WeightGradients {
  public:
    /// @param own  scratch of this worker
    WeightGradients(const Backward<Real>& problem, const Worker& worker, Scratch& own)
        : H_(problem.layer.sizes.H),
          x_(problem.layer.sizes.I, own),
          h_prev_(H_, own),
          reset_h_(problem.layer.form.reset == Reset::after ? 0 : H_, own),
          strips_(ceil_divide(2 * H_, worker.count * block_rows) * block_rows, own) {
        const Size n = 2 * H_, I = problem.layer.sizes.I;
        Real *dweight_ih = problem.dweight_ih, *dweight_hh = problem.dweight_hh, *dbias_ih = problem.dbias_ih,
             *dbias_hh = problem.dbias_hh;
        const Term of_x_n{&x_, dweight_ih + n * I, dbias_ih + n};
        const Term of_h_n{problem.layer.form.reset == Reset::after ? &h_prev_ : &reset_h_,
                          dweight_hh + n * H_, dbias_hh + n};
        groups_[0] = {0, n, {{&x_, dweight_ih, dbias_ih}, {&h_prev_, dweight_hh, dbias_hh}}};
        if (problem.layer.form.reset == Reset::after) {
            groups_[1] = {n, H_, {of_x_n, {}}};
            groups_[2] = {3 * H_, H_, {of_h_n, {}}};
        } else {
            groups_[1] = {n, H_, {of_x_n, of_h_n}};
            groups_[2] = {};
        }
    }
    WeightGradients(const WeightGradients&) = delete;
    WeightGradients& operator=(const WeightGradients&) = delete;

    /// Zeros in this worker's rows.
    void clear(const Worker& worker) const {
        for (const Group& group : groups_)
            for (const Term& term : group.terms) {
                if (!term.input) continue;
                const Range own = share(group.count, block_rows, worker);
                const Size N = term.input->panels.N;
                for (Size i = own.first * N; i < own.last * N; ++i) term.dweight[i] = 0;
                for (Size i = own.first; i < own.last; ++i) term.dbias[i] = 0;
            }
    }

    /// What a block of the rows in `steps`, at most block_size, adds to this worker's rows of dW. Rows whose
    /// step is not valid add nothing, and what they hold is not read.
    void add(const StepRows& steps, Range block, const Worker& worker) {
        const Real *x[block_size], *h_prev[block_size], *planes[block_size];
        Size rows = 0;
        for (Size m = block.first; m < block.last; ++m) {
            const StepRows::Row row = steps.row(steps.times.first + m / steps.B, m % steps.B);
            if (row.idle) continue;
            x[rows] = row.x;
            h_prev[rows] = row.h_prev;
            planes[rows++] = row.planes;
        }
        x_.pack(rows, [&](Size k) { return x[k]; });
        h_prev_.pack(rows, [&](Size k) { return h_prev[k]; });
        reset_h_.pack(rows, [&](Size k) { return planes[k] + 3 * H_; });
        for (const Group& group : groups_) {
            const Range own = share(group.count, block_rows, worker);
            const Size count = own.last - own.first;
            Real* const sums[] = {group.terms[0].input ? group.terms[0].dbias + own.first : nullptr,
                                  group.terms[1].input ? group.terms[1].dbias + own.first : nullptr};
            strips_.pack(planes, group.offset + own.first, rows, count, sums);
            for (const Term& term : group.terms)
                if (term.input) add_strips(*term.input, strips_, own.first, count, term.dweight);
        }
    }

  private:
    const Size H_;
    PackedInput x_, h_prev_, reset_h_;
    PackedStrips strips_;
    Group groups_[3];
};

}  // namespace
}  // namespace grus
