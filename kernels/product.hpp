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

/// Not `= {}`, which becomes a slow `rep stos`.
template <int N>
GRUS_INLINE void clear_sums(V (&sums)[N]) {
#pragma GCC unroll 24
    for (int i = 0; i < N; ++i) sums[i] = V{};
}

/// Where a block is not full; on its own, because that is rare.
template <int P, int G, bool whole, class Job>
__attribute__((noinline)) void finish_row(const Job& job, const typename Job::Row* row, Size p,
                                          const V* sums) {
    job.template finish<1, P, G, whole>(row, p, sums);
}

/// One block of a job: start values, product, and what the job does with the sums.
///
/// A job is: `panels`, `columns` (packed), `segments` of k; `length(s)`; and of its rows a structure `Row`.
/// `locate(first, count, rows)` fills in `count` of them; `at(row, s)` is where a row's numbers are and
/// `row.idle` is true where the end does not need their sums. `start<G, whole>(row, p, sums)` gives a row's
/// sums of panel p their first values. `finish<R, P, G, whole>(rows, p, sums)` is the end of a block: all its
/// rows at once, so that their long chains of operations overlap. `whole`: no lane is past the last column.
///
/// @param rows  R of them, those past `count` like the last one
template <int R, int P, int G, bool whole, class Job>
void run_block(const Job& job, const typename Job::Row* rows, Size count, Size p) {
    V sums[R * P * G];
    bool idle = true;
    for (int m = 0; m < R; ++m) idle = idle && rows[m].idle;
    if (!idle) {
        for (int m = 0; m < R; ++m)
            for (int i = 0; i < P; ++i) job.template start<G, whole>(rows[m], p + i, sums + (m * P + i) * G);
        const Real* columns = job.columns + job.panels.offset(p);
        for (int s = 0; s < job.segments; ++s) {
            Rows<R> numbers;
            for (int m = 0; m < R; ++m) numbers.at[m] = job.at(rows[m], s);
            add_product<R, P, G>(sums, numbers, columns, job.panels.size(p), job.length(s));
            columns += job.length(s) * G * W;
        }
    } else {
        clear_sums(sums);
    }
    if (count >= R) return job.template finish<R, P, G, whole>(rows, p, sums);
    for (Size m = 0; m < count; ++m) finish_row<P, G, whole>(job, rows + m, p, sums + m * P * G);
}

/// A job whose `Functions` are compact has no form of its own for whole panels: it asks for each vector.
template <class Job>
constexpr bool is_compact = false;
template <template <class> class Job, class Functions>
constexpr bool is_compact<Job<Functions>> = Functions::is_compact;

template <int R, int P, int G, class Job>
GRUS_INLINE void run_block(const Job& job, const typename Job::Row* rows, Size count, Size p) {
    if constexpr (!is_compact<Job>)
        if (job.panels.whole(p + P - 1)) return run_block<R, P, G, true>(job, rows, count, p);
    run_block<R, P, G, false>(job, rows, count, p);
}

template <int R, int P, class Job>
GRUS_INLINE void run_block(const Job& job, const typename Job::Row* rows, Size count, Size p) {
    constexpr int fixed_width = std::remove_cvref_t<decltype(job.panels)>::fixed_width;
    if constexpr (fixed_width > 0) return run_block<R, P, fixed_width>(job, rows, count, p);
    switch (job.panels.width(p)) {
        case 3:
            return run_block<R, P, 3>(job, rows, count, p);
        case 2:
            return run_block<R, P, 2>(job, rows, count, p);
        default:
            return run_block<R, P, 1>(job, rows, count, p);
    }
}

/// A few rows that fill no block: more panels at once instead, to have as many sums under way.
template <int R, int P, class Job>
void run_few_rows(const Job& job, const typename Job::Row* rows, Size count, Range panels) {
    Size p = panels.first;
    while (p < panels.last) {
        const Size alike = least(panels.last, job.panels.end_of_width(p)) - p;
        if (alike >= P) {
            run_block<R, P>(job, rows, count, p);
            p += P;
        } else if (P > 2 && alike >= 2) {
            run_block<R, 2>(job, rows, count, p);
            p += 2;
        } else {
            run_block<R, 1>(job, rows, count, p++);
        }
    }
}

/// Some rows times every panel in `panels`; a panel is used for all rows while it is in the cache.
template <class Job>
void run_rows(const Job& job, const typename Job::Row* rows, Size count, Range panels) {
    const Size rest = count % block_rows, blocked = rest > half_rows ? count : count - rest;
    for (Size p = panels.first; p < panels.last && blocked > 0; ++p)
        for (Size m = 0; m < blocked; m += block_rows)
            run_block<block_rows, 1>(job, rows + m, least(block_rows, count - m), p);
    if (blocked == count) return;
    if (rest > 1) {
        run_few_rows<half_rows, 2>(job, rows + blocked, rest, panels);
    } else {
        run_few_rows<1, 4>(job, rows + blocked, rest, panels);
    }
}

/// Every row in `rows` times every panel in `panels`. What a row needs is looked up once for all panels.
template <class Job>
void run(const Job& job, Range rows, Range panels) {
    constexpr Size most_rows = 128;
    typename Job::Row located[most_rows + block_rows];
    for (Size first = rows.first; first < rows.last; first += most_rows) {
        const Size count = least(most_rows, rows.last - first);
        job.locate(first, count, located);
        for (int m = 0; m < block_rows; ++m) located[count + m] = located[count - 1];
        run_rows(job, located, count, panels);
    }
}

}  // namespace
}  // namespace grus
