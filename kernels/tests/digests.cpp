/// @file Prints a digest of everything that one instruction set's kernels compute, for many sizes, so that
/// two instruction sets can be compared by their output. Linked with kernels.cpp, with the same GRUS_REAL and
/// GRUS_TABLE; `tests/test_neon.py` builds and runs it.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "gru.hpp"

namespace grus {

class Barrier;
void wait(Barrier* barrier) {  // of threads.cpp; one worker has nobody to wait for
    if (barrier) std::abort();
}
extern const Kernels<GRUS_REAL> GRUS_TABLE;

}  // namespace grus

namespace {

using namespace grus;
using Real = GRUS_REAL;
using Numbers = std::vector<Real>;

/// The same pseudo-random numbers in -1 ... 1 on every machine (Knuth's linear congruential generator).
class Source {
  public:
    Numbers operator()(Size count) {
        Numbers numbers(static_cast<std::size_t>(count));
        for (Real& number : numbers) {
            state_ = state_ * 6364136223846793005u + 1442695040888963407u;
            number = static_cast<Real>(static_cast<std::int64_t>(state_ >> 33) - (1 << 30)) / (1 << 30);
        }
        return numbers;
    }

  private:
    std::uint64_t state_ = 1;
};

/// FNV-1a over the bytes.
std::uint64_t digest(const std::vector<const Numbers*>& arrays) {
    std::uint64_t value = 14695981039346656037u;
    for (const Numbers* array : arrays) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(array->data());
        for (std::size_t i = 0; i < array->size() * sizeof(Real); ++i)
            value = (value ^ bytes[i]) * 1099511628211u;
    }
    return value;
}

/// Scratch at a multiple of 64 bytes.
class Scratch {
  public:
    explicit Scratch(Size reals) : memory_(static_cast<std::size_t>(reals) * sizeof(Real) + 64) {}
    Real* get() {
        return reinterpret_cast<Real*>((reinterpret_cast<std::uintptr_t>(memory_.data()) + 63) & ~63ull);
    }

  private:
    std::vector<unsigned char> memory_;
};

/// Forward and backward of one layer on numbers from `source`.
std::uint64_t run(Source& source, const Sizes& sizes, bool reset_after, bool reverse) {
    const auto [T, B, I, H] = sizes;
    const Activation tanh{Function::tanh, 0, 0}, sigmoid{Function::sigmoid, 0, 0};
    const Numbers weight_ih = source(3 * H * I), weight_hh = source(3 * H * H), bias_ih = source(3 * H),
                  bias_hh = source(3 * H), x = source(T * B * I), h0 = source(B * H),
                  d_states = source(T * B * H), d_h_n = source(B * H);
    Numbers states(T * B * H), workspace(T * B * 4 * H), dx(T * B * I), dh0(B * H), dweight_ih(3 * H * I),
        dweight_hh(3 * H * H), dbias_ih(3 * H), dbias_hh(3 * H);
    const Layer<Real> layer{sizes,
                            {reset_after, tanh, sigmoid, sigmoid},
                            reverse,
                            weight_ih.data(),
                            weight_hh.data(),
                            bias_ih.data(),
                            bias_hh.data(),
                            {x.data(), B * I, I},
                            h0.data(),
                            nullptr,
                            nullptr,
                            nullptr};
    const Worker alone{0, 1, true, nullptr};
    const Forward<Real> forward{layer, {states.data(), B * H, H}, workspace.data()};
    GRUS_TABLE.forward(forward, Scratch(GRUS_TABLE.forward_scratch(forward)).get(), alone);
    const Backward<Real> backward{layer,
                                  {states.data(), B * H, H},
                                  {d_states.data(), B * H, H},
                                  d_h_n.data(),
                                  workspace.data(),
                                  {dx.data(), B * I, I},
                                  dh0.data(),
                                  nullptr,
                                  dweight_ih.data(),
                                  dweight_hh.data(),
                                  dbias_ih.data(),
                                  dbias_hh.data()};
    GRUS_TABLE.backward(backward, Scratch(GRUS_TABLE.backward_scratch(backward, 1)).get(), alone);
    return digest({&states, &dx, &dh0, &dweight_ih, &dweight_hh, &dbias_ih, &dbias_hh});
}

}  // namespace

int main() {
    Source source;
    for (const bool reset_after : {true, false})
        for (const bool reverse : {false, true})
            for (const Size B : {1, 5, 17})
                for (const Size H : {1, 3, 16, 37})
                    for (const Size I : {1, 7, 20}) {
                        const std::uint64_t value = run(source, {6, B, I, H}, reset_after, reverse);
                        std::printf("%d %d B=%d H=%d I=%d %016llx\n", reset_after, reverse,
                                    static_cast<int>(B), static_cast<int>(H), static_cast<int>(I),
                                    static_cast<unsigned long long>(value));
                    }
}
