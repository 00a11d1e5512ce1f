#pragma once

/// @file exp, sigmoid and tanh on vectors, within 4 ulp, of IEEE operations only: the same bits on every
/// instruction set that fuses multiply and add. Nothing overflows; NaN gives NaN.
///
/// Sources: Moshier's Cephes library (exp, tanh), with exp only ever taken of numbers <= 0.

#include "simd.hpp"

namespace grus {
namespace {

template <class>
struct Constants;

template <>
struct Constants<float> {
    static constexpr float lowest = -87.336544f;  // ln of the smallest normal number
    static constexpr float rounder =
        12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    static constexpr float ln2_high = 0.693359375f;  // few bits, so that an integer times it is exact
    static constexpr float ln2_low = -2.12194440e-4f;
    static constexpr int mantissa_bits = 23;
    static constexpr Word exponent_bias = 127;
    // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, highest power first
    static constexpr float exp[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    // (tanh x - x) / x^3 in powers of x^2 on |x| <= 0.625
    static constexpr float tanh_top[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                                         1.33314422036e-1f, -3.33332819422e-1f};
    static constexpr float tanh_bottom[] = {1.0f};
};

template <>
struct Constants<double> {
    static constexpr double lowest = -708.39641853226408;
    static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double ln2_high = 6.93145751953125e-1;
    static constexpr double ln2_low = 1.42860682030941723212e-6;
    static constexpr int mantissa_bits = 52;
    static constexpr Word exponent_bias = 1023;
    static constexpr double exp[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                     1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                     1.0 / 120,        1.0 / 24,        1.0 / 6,        1.0 / 2};
    static constexpr double tanh_top[] = {-9.64399179425052238628e-1, -9.92877231001918586564e1,
                                          -1.61468768441708447952e3};
    static constexpr double tanh_bottom[] = {1.0, 1.12811678491632931402e2, 2.23548839060100448583e3,
                                             4.84406305325125486048e3};
};

using C = Constants<Real>;

template <int N>
GRUS_INLINE V polynomial(V x, const Real (&coefficients)[N]) {
    V sum = all(coefficients[0]);
#pragma GCC unroll 16
    for (int i = 1; i < N; ++i) sum = multiply_add(sum, x, all(coefficients[i]));
    return sum;
}

GRUS_INLINE V magnitude(V x) {
    constexpr Word sign = Word(1) << (8 * sizeof(Word) - 1);
    return V(Words(x) & ~(sign - Words{}));
}

/// e^x for x <= 0; zero where the result would not be a normal number.
GRUS_INLINE V exp_of_negative(V x) {
    const V shifted = multiply_add(x, all(Real(1.44269504088896340736)), all(C::rounder));
    const V power = shifted - all(C::rounder);
    V r = multiply_add(power, all(-C::ln2_high), x);
    r = multiply_add(power, all(-C::ln2_low), r);
    const V e = multiply_add(polynomial(r, C::exp), r * r, r) + all(1);
    const Words two_to_the_power =
        (Words(shifted) << C::mantissa_bits) + (C::exponent_bias << C::mantissa_bits);
    return select(x < all(C::lowest), V{}, e * V(two_to_the_power));
}

/// 1 / (1 + e^-x), from e^-|x| only.
GRUS_INLINE V sigmoid(V x) {
    const V e = exp_of_negative(-magnitude(x));
    return select(x < V{}, e, all(1)) / (all(1) + e);
}

/// A ratio of polynomials near 0, (1 - e^-2|x|) / (1 + e^-2|x|) elsewhere; one division serves both.
GRUS_INLINE V tanh(V x) {
    const V a = magnitude(x), square = x * x, e = exp_of_negative(all(-2) * a);
    const Words near = a < all(Real(0.625));
    const V top = polynomial(square, C::tanh_top), bottom = polynomial(square, C::tanh_bottom);
    const V far = all(1) - e;
    const V ratio = select(near, top * square, select(x < V{}, -far, far)) / select(near, bottom, all(1) + e);
    return select(near, multiply_add(ratio, x, x), ratio);
}

/// e^x - 1 for x <= 0, by way of tanh(x / 2), which keeps the digits that a subtraction of 1 would lose.
GRUS_INLINE V expm1_of_negative(V x) {
    const V t = tanh(all(Real(0.5)) * x);
    return (t + t) / (all(1) - t);
}

}  // namespace
}  // namespace grus
