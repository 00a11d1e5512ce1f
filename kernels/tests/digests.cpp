/// @file Prints a digest of everything that one instruction set's kernels compute, for many sizes, so that
/// two instruction sets can be compared by their output. Linked with kernels.cpp, with the same GRUS_REAL and
/// GRUS_TABLE; `tests/test_neon.py` builds and runs it.

#include <cstdio>
#include <cstdlib>
#include <limits>

#include "problem.hpp"

namespace grus {

class Barrier;
void wait(Barrier* barrier) {  // of threads.cpp; one worker has nobody to wait for
    if (barrier) std::abort();
}
extern const Kernels<GRUS_REAL> GRUS_TABLE;

}  // namespace grus

namespace {

using namespace grus;
using namespace grus::tests;
using Real = GRUS_REAL;

/// FNV-1a over the bytes.
std::uint64_t digest(const std::vector<std::vector<Real>>& arrays) {
    std::uint64_t value = 14695981039346656037u;
    for (const std::vector<Real>& array : arrays) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(array.data());
        for (std::size_t i = 0; i < array.size() * sizeof(Real); ++i)
            value = (value ^ bytes[i]) * 1099511628211u;
    }
    return value;
}

/// Forward and backward of one layer.
std::uint64_t run(const Shape& shape, Random& random) {
    const Problem<Real> problem(shape, random);
    const Results<Real> results(shape);
    const Worker alone{0, 1, true, nullptr};
    const auto forward = problem.forward(results, true);
    GRUS_TABLE.forward(forward, Scratch<Real>(GRUS_TABLE.forward_scratch(forward)).get(), alone);
    const auto backward = problem.backward(results, true);
    GRUS_TABLE.backward(backward, Scratch<Real>(GRUS_TABLE.backward_scratch(backward, 1)).get(), alone);
    return digest(results.values());
}

/// Ends the program unless numbers below the normal ones are zeros inside a kernel, and numbers again after
/// it.
void check_denormals() {
    volatile Real tiny = std::numeric_limits<Real>::min() / 4;
    const Real in[] = {tiny};
    Real out[] = {1};
    GRUS_TABLE.activate({Function::tanh, 0, 0, 0}, in, out, 1);
    if (out[0] != 0 || tiny / 2 == 0) std::abort();
}

void print(const Shape& shape, Random& random) {
    const std::uint64_t value = run(shape, random);
    std::printf("%s %016llx\n", shape.text().c_str(), static_cast<unsigned long long>(value));
}

}  // namespace

int main() {
    check_denormals();
    Random random(1);
    Shape shape{};
    shape.form.blocks = 1, shape.form.truncate = -1;
    shape.form.activation.function = Function::tanh;
    shape.form.reset_activation.function = shape.form.update_activation.function = Function::sigmoid;
    for (const Reset reset : {Reset::after, Reset::before})
        for (const bool reverse : {false, true})
            for (const Size B : {1, 5, 17})
                for (const Size H : {1, 3, 16, 37})
                    for (const Size I : {1, 7, 20}) {
                        shape.form.reset = reset;
                        shape.reverse = reverse;
                        shape.sizes = {6, B, I, H};
                        print(shape, random);
                    }
    for (int i = 0; i < 100; ++i) print(random_shape(random), random);
}
