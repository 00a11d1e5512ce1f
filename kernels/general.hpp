#pragma once

/// @file A layer with options: what the general forward and backward share.
///
/// A plain layer finishes its gates while their sums are in registers (`forward.hpp`, `backward.hpp`). For
/// any other the products are stored, and the gates are finished in passes over rows, which read any option
/// there is: a few loads more for each vector, against thousands of multiply-adds.

#include "gates.hpp"
#include "normalise.hpp"
#include "weight_gradients.hpp"

namespace grus {
namespace {

/// Whether the fused kernels can run it: what they know is in `StepRows::Row`.
inline bool is_plain(const Layer<Real>& layer) {
    const Formulation& form = layer.form;
    return form.reset != Reset::candidate && form.blocks == 1 && form.truncate < 0 &&
           form.gradient_clip == 0 && !layer.gain_ih;
}

/// Planes of H numbers that the workspace has for a row.
inline Size planes_of(const Layer<Real>& layer) { return layer.gain_ih ? 10 : 4; }
constexpr int products_ih = 4, products_hh = 7;  // the first of three planes, with layer normalisation

constexpr Size most_together = 128;  // rows that a pass takes

/// visit(rows) for a range of rows, some at a time.
template <class Visit>
GRUS_INLINE void in_groups(Range rows, Visit visit) {
    for (Size first = rows.first; first < rows.last; first += most_together)
        visit(Range{first, least(rows.last, first + most_together)});
}

/// The units that a worker finishes: whole vectors of them.
GRUS_INLINE Range own_units(Size H, const Worker& worker) {
    return worker.split_rows ? Range{0, H} : share(H, W, worker);
}

// ------------------------------------------------------------------------------------- products of rows

struct FromTo {
    const Real* in;
    Real* out;
    bool idle;  ///< nothing is written
};

/// Up to `most_together` of them; a block that they do not fill takes the last one again.
class SomeRows {
  public:
    GRUS_INLINE explicit SomeRows(Size count) : count_(count) {}
    GRUS_INLINE FromTo& operator[](Size m) { return rows_[m]; }
    GRUS_INLINE const FromTo* filled() {
        for (Size m = count_; m < grus::filled(count_); ++m) rows_[m] = rows_[count_ - 1];
        return rows_;
    }
    Size count() const { return count_; }

  private:
    Size count_;
    FromTo rows_[most_together + block_rows];
};

/// out[out_offset ...] = start + in[in_offset ...] @ matrix, or out += in @ matrix.
struct MultiplyRows {
    using Row = FromTo;
    Size in_offset, out_offset;
    const ColumnPanels& panels;
    const Real* columns;
    const Real* start_values;  // [N]; null: zeros
    bool add;                  // to what out holds
    static constexpr bool by_vector = true;

    GRUS_INLINE const Real* at(const Row& row) const { return row.in + in_offset; }
    template <int G, bool whole>
    GRUS_INLINE void start(const Row& row, Size p, V* sums) const {
        for (int v = 0; v < G; ++v) {
            const Size column = panels.first_column(p) + v * W, left = panels.N - column;
            sums[v] = add            ? load<whole>(row.out + out_offset + column, left)
                      : start_values ? load<whole>(start_values + column, left)
                                     : V{};
        }
    }
    template <bool whole>
    GRUS_INLINE void finish_vector(const Row& row, Size column, V sum) const {
        if (!row.idle) store<whole>(row.out + out_offset + column, sum, panels.N - column);
    }
};

/// A matrix packed for that.
struct Packed {
    ColumnPanels panels;
    Real* columns = nullptr;

    void take(Size K, Size N, Scratch& scratch) {
        panels = {K, N};
        columns = scratch.take(packed_size(panels));
    }
    void pack(const Real* matrix, bool transposed, const Worker& worker) const {
        const Range part = share(panels.count(), 1, worker);
        pack_columns(columns, matrix, transposed, panels, part.first, part.last);
    }
    void multiply(SomeRows& rows, const Worker& worker, const Real* start = nullptr) const {
        const Range part = worker.split_rows ? Range{0, panels.count()} : share(panels.count(), 1, worker);
        run_rows(MultiplyRows{0, 0, panels, columns, start, false}, rows.filled(), rows.count(), part);
    }
};

/// weight_hh [3H, H / blocks] packed for the products of some gates at once, block by block.
struct PackedGates {
    Size H = 0, blocks = 0, size = 0;  // of a block
    int gates = 0;                     // taken together; 1 where there are blocks
    bool adjoint = false;
    ColumnPanels panels;
    Real* columns = nullptr;

    /// @param adjoint  for dgh @ weight_hh, otherwise for h @ weight_hh.T
    void take(Size H_, Size blocks_, int gates_, bool adjoint_, Scratch& scratch) {
        H = H_, blocks = blocks_, size = H / blocks, gates = gates_, adjoint = adjoint_;
        panels = adjoint ? ColumnPanels{gates * size, size} : ColumnPanels{size, gates * size};
        columns = scratch.take(blocks * packed_size(panels));
    }
    /// @param weight  the rows of the first of these gates
    void pack(const Real* weight, const Worker& worker) const {
        const Size count = panels.count();
        const Range part = share(blocks * count, 1, worker);
        for (Size i = part.first; i < part.last; ++i) {
            const Size b = i / count, p = i % count;
            pack_columns(columns + b * packed_size(panels), weight + b * size * size, !adjoint, panels, p,
                         p + 1);
        }
    }
    /// Rows [gates * H] of in and [H] of out, or adjoint the other way round.
    void multiply(SomeRows& rows, const Worker& worker, const Real* start, bool add) const {
        const Size panel_count = panels.count();
        const Range part =
            worker.split_rows ? Range{0, blocks * panel_count} : share(blocks * panel_count, 1, worker);
        for (Size b = 0; b < blocks; ++b) {
            const Range own{most(part.first - b * panel_count, 0),
                            least(part.last - b * panel_count, panel_count)};
            if (own.first >= own.last) continue;
            const Real* starts = start ? start + b * size : nullptr;
            run_rows(MultiplyRows{b * size, b * size, panels, columns + b * packed_size(panels), starts, add},
                     rows.filled(), rows.count(), own);
        }
    }
};

}  // namespace
}  // namespace grus
