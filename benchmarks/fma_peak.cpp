/// @file The arithmetic limit of this machine: `fma_peak THREADS SECONDS` prints the float32 GFLOP/s of fused
/// multiply-adds that never leave the registers. Compiled for the processor it runs on.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

typedef float V __attribute__((vector_size(vector_bytes)));

// More independent sums than a core can have in flight: 2 a cycle, each 4 or 5 cycles long.
constexpr int chains = 12;
constexpr long rounds = 1L << 22;
constexpr double operations = 2.0 * rounds * chains * (vector_bytes / sizeof(float));

/// @return a number that depends on all sums, so that none can be left out
float multiply_add(float factor, float summand) {
    V sums[chains] = {};
    for (V& sum : sums) sum += summand;
    for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
        for (int chain = 0; chain < chains; ++chain) sums[chain] = sums[chain] * factor + summand;
    }
    V total = {};
    for (const V& sum : sums) total += sum;
    return total[0];
}

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int count, char** values) {
    if (count != 3) return std::fprintf(stderr, "usage: fma_peak THREADS SECONDS\n"), 2;
    const int threads = std::atoi(values[1]);
    const double limit = std::atof(values[2]), start = now();
    double best = 0;
    std::vector<float> kept(threads);
    do {
        std::vector<std::thread> pool;
        const double began = now();
        for (int i = 0; i < threads; ++i) pool.emplace_back([&, i] { kept[i] = multiply_add(0.5f, 1.0f); });
        for (std::thread& thread : pool) thread.join();
        const double rate = threads * operations / (now() - began);
        if (rate > best) best = rate;
    } while (now() - start < limit);
    for (float each : kept) {
        if (each != each) return 1;
    }
    std::printf("%.1f\n", best / 1e9);
}
