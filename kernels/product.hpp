#pragma once

/// @file The one product under everything: a block of rows times a panel of packed columns, and the loop over
/// all blocks.
///
/// Each output number is one chain of multiply-adds, k ascending, from its starting value. Lanes are always
/// output numbers and never summed across, so no split of rows or columns changes a bit of the result.

#include <type_traits>

#include "pack.hpp"

namespace grus {
namespace {

// A block of sums stays in registers: rows x 3 vectors of sums, 3 of weights and one broadcast number.
constexpr int block_rows = registers == 32 ? 8 : 4;
constexpr int half_rows = block_rows / 2;
constexpr int block_sums = block_rows * 3;  // vectors

struct Range {
    Size first, last;
};

/// Rows that lie anywhere: at[m][k].
template <int R>
struct Rows {
    const Real* at[R];
    GRUS_INLINE Real operator()(int m, Size k) const { return at[m][k]; }
};

/// Rows that were packed side by side: at[k][m].
template <int R>
struct PackedRows {
    const Real* at;
    GRUS_INLINE Real operator()(int m, Size k) const { return at[k * R + m]; }
};

/// sums[m][p][g] += the sum over k of a(m, k) * columns[p][k][g], for R rows, P panels and G vectors each.
template <int R, int P, int G, class A>
__attribute__((noinline)) void add_product(V* __restrict sums, A a, const Real* __restrict columns,
                                           Size panel, Size K) {
    V sum[R][P * G];
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 12
        for (int c = 0; c < P * G; ++c) sum[m][c] = sums[m * P * G + c];
    for (Size k = 0; k < K; ++k, columns += G * W) {
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
            V weight[G];
#pragma GCC unroll 3
            for (int g = 0; g < G; ++g) weight[g] = load(columns + p * panel + g * W);
#pragma GCC unroll 8
            for (int m = 0; m < R; ++m) {
                const V value = all(a(m, k));
#pragma GCC unroll 3
                for (int g = 0; g < G; ++g)
                    sum[m][p * G + g] = multiply_add(value, weight[g], sum[m][p * G + g]);
            }
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 12
        for (int c = 0; c < P * G; ++c) sums[m * P * G + c] = sum[m][c];
}

/// One block of a job: start values, product, and what the job does with the sums.
///
/// A job is: `panels`, `columns` (packed), `segments` of k; `length(s)` and `row(m, s)`; `start(m, p, sums)`
/// and `finish(m, p, sums)` for row m and panel p; `idle(m)`, true where finish does not need the sums. Rows
/// past `count` repeat the last one and are dropped.
template <int R, int P, int G, class Job>
void run_block(const Job& job, Size first, Size count, Size p) {
    alignas(vector_bytes) V sums[R * P * G] = {};
    bool idle = true;
    for (Size m = 0; m < count; ++m) idle = idle && job.idle(first + m);
    if (!idle) {
        for (Size m = 0; m < count; ++m)
            for (int i = 0; i < P; ++i) job.start(first + m, p + i, sums + (m * P + i) * G);
        const Real* columns = job.columns + job.panels.offset(p);
        for (int s = 0; s < job.segments; ++s) {
            Rows<R> rows;
            for (int m = 0; m < R; ++m) rows.at[m] = job.row(first + least(m, count - 1), s);
            add_product<R, P, G>(sums, rows, columns, job.panels.size(p), job.length(s));
            columns += job.length(s) * G * W;
        }
    }
    for (Size m = 0; m < count; ++m)
        for (int i = 0; i < P; ++i) job.finish(first + m, p + i, sums + (m * P + i) * G);
}

template <int R, int P, class Job>
GRUS_INLINE void run_block(const Job& job, Size first, Size count, Size p) {
    constexpr int fixed_width = std::remove_cvref_t<decltype(job.panels)>::fixed_width;
    if constexpr (fixed_width > 0) return run_block<R, P, fixed_width>(job, first, count, p);
    switch (job.panels.width(p)) {
        case 3:
            return run_block<R, P, 3>(job, first, count, p);
        case 2:
            return run_block<R, P, 2>(job, first, count, p);
        default:
            return run_block<R, P, 1>(job, first, count, p);
    }
}

/// A few rows that fill no block: more panels at once instead, to have as many sums under way.
template <int R, int P, class Job>
void run_few_rows(const Job& job, Size first, Size count, Range panels) {
    Size p = panels.first;
    while (p < panels.last) {
        const Size alike = least(panels.last, job.panels.end_of_width(p)) - p;
        if (alike >= P) {
            run_block<R, P>(job, first, count, p);
            p += P;
        } else if (P > 2 && alike >= 2) {
            run_block<R, 2>(job, first, count, p);
            p += 2;
        } else {
            run_block<R, 1>(job, first, count, p++);
        }
    }
}

/// Every row in `rows` times every panel in `panels`; a panel is used for all rows while it is in the cache.
template <class Job>
void run(const Job& job, Range rows, Range panels) {
    const Size all_rows = rows.last - rows.first, rest = all_rows % block_rows;
    const Size blocked = rest > half_rows ? all_rows : all_rows - rest;
    for (Size p = panels.first; p < panels.last && blocked > 0; ++p)
        for (Size m = 0; m < blocked; m += block_rows)
            run_block<block_rows, 1>(job, rows.first + m, least(block_rows, all_rows - m), p);
    if (blocked == all_rows) return;
    if (rest > 1) {
        run_few_rows<half_rows, 2>(job, rows.first + blocked, rest, panels);
    } else {
        run_few_rows<1, 4>(job, rows.first + blocked, rest, panels);
    }
}

}  // namespace
}  // namespace grus
