#pragma once

/// @file Layer normalisation of one gate's H numbers: (F6) and (B6).
///
/// Its two sums run over a row, so they can't keep to one lane each. Sixteen partial sums, whatever the width
/// of a vector, give the same bits on every instruction set.

#include "simd.hpp"

namespace grus {
namespace {

/// The sum of visit(unit, lanes) over a row; a vector's lanes past the end are left out.
template <class Visit>
GRUS_INLINE Real row_sum(Size H, Visit visit) {
    constexpr int lanes = 16;
    V parts[lanes / W];
#pragma GCC unroll 8
    for (int i = 0; i < lanes / W; ++i) parts[i] = V{};
    for (Size unit = 0; unit < H; unit += lanes)
        for (int i = 0; i < lanes / W; ++i) {
            const Size at = unit + i * W, left = H - at;
            if (left >= W) {
                parts[i] += visit(at, Size(W));
            } else if (left > 0) {
                alignas(vector_bytes) Real some[W] = {};
                store(some, visit(at, left), left);
                parts[i] += load(some);
            }
        }
    alignas(vector_bytes) Real sums[lanes];
    for (int i = 0; i < lanes / W; ++i) store(sums + i * W, parts[i]);
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
    return sums[0];
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
