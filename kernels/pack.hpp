#pragma once

/// @file How weights are packed: panels of up to three vectors of columns, [panel][k][vector][lane], so that
/// a product reads them in one sequential stream. Lanes past the last column are zeros.

#include <utility>

#include "simd.hpp"

namespace grus {
namespace {

/// The panels of some gates: panel j holds the units j*W ... of every gate, one vector each.
template <int gates>
struct GatePanels {
    Size K, H;
    static constexpr int fixed_width = gates;

    GRUS_INLINE Size count() const { return ceil_divide(H, W); }
    GRUS_INLINE int width(Size) const { return gates; }
    GRUS_INLINE Size end_of_width(Size) const { return count(); }  // of the panels as wide as p
    GRUS_INLINE Size size(Size) const { return K * gates * W; }
    GRUS_INLINE Size offset(Size p) const { return p * K * gates * W; }
    GRUS_INLINE Size first_unit(Size p) const { return p * W; }
    GRUS_INLINE bool whole(Size p) const { return (p + 1) * W <= H; }  // no lane past the last column
};

/// The panels of a plain matrix (K, N): as few as there can be, the wider ones first.
struct ColumnPanels {
    Size K = 0, N = 0;
    static constexpr int fixed_width = 0;  // they differ

    ColumnPanels() = default;
    GRUS_INLINE ColumnPanels(Size K, Size N) : K(K), N(N), vectors_(ceil_divide(N, W)) {
        count_ = ceil_divide(vectors_, 3);
        narrow_ = count_ ? vectors_ / count_ : 0;
        wider_ = vectors_ - narrow_ * count_;
    }

    GRUS_INLINE Size vectors() const { return vectors_; }
    GRUS_INLINE Size count() const { return count_; }
    GRUS_INLINE Size narrow() const { return narrow_; }
    GRUS_INLINE Size wider() const { return wider_; }  // panels one vector wider
    GRUS_INLINE int width(Size p) const { return static_cast<int>(narrow() + (p < wider())); }
    GRUS_INLINE Size end_of_width(Size p) const { return p < wider() ? wider() : count(); }
    GRUS_INLINE Size first_vector(Size p) const { return p * narrow() + least(p, wider()); }
    GRUS_INLINE Size size(Size p) const { return K * width(p) * W; }
    GRUS_INLINE Size offset(Size p) const { return first_vector(p) * K * W; }
    GRUS_INLINE Size first_column(Size p) const { return first_vector(p) * W; }
    GRUS_INLINE bool whole(Size p) const { return (first_vector(p) + width(p)) * W <= N; }

  private:
    Size vectors_ = 0, count_ = 0, narrow_ = 0, wider_ = 0;  // found out once: a division takes long
};

template <int gates>
GRUS_INLINE Size packed_size(const GatePanels<gates>& panels) {
    return panels.count() * panels.size(0);
}
GRUS_INLINE Size packed_size(const ColumnPanels& panels) { return panels.vectors() * panels.K * W; }

/// The lanes of two vectors, one after the other, in another order.
template <int... order>
GRUS_INLINE V shuffle(V a, V b) {
#if __has_builtin(__builtin_shufflevector)
    return __builtin_shufflevector(a, b, order...);
#else
    return __builtin_shuffle(a, b, Words{order...});  // GCC 11
#endif
}

/// In two rows of a square, `size` apart: swaps the squares of that size which lie off the diagonal.
template <int size, int... lane>
GRUS_INLINE void swap_squares(V& upper, V& lower, std::integer_sequence<int, lane...>) {
    const V a = upper, b = lower;
    upper = shuffle<(lane & size ? W + lane - size : lane)...>(a, b);
    lower = shuffle<(lane & size ? W + lane : lane + size)...>(a, b);
}

/// Rows become columns.
template <int size = W / 2>
GRUS_INLINE void transpose(V (&square)[W]) {
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i)
        if (!(i & size))
            swap_squares<size>(square[i], square[i + size], std::make_integer_sequence<int, W>());
    if constexpr (size > 1) transpose<size / 2>(square);
}

/// rows [N, K] -> to[k * step + lane] = rows[lane][k] for `lanes` <= W of its rows, and zeros in the other
/// lanes.
inline void pack_transposed(Real* to, Size step, const Real* rows, Size K, Size lanes) {
    V square[W];
    for (Size k = 0; k < K; k += W) {
#pragma GCC unroll 16
        for (Size lane = 0; lane < W; ++lane)
            square[lane] = lane < lanes ? load(rows + lane * K + k, K - k) : V{};
        transpose(square);
        for (Size i = 0; i < least(W, K - k); ++i) store(to + (k + i) * step, square[i]);
    }
}

/// weight [gates * H, K] -> the panels, transposed: column g * H + unit of the product is row g * H + unit.
template <int gates>
void pack_gates(Real* packed, const Real* weight, const GatePanels<gates>& panels, Size first, Size last) {
    const Size K = panels.K, H = panels.H;
    for (Size p = first; p < last; ++p)
        for (int g = 0; g < gates; ++g) {
            const Size unit = panels.first_unit(p);
            Real* to = packed + panels.offset(p) + g * W;
            pack_transposed(to, gates * W, weight + (g * H + unit) * K, K, least(W, H - unit));
        }
}

/// matrix [K, N] (transposed: [N, K]) -> the panels first ... last.
inline void pack_columns(Real* packed, const Real* matrix, bool transposed, const ColumnPanels& panels,
                         Size first, Size last) {
    const Size K = panels.K, N = panels.N;
    for (Size p = first; p < last; ++p)
        for (int v = 0; v < panels.width(p); ++v) {
            const Size column = panels.first_column(p) + v * W, lanes = N - column,
                       step = panels.width(p) * W;
            Real* to = packed + panels.offset(p) + v * W;
            if (transposed) {
                pack_transposed(to, step, matrix + column * K, K, least(W, lanes));
            } else {
                for (Size k = 0; k < K; ++k) store(to + k * step, load(matrix + k * N + column, lanes));
            }
        }
}

}  // namespace
}  // namespace grus
