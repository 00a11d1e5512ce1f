#pragma once

/// @file Layer normalisation of one gate's H numbers: (F6) and (B6).
///
/// Its two sums run over a row, so they can't keep to one lane each. Sixteen partial sums, whatever the width
/// of a vector, give the same bits on every instruction set.

#include "pack.hpp"

namespace grus {
namespace {

/// Lane i gets what lane i + by held, and the last lanes what the first did.
template <int by, int... lane>
GRUS_INLINE V rotate(V a, std::integer_sequence<int, lane...>) {
    return shuffle<(lane + by) % W...>(a, a);
}

/// The sum of all lanes, half by half.
template <int half = W / 2>
GRUS_INLINE Real lane_sum(V a) {
    a += rotate<half>(a, std::make_integer_sequence<int, W>());
    if constexpr (half > 1) return lane_sum<half / 2>(a);
    return a[0];
}

/// The first lanes of a vector, and zeros.
GRUS_INLINE V first_lanes(V a, Size lanes) {
    alignas(vector_bytes) Real some[W] = {};
    store(some, a, lanes);
    return load(some);
}

/// The sum of visit(unit, lanes) over a row; a vector's lanes past the end are left out.
template <class Visit>
GRUS_INLINE Real row_sum(Size H, Visit visit) {
    constexpr int count = 16 / W;
    V parts[count];
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) parts[i] = V{};
    Size unit = 0;
    for (; unit + 16 <= H; unit += 16)
#pragma GCC unroll 8
        for (int i = 0; i < count; ++i) parts[i] += visit(unit + i * W, Size(W));
    for (int i = 0; unit < H; unit += W, ++i) parts[i] += first_lanes(visit(unit, H - unit), H - unit);
#pragma GCC unroll 4
    for (int half = count / 2; half > 0; half /= 2)
#pragma GCC unroll 4
        for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
    return lane_sum(parts[0]);
}

/// What brings a row of products to mean 0 and variance 1.
struct Normalisation {
    Real mean = 0, inverse = 1;  ///< 1 / standard deviation

    Normalisation() = default;
    GRUS_INLINE Normalisation(const Real* products, Size H) {
        mean = row_sum(H, [&](Size at, Size lanes) { return load(products + at, lanes); }) / Real(H);
        const V centre = all(mean);
        const Real squares = row_sum(H, [&](Size at, Size lanes) {
            const V centred = load(products + at, lanes) - centre;
            return centred * centred;
        });
        const Real variance = squares / Real(H) + Real(1e-5);
        inverse =
            Real(1) / (single ? Real(__builtin_sqrtf(float(variance))) : Real(__builtin_sqrt(variance)));
    }
    GRUS_INLINE V operator()(V products) const { return (products - all(mean)) * all(inverse); }  // (F6)
};

/// The products [H] become their gradients, given d, the gradient of what they were normalised to and scaled
/// by the gain; `gain_terms` [H] is what each unit's gain gets.
inline void normalise_backward(Real* products, const Real* d, const Real* gain, Real* gain_terms, Size H) {
    const Normalisation normal(products, H);
    const auto scaled = [&](Size at, Size lanes) { return load(d + at, lanes) * load(gain + at, lanes); };
    const Real sum = row_sum(H, scaled), along = row_sum(H, [&](Size at, Size lanes) {
                                             return scaled(at, lanes) * normal(load(products + at, lanes));
                                         });
    const V mean = all(sum / Real(H)), slope = all(along / Real(H));
    for (Size at = 0; at < H; at += W) {
        const Size lanes = H - at;
        const V y = normal(load(products + at, lanes));
        store(gain_terms + at, load(d + at, lanes) * y, lanes);
        store(products + at, multiply_add(-y, slope, scaled(at, lanes) - mean) * all(normal.inverse),
              lanes);  // (B6)
    }
}

}  // namespace
}  // namespace grus
