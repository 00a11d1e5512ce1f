#pragma once

/// @file The random masks of training; `src/grus/_masks.py` says what they drop, and in which order they are
/// drawn.

#include <cstdint>

#include "gru.hpp"

namespace grus {

/// @brief What every BitGenerator of NumPy offers in C: `bitgen_t` of `numpy/random/bitgen.h`, which the page
/// "Extending" of numpy.random documents; it is in the capsule "BitGenerator".
struct BitGenerator {
    void* state;
    std::uint64_t (*next_uint64)(void* state);
    std::uint32_t (*next_uint32)(void* state);
    double (*next_double)(void* state);
    std::uint64_t (*next_raw)(void* state);
};

/// @brief Fills `out` with `value` with probability p, rounded to a multiple of 2^-32, and with zeros.
template <class Real>
void draw_mask(const BitGenerator& generator, double p, Real value, Real* out, Size count);

}  // namespace grus
