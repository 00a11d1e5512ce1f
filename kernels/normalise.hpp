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

/// The sums over a row of the terms that visit(unit, lanes, terms) gives; a vector's lanes past the end are
/// left out.
template <int N, class Visit>
GRUS_INLINE void row_sums(Size H, Real (&sums)[N], Visit visit) {
    constexpr int count = 16 / W;
    V parts[N][count], terms[N];
#pragma GCC unroll 24
    for (int i = 0; i < N * count; ++i) parts[i / count][i % count] = V{};
    Size unit = 0;
    for (; unit + 16 <= H; unit += 16)
#pragma GCC unroll 8
        for (int i = 0; i < count; ++i) {
            visit(unit + i * W, Size(W), terms);
#pragma GCC unroll 3
            for (int n = 0; n < N; ++n) parts[n][i] += terms[n];
        }
    for (int i = 0; unit < H; unit += W, ++i) {
        visit(unit, H - unit, terms);
        for (int n = 0; n < N; ++n) parts[n][i] += first_lanes(terms[n], H - unit);
    }
#pragma GCC unroll 3
    for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
        for (int half = count / 2; half > 0; half /= 2)
#pragma GCC unroll 4
            for (int i = 0; i < half; ++i) parts[n][i] += parts[n][i + half];
        sums[n] = lane_sum(parts[n][0]);
    }
}

/// What brings a row of products to mean 0 and variance 1.
struct Normalisation {
    Real mean = 0, inverse = 1;  ///< 1 / standard deviation

    Normalisation() = default;
    GRUS_INLINE Normalisation(const Real* products, Size H) {
        Real squares[1];
        mean = mean_of(products, H);
        const V centre = all(mean);
        row_sums(H, squares, [&](Size at, Size lanes, V* terms) {
            const V centred = load(products + at, lanes) - centre;
            terms[0] = centred * centred;
        });
        inverse = inverse_deviation(squares[0], H);
    }
    static GRUS_INLINE Real mean_of(const Real* products, Size H) {
        Real sum[1];
        row_sums(H, sum, [&](Size at, Size lanes, V* terms) { terms[0] = load(products + at, lanes); });
        return sum[0] / Real(H);
    }
    static GRUS_INLINE Real inverse_deviation(Real squares, Size H) {
        const Real variance = squares / Real(H) + Real(1e-5);
        return Real(1) / (single ? Real(__builtin_sqrtf(float(variance))) : Real(__builtin_sqrt(variance)));
    }
    GRUS_INLINE V operator()(V products) const { return (products - all(mean)) * all(inverse); }  // (F6)
};

/// The products [H] become their gradients, given d, the gradient of what they were normalised to and scaled
/// by the gain; `gain_terms` [H] is what each unit's gain gets.
inline void normalise_backward(Real* products, const Real* d, const Real* gain, Real* gain_terms, Size H) {
    Normalisation normal;
    normal.mean = Normalisation::mean_of(products, H);
    const V centre = all(normal.mean);
    Real sums[3];  // of the squares, of the gradients, and of both together
    row_sums(H, sums, [&](Size at, Size lanes, V* terms) {
        const V centred = load(products + at, lanes) - centre;
        const V scaled = load(d + at, lanes) * load(gain + at, lanes);
        terms[0] = centred * centred, terms[1] = scaled, terms[2] = scaled * centred;
    });
    normal.inverse = Normalisation::inverse_deviation(sums[0], H);
    const V mean = all(sums[1] / Real(H)), slope = all(normal.inverse * sums[2] / Real(H));
    for (Size at = 0; at < H; at += W) {
        const Size lanes = H - at;
        const V y = normal(load(products + at, lanes)), given = load(d + at, lanes);
        store(gain_terms + at, given * y, lanes);
        store(products + at,
              multiply_add(-y, slope, given * load(gain + at, lanes) - mean) * all(normal.inverse),
              lanes);  // (B6)
    }
}

}  // namespace
}  // namespace grus
