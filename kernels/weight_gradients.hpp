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
        pack_made(rows, [&](Size k, Size column, Size lanes) { return load(row(k) + column, lanes); });
    }

    /// @param make  of k, a column and how many there are from it on: the numbers
    template <class Make>
    void pack_made(Size rows, Make make) {
        panels.K = rows;
        for (Size p = 0; p < panels.count(); ++p) {
            const Size column = panels.first_column(p), width = panels.width(p);
            Real* to = columns + panels.offset(p);
            for (Size k = 0; k < rows; ++k)
                for (Size v = 0; v < width; ++v, to += W)
                    store(to, make(k, column + v * W, panels.N - column - v * W));
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
    bool masked = false;  // dg is masked as the input's products are; the biases' gradients are not
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
    /// @param masks   of each row, from its first column on, multiply it after that; null: nothing does
    void pack(const Real* const* planes, Size offset, Size rows, Size columns, Real* const (&sums)[2],
              const Real* const* masks = nullptr) const {
        Size first = 0;
        for (; first + 4 * block_rows <= columns; first += 4 * block_rows)
            pack_strips<4>(planes, offset + first, rows, first, sums, masks);
        for (; first + block_rows <= columns; first += block_rows)
            pack_strips<1>(planes, offset + first, rows, first, sums, masks);
        if (first < columns) pack_rest(planes, offset + first, rows, first, columns - first, sums, masks);
    }

  private:
    typedef Real Strip __attribute__((vector_size(block_rows * sizeof(Real))));
    typedef Real UnalignedStrip
        __attribute__((vector_size(block_rows * sizeof(Real)), aligned(sizeof(Real)), may_alias));

    /// Neighbouring strips together, because they share cache lines.
    template <int count>
    void pack_strips(const Real* const* planes, Size offset, Size rows, Size first, Real* const (&sums)[2],
                     const Real* const* masks) const {
        Strip sum[count];
        for (int s = 0; s < count; ++s) sum[s] = Strip{};
        Real* to = strips_ + first * rows;
        for (Size k = 0; k < rows; ++k) {
            prefetch(planes[least(k + 16, rows - 1)] + offset, count * block_rows);
            for (int s = 0; s < count; ++s) {
                Strip dg = reinterpret_cast<const UnalignedStrip*>(planes[k] + offset)[s];
                sum[s] += dg;
                if (masks) dg *= reinterpret_cast<const UnalignedStrip*>(masks[k] + offset)[s];
                *reinterpret_cast<UnalignedStrip*>(to + (s * rows + k) * block_rows) = dg;
            }
        }
        for (Real* to_sums : sums)
            for (int s = 0; s < count; ++s)
                for (int i = 0; to_sums && i < block_rows; ++i)
                    to_sums[first + s * block_rows + i] += sum[s][i];
    }

    void pack_rest(const Real* const* planes, Size offset, Size rows, Size first, Size count,
                   Real* const (&sums)[2], const Real* const* masks) const {
        Real sum[block_rows] = {};
        Real* to = strips_ + first * rows;
        for (Size k = 0; k < rows; ++k)
            for (int i = 0; i < block_rows; ++i) {
                const Real dg = i < count ? planes[k][offset + i] : Real(0);
                sum[i] += dg;
                to[k * block_rows + i] = masks && i < count ? dg * masks[k][offset + i] : dg;
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
          before_(problem.layer.form.reset == Reset::before),
          apart_(problem.layer.recurrent_mask),
          x_(problem.layer.sizes.I, own),
          h_{{H_, own}, {apart_ ? H_ : 0, own}, {apart_ && !before_ ? H_ : 0, own}},
          reset_h_(before_ ? H_ : 0, own),
          strips_(ceil_divide((problem.layer.input_mask || apart_ ? 3 : 2) * H_, worker.count * block_rows) *
                      block_rows,
                  own) {
        const bool masked = problem.layer.input_mask;
        const Term of_x = term(x_, problem.dweight_ih, problem.dbias_ih, 0);
        if (masked || apart_) {  // no gradient is packed for two products
            add_group({0, 3 * H_, {of_x, {}}, masked});
            for (int g = 0; g < 3; ++g) add_group({plane(g), H_, {of_h(problem, g), {}}});
            return;
        }
        const Term of_x_n = term(x_, problem.dweight_ih, problem.dbias_ih, 2);
        add_group({0, 2 * H_, {of_x, of_h(problem, 0)}});
        add_group({2 * H_, H_, {of_x_n, before_ ? of_h(problem, 2) : Term{}}});
        if (!before_) add_group({3 * H_, H_, {of_h(problem, 2), {}}});
    }
    WeightGradients(const WeightGradients&) = delete;
    WeightGradients& operator=(const WeightGradients&) = delete;

    /// Zeros in this worker's rows.
    void clear(const Worker& worker) const {
        for (int i = 0; i < count_; ++i)
            for (const Term& term : groups_[i].terms) {
                if (!term.input) continue;
                const Range own = share(groups_[i].count, block_rows, worker);
                const Size N = term.input->panels.N;
                for (Size i = own.first * N; i < own.last * N; ++i) term.dweight[i] = 0;
                for (Size i = own.first; i < own.last; ++i) term.dbias[i] = 0;
            }
    }

    /// What a block of the rows in `steps`, at most block_size, adds to this worker's rows of dW. Rows whose
    /// step is not valid add nothing, and what they hold is not read.
    void add(const StepRows& steps, Range block, const Worker& worker) {
        Block of;
        for (Size m = block.first; m < block.last; ++m)
            of.take(steps.row(steps.times.first + m / steps.B, m % steps.B));
        pack(of);
        for (int i = 0; i < count_; ++i) {
            const Group& group = groups_[i];
            const Range own = share(group.count, block_rows, worker);
            const Size count = own.last - own.first;
            Real* const sums[] = {group.terms[0].input ? group.terms[0].dbias + own.first : nullptr,
                                  group.terms[1].input ? group.terms[1].dbias + own.first : nullptr};
            strips_.pack(of.planes, group.offset + own.first, of.rows, count, sums,
                         group.masked ? of.input_mask : nullptr);
            for (const Term& term : group.terms)
                if (term.input) add_strips(*term.input, strips_, own.first, count, term.dweight);
        }
    }

  private:
    /// The rows of a block whose step is valid.
    struct Block {
        const Real *x[block_size], *before[block_size], *planes[block_size], *decay[block_size],
            *mask[block_size], *input_mask[block_size];
        Size rows = 0;

        void take(const StepRows::Row& row) {
            if (row.idle) return;
            x[rows] = row.x, before[rows] = row.before, planes[rows] = row.planes;
            decay[rows] = row.decay, mask[rows] = row.mask, input_mask[rows++] = row.input_mask;
        }
    };

    void pack(const Block& of) {
        x_.pack(of.rows, [&](Size k) { return of.x[k]; });
        for (int g = 0; g < (apart_ ? 3 - before_ : 1); ++g)
            h_[g].pack_made(of.rows, [&](Size k, Size unit, Size lanes) {
                const V h = decayed<false>(of.before[k], of.decay[k], unit, lanes);
                return of.mask[k] ? h * load(of.mask[k] + g * H_ + unit, lanes) : h;
            });
        reset_h_.pack(of.rows, [&](Size k) { return of.planes[k] + 3 * H_; });
    }

    /// Where dgh of a gate is.
    Size plane(int gate) const { return (gate == 2 && !before_ ? 3 : gate) * H_; }
    Term of_h(const Backward<Real>& problem, int gate) const {
        const PackedInput& input = gate == 2 && before_ ? reset_h_ : h_[apart_ ? gate : 0];
        return term(input, problem.dweight_hh, problem.dbias_hh, gate);
    }
    Term term(const PackedInput& input, Real* dweight, Real* dbias, int gate) const {
        return {&input, dweight + gate * H_ * input.panels.N, dbias + gate * H_};
    }
    void add_group(const Group& group) { groups_[count_++] = group; }

    const Size H_;
    const bool before_, apart_;  // apart: each gate reads a state of its own
    PackedInput x_, h_[3], reset_h_;
    PackedStrips strips_;
    Group groups_[4];
    int count_ = 0;
};

}  // namespace
}  // namespace grus
