#pragma once

/// @file Vectors of the instruction set that this unit is compiled for, in GCC's and Clang's vector
/// extensions.
///
/// Everything in the files that a unit includes has internal linkage, and nothing of the standard library
/// that could leave a function behind is used: a shared symbol compiled for a wide instruction set would be
/// run on processors without it. `GRUS_REAL` is float or double.

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
};
template <>
struct WordOf<double> {
    using type = std::int64_t;
};
using Word = WordOf<Real>::type;  // the integer of a Real's size, for its bits

typedef Real V __attribute__((vector_size(vector_bytes)));
typedef Word Words __attribute__((vector_size(vector_bytes)));
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

/// In every lane, one of two values; a comparison with NaN is false.
GRUS_INLINE V select(Words condition, V if_true, V if_false) { return condition ? if_true : if_false; }

/// a * b + c in one rounding where the instruction set has it. No sum in these files has a product on both
/// sides, so that the compiler has no choice which of them to fuse.
GRUS_INLINE V multiply_add(V a, V b, V c) { return a * b + c; }

GRUS_INLINE Size least(Size a, Size b) { return a < b ? a : b; }
GRUS_INLINE Size most(Size a, Size b) { return a > b ? a : b; }
GRUS_INLINE Size ceil_divide(Size a, Size b) { return (a + b - 1) / b; }

}  // namespace
}  // namespace grus
