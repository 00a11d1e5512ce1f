#pragma once

/// @file exp, log1p, sigmoid, tanh and softplus on vectors, within 4 ulp, of IEEE operations only: the same
/// bits on every instruction set that fuses multiply and add. Nothing overflows; NaN gives NaN; denormal
/// results are zeros.
///
/// Source: Moshier's Cephes library (the reduction and the polynomial of exp); tanh by way of 1 - e^-2|x|;
/// log1p by Abramowitz & Stegun, Handbook of Mathematical Functions, 4.1.27.

#include "simd.hpp"

namespace grus {
namespace {

template <class>
struct Constants;

template <>
struct Constants<float> {
    static constexpr float most = 88.0f;  // e^-most is just below the smallest normal number
    static constexpr float rounder =
        12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    static constexpr float ln2_high = 0.693359375f;  // few bits, so that an integer times it is exact
    static constexpr float ln2_low = -2.12194440e-4f;
    static constexpr int mantissa_bits = 23;
    static constexpr Bit exponent_bias = 127;
    // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, highest power first
    static constexpr float exp[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    // (artanh s - s) / s^3 on s^2 <= 1/9: its series in s^2 as far as it counts, highest power first
    static constexpr float artanh[] = {1.0f / 15, 1.0f / 13, 1.0f / 11, 1.0f / 9,
                                       1.0f / 7,  1.0f / 5,  1.0f / 3};
};

template <>
struct Constants<double> {
    static constexpr double most = 709.0;
    static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double ln2_high = 6.93145751953125e-1;
    static constexpr double ln2_low = 1.42860682030941723212e-6;
    static constexpr int mantissa_bits = 52;
    static constexpr Bit exponent_bias = 1023;
    static constexpr double exp[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                     1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                     1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2};
    static constexpr double artanh[] = {1.0 / 33, 1.0 / 31, 1.0 / 29, 1.0 / 27, 1.0 / 25, 1.0 / 23,
                                        1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11,
                                        1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};
};

using C = Constants<Real>;

template <int N>
GRUS_INLINE V polynomial(V x, const Real (&coefficients)[N]) {
    V sum = all(coefficients[0]);
#pragma GCC unroll 16
    for (int i = 1; i < N; ++i) sum = multiply_add(sum, x, all(coefficients[i]));
    return sum;
}

constexpr Bit sign_bit = Bit(1) << (8 * sizeof(Bit) - 1);

GRUS_INLINE V magnitude(V x) { return V(Bits(x) & ~(sign_bit - Bits{})); }

/// @param positive  at least 0, or NaN
GRUS_INLINE V with_sign_of(V positive, V x) { return V(Bits(positive) | (Bits(x) & (sign_bit - Bits{}))); }

/// NaN stays.
GRUS_INLINE V at_least(V x, V bound) { return greater(bound, x); }
GRUS_INLINE V at_most(V x, V bound) { return less(bound, x); }

/// e^x = scale * (1 + fraction), with |fraction| < 1/2, for |x| <= most. At -most the scale is 0.
struct Exponential {
    V scale, fraction;

    GRUS_INLINE explicit Exponential(V x) {
        const V shifted = multiply_add(x, all(Real(1.44269504088896340736)), all(C::rounder));
        const V power = shifted - all(C::rounder);
        V r = multiply_add(power, all(-C::ln2_high), x);
        r = multiply_add(power, all(-C::ln2_low), r);
        fraction = multiply_add(polynomial(r, C::exp), r * r, r);
        scale = V((Bits(shifted) << C::mantissa_bits) + (C::exponent_bias << C::mantissa_bits));
    }
};

/// 1 / (1 + e^-x); 0 where that is no normal number.
GRUS_INLINE V sigmoid(V x) {
    const Exponential e(-at_most(at_least(x, all(-C::most)), all(C::most)));
    return all(1) / (multiply_add(e.scale, e.fraction, e.scale) + all(1));
}

/// 1 - e^x for x <= 0, with all its digits: near 0 the scale is 1.
GRUS_INLINE V one_minus_exp(V x) {
    const Exponential e(at_least(x, all(-C::most)));
    return multiply_add(-e.scale, e.fraction, all(1) - e.scale);
}

/// (1 - e^-2|x|) / (1 + e^-2|x|), and the sign of x.
GRUS_INLINE V tanh(V x) {
    const V top = one_minus_exp(all(-2) * magnitude(x));
    return with_sign_of(top / (all(2) - top), x);
}

/// log(1 + u) = 2 artanh(u / (2 + u)) for 0 <= u <= 1, with all its digits: near 0 it is u.
GRUS_INLINE V log1p(V u) {
    const V twice = (u + u) / (all(2) + u);  // 2s, not s: half of the smallest numbers would be zero
    const V square = all(Real(0.25)) * (twice * twice);
    return multiply_add(twice, square * polynomial(square, C::artanh), twice);
}

/// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
GRUS_INLINE V softplus(V x) {
    const Exponential e(at_least(-magnitude(x), all(-C::most)));
    return at_least(x, V{}) + log1p(e.scale * (all(1) + e.fraction));  // no product below the normal numbers
}

}  // namespace
}  // namespace grus
