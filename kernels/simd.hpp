#pragma once

/// @file Vectors of the instruction set that this unit is compiled for, in GCC's and Clang's vector
/// extensions.
///
/// Everything in the files that a unit includes has internal linkage, and nothing of the standard library
/// that could leave a function behind is used: a shared symbol compiled for a wide instruction set would be
/// run on processors without it. `GRUS_REAL` is float or double.

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdint>

#include "gru.hpp"

#define GRUS_INLINE inline __attribute__((always_inline))

namespace grus {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, registers = 16;
#elif defined(__aarch64__)
constexpr int vector_bytes = 16, registers = 32;
#else
constexpr int vector_bytes = 16, registers = 16;
#endif

using Real = GRUS_REAL;

template <class>
struct WordOf;
template <>
struct WordOf<float> {
    using type = std::int32_t;
    using bits = std::uint32_t;
};
template <>
struct WordOf<double> {
    using type = std::int64_t;
    using bits = std::uint64_t;
};
using Word = WordOf<Real>::type;  // the integer of a Real's size, as comparisons have it
using Bit = WordOf<Real>::bits;   // the same without a sign, for arithmetic that wraps around

constexpr bool single = sizeof(Real) == sizeof(float);

typedef Real V __attribute__((vector_size(vector_bytes)));
typedef Word Words __attribute__((vector_size(vector_bytes)));
typedef Bit Bits __attribute__((vector_size(vector_bytes)));
typedef Real Unaligned __attribute__((vector_size(vector_bytes), aligned(sizeof(Real)), may_alias));

constexpr int W = vector_bytes / sizeof(Real);  // lanes

GRUS_INLINE V all(Real value) { return value - V{}; }

GRUS_INLINE V load(const Real* from) { return *reinterpret_cast<const Unaligned*>(from); }

GRUS_INLINE void store(Real* to, V value) { *reinterpret_cast<Unaligned*>(to) = value; }

__attribute__((noinline)) inline V load_part(const Real* from, Size lanes) {
    alignas(vector_bytes) Real padded[W] = {};
    for (Size i = 0; i < lanes; ++i) padded[i] = from[i];
    return load(padded);
}

__attribute__((noinline)) inline void store_part(Real* to, V value, Size lanes) {
    alignas(vector_bytes) Real padded[W];
    store(padded, value);
    for (Size i = 0; i < lanes; ++i) to[i] = padded[i];
}

/// The first `lanes` numbers (all W, where there are more), and zeros.
GRUS_INLINE V load(const Real* from, Size lanes) { return lanes >= W ? load(from) : load_part(from, lanes); }

GRUS_INLINE void store(Real* to, V value, Size lanes) {
    if (lanes >= W) return store(to, value);
    store_part(to, value, lanes);
}

/// With `whole` the caller knows that there are W numbers, and nothing is asked at run time.
template <bool whole>
GRUS_INLINE V load(const Real* from, Size lanes) {
    if constexpr (whole) return load(from);
    return load(from, lanes);
}

template <bool whole>
GRUS_INLINE void store(Real* to, V value, Size lanes) {
    if constexpr (whole) return store(to, value);
    store(to, value, lanes);
}

/// Asks for the numbers [count] before their use, where they are too far apart for the processor to guess.
GRUS_INLINE void prefetch(const Real* from, Size count) {
    const char* at = reinterpret_cast<const char*>(from);
    const char* end = reinterpret_cast<const char*>(from + count);
    for (; at < end; at += 64) __builtin_prefetch(at);
}

/// In every lane, one of two values; a comparison with NaN is false.
GRUS_INLINE V select(Words condition, V if_true, V if_false) { return condition ? if_true : if_false; }

/// The greater of two; the second where one is NaN or both are zeros. Compilers make a comparison and a
/// choice of it when it is written with `select`, which takes twice as long.
GRUS_INLINE V greater(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (single) return V(_mm512_max_ps(__m512(a), __m512(b)));
    return V(_mm512_max_pd(__m512d(a), __m512d(b)));
#elif defined(__AVX2__)
    if constexpr (single) return V(_mm256_max_ps(__m256(a), __m256(b)));
    return V(_mm256_max_pd(__m256d(a), __m256d(b)));
#elif defined(__x86_64__)
    if constexpr (single) return V(_mm_max_ps(__m128(a), __m128(b)));
    return V(_mm_max_pd(__m128d(a), __m128d(b)));
#else
    return select(a > b, a, b);
#endif
}

/// The less of two, in the same way.
GRUS_INLINE V less(V a, V b) {
#if defined(__AVX512F__)
    if constexpr (single) return V(_mm512_min_ps(__m512(a), __m512(b)));
    return V(_mm512_min_pd(__m512d(a), __m512d(b)));
#elif defined(__AVX2__)
    if constexpr (single) return V(_mm256_min_ps(__m256(a), __m256(b)));
    return V(_mm256_min_pd(__m256d(a), __m256d(b)));
#elif defined(__x86_64__)
    if constexpr (single) return V(_mm_min_ps(__m128(a), __m128(b)));
    return V(_mm_min_pd(__m128d(a), __m128d(b)));
#else
    return select(a < b, a, b);
#endif
}

/// a * b + c in one rounding where the instruction set has it. Only what says so is fused: the compiler, left
/// to choose (-ffp-contract=fast), chooses differently for the same expression in different surroundings.
GRUS_INLINE V multiply_add(V a, V b, V c) {
#if defined(__AVX512F__)
    if constexpr (single) return V(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
    return V(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c)));
#elif defined(__FMA__)
    if constexpr (single) return V(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
    return V(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c)));
#elif defined(__aarch64__)
    if constexpr (single) return V(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
    return V(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
#else
    return a * b + c;
#endif
}

GRUS_INLINE Size least(Size a, Size b) { return a < b ? a : b; }
GRUS_INLINE Size most(Size a, Size b) { return a > b ? a : b; }
GRUS_INLINE Size ceil_divide(Size a, Size b) { return (a + b - 1) / b; }

}  // namespace
}  // namespace grus
