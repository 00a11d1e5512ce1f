#include "masks.hpp"

#include <algorithm>
#include <cmath>

namespace grus {

namespace {

constexpr Size block = 256;  // numbers at once: bits are drawn one by one, but compared in vectors
constexpr std::uint64_t each = 0x0001'0001'0001'0001;  // in each of a word's four lanes of 16 bits

/// The 32 bits of p in halves.
struct Probability {
    std::int32_t first;  // 2^16 where p is 1: above all bits
    std::uint32_t further;
};

/// The bits of a block, and which of its numbers are hits though their bits are not below the first of p.
struct Drawn {
    std::uint16_t bits[block];
    Size hits[block];
    Size hit_count;
};

/// Whether one of the four lanes is zero; right for the word as a whole, not for a lane.
bool has_zero(std::uint64_t word) { return (word - each) & ~word & each << 15; }

/// For the numbers whose bits are the first of p: a further word for each decides.
void decide(const BitGenerator& generator, Probability p, Size begin, Size end, Drawn& drawn) {
    for (Size i = begin; i < end; ++i) {
        if (drawn.bits[i] != p.first) continue;
        const std::uint64_t word = generator.next_uint64(generator.state);
        if ((word & 0xffff) < p.further) drawn.hits[drawn.hit_count++] = i;
    }
}

/// Four numbers take a word, its lowest bits first.
void draw(const BitGenerator& generator, Probability p, Size count, Drawn& drawn) {
    const std::uint64_t first = (static_cast<std::uint64_t>(p.first) & 0xffff) * each;
    drawn.hit_count = 0;
    for (Size i = 0; i < count; i += 4) {
        const std::uint64_t word = generator.next_uint64(generator.state);
        for (int lane = 0; lane < 4; ++lane)
            drawn.bits[i + lane] = static_cast<std::uint16_t>(word >> 16 * lane);
        if (has_zero(word ^ first)) decide(generator, p, i, std::min(i + 4, count), drawn);
    }
}

}  // namespace

template <class Real>
void draw_mask(const BitGenerator& generator, double p, Real value, Real* out, Size count) {
    const std::int64_t bits = std::llrint(p * 0x1p32);
    const Probability chance{static_cast<std::int32_t>(bits >> 16),
                             static_cast<std::uint32_t>(bits & 0xffff)};
    Drawn drawn;
    for (Size begin = 0; begin < count; begin += block, out += block) {
        const Size size = std::min(block, count - begin);
        draw(generator, chance, size, drawn);
        for (Size i = 0; i < size; ++i) out[i] = drawn.bits[i] < chance.first ? value : Real{0};
        for (Size i = 0; i < drawn.hit_count; ++i) out[drawn.hits[i]] = value;
    }
}

template void draw_mask(const BitGenerator&, double, float, float*, Size);
template void draw_mask(const BitGenerator&, double, double, double*, Size);

}  // namespace grus
