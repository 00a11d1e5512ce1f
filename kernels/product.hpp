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
constexpr Size most_located = 128;  // rows that are looked up at a time

struct Range {
    Size first, last;
};

/// Rows that lie anywhere: at[m][k].
template <int R>
struct Rows {
    const Real* at[R];
    GRUS_INLINE Real operator()(int m, Size k, int, int) const { return at[m][k]; }
};

/// Rows that hold numbers of their own for each of a panel's vectors, `apart` from each other.
template <int R>
struct RowsOfEach {
    const Real* at[R];
    Size apart;
    GRUS_INLINE Real operator()(int m, Size k, int, int g) const { return at[m][g * apart + k]; }
};

/// Parts of one row, each of which a panel of its own is multiplied with.
template <int parts>
struct PartsOfRow {
    const Real* at[parts];
    GRUS_INLINE Real operator()(int, Size k, int p, int) const { return at[p][k]; }
};

/// Rows that were packed side by side: at[k][m].
template <int R>
struct PackedRows {
    const Real* at;
    GRUS_INLINE Real operator()(int m, Size k, int, int) const { return at[k * R + m]; }
};

/// sums[p][m][g] += the sum over k of a(m, k, p, g) * columns[p][k][g], for R rows, P panels, G vectors each.
/// The chain goes on from what sums holds or, `apart`, starts from zero and is added to that at the end.
template <int R, int P, int G, bool apart = false, class A>
__attribute__((noinline)) void add_product(V* __restrict sums, A a, const Real* __restrict columns,
                                           Size panel, Size K) {
    V sum[R][P * G];
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 12
        for (int c = 0; c < P * G; ++c) sum[m][c] = apart ? V{} : sums[(c / G * R + m) * G + c % G];
    for (Size k = 0; k < K; ++k, columns += G * W) {
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
            V weight[G];
#pragma GCC unroll 3
            for (int g = 0; g < G; ++g) weight[g] = load(columns + p * panel + g * W);
#pragma GCC unroll 8
            for (int m = 0; m < R; ++m)
#pragma GCC unroll 3
                for (int g = 0; g < G; ++g)
                    sum[m][p * G + g] = multiply_add(all(a(m, k, p, g)), weight[g], sum[m][p * G + g]);
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 12
        for (int c = 0; c < P * G; ++c)
            sums[(c / G * R + m) * G + c % G] =
                apart ? sums[(c / G * R + m) * G + c % G] + sum[m][c] : sum[m][c];
}

/// Not `= {}`, which becomes a slow `rep stos`.
template <int N>
GRUS_INLINE void clear_sums(V (&sums)[N]) {
#pragma GCC unroll 48
    for (int i = 0; i < N; ++i) sums[i] = V{};
}

/// One vector with lanes past the last column; on its own, because it is rare and there is much of it.
template <class Job>
__attribute__((noinline)) void finish_part(const Job& job, const typename Job::Row& row, Size column, V sum) {
    job.template finish_vector<false>(row, column, sum);
}

/// The end of a block, of all its rows at once or vector by vector.
template <int R, int P, int G, bool whole, class Job>
GRUS_INLINE void finish(const Job& job, const typename Job::Row* rows, Size p, const V* sums) {
    if constexpr (!Job::by_vector) {
        job.template finish<R, P, G, whole>(rows, p, sums);
    } else {
#pragma GCC unroll 1  // the processor overlaps what the compiler would only write out
        for (int c = 0; c < R * P * G; ++c) {
            const Size column = job.panels.first_column(p + c / (R * G)) + c % G * W;
            const auto& row = rows[c / G % R];
            if constexpr (whole) {
                job.template finish_vector<true>(row, column, sums[c]);
            } else {
                finish_part(job, row, column, sums[c]);
            }
        }
    }
}

/// Where a block is not full; on its own, because that is rare.
template <int G, bool whole, class Job>
__attribute__((noinline)) void finish_row(const Job& job, const typename Job::Row* row, Size p,
                                          const V* sums) {
    finish<1, 1, G, whole>(job, row, p, sums);
}

/// The sums of a job whose numbers are one chain of k each.
template <int R, int P, int G, bool whole, class Job>
GRUS_INLINE void multiply(const Job& job, const typename Job::Row* rows, Size p, V (&sums)[R * P * G]) {
    for (int m = 0; m < R; ++m)
        for (int i = 0; i < P; ++i) job.template start<G, whole>(rows[m], p + i, sums + (i * R + m) * G);
    const Real* columns = job.columns + job.panels.offset(p);
    const Size size = job.panels.size(p), K = job.panels.K;
    if constexpr (requires { job.apart; })
        if (job.apart) {
            RowsOfEach<R> numbers{{}, job.apart};
            for (int m = 0; m < R; ++m) numbers.at[m] = job.at(rows[m]);
            if constexpr (R == 1 || P == 1) return add_product<R, P, G>(sums, numbers, columns, size, K);
            for (int i = 0; i < P; ++i)  // for more at once there are too few registers
                add_product<R, 1, G>(sums + i * R * G, numbers, columns + i * size, size, K);
            return;
        }
    Rows<R> numbers;
    for (int m = 0; m < R; ++m) numbers.at[m] = job.at(rows[m]);
    add_product<R, P, G>(sums, numbers, columns, size, K);
}

/// The same of a job whose sums are made of `parts`, each a chain from zero.
template <int R, int P, int G, bool whole, class Job>
GRUS_INLINE void multiply_parts(const Job& job, const typename Job::Row* rows, Size p, V (&sums)[R * P * G]) {
    const Size K = job.panels.K / job.parts;
    const Real* columns = job.columns + job.panels.offset(p);
#pragma GCC unroll 1
    for (int i = 0; i < job.parts; ++i, columns += K * G * W) {
        Rows<R> numbers;
        for (int m = 0; m < R; ++m) numbers.at[m] = job.at(rows[m], i);
        if (!job.weighs) {
            add_product<R, P, G, true>(sums, numbers, columns, job.panels.size(p), K);
            continue;
        }
        V part[R * P * G];
        clear_sums(part);
        add_product<R, P, G, true>(part, numbers, columns, job.panels.size(p), K);
        job.template add<R, P, G, whole>(rows, p, i, part, sums);
    }
}

/// A row that is alone has its parts side by side: one chain after the other would leave the processor
/// waiting.
template <int parts, int G, bool whole, class Job>
GRUS_INLINE void multiply_parts_of_row(const Job& job, const typename Job::Row* row, Size p, V (&sums)[G]) {
    const Size K = job.panels.K / parts;
    V each[parts * G];
    clear_sums(each);
    PartsOfRow<parts> numbers;
    for (int i = 0; i < parts; ++i) numbers.at[i] = job.at(*row, i);
    add_product<1, parts, G>(each, numbers, job.columns + job.panels.offset(p), K * G * W, K);
    for (int i = 0; i < parts; ++i)
        if (job.weighs) {
            job.template add<1, 1, G, whole>(row, p, i, each + i * G, sums);
        } else {
            for (int v = 0; v < G; ++v) sums[v] += each[i * G + v];
        }
}

template <int R, class Row>
GRUS_INLINE bool all_idle(const Row* rows) {
    bool idle = true;
    for (int m = 0; m < R; ++m) idle = idle && rows[m].idle;
    return idle;
}

/// One block of a job: start values, product, and what the job does with the sums.
///
/// A job is: `panels`, `columns` (packed), and of its rows a structure `Row`. `locate(first, count, rows)`
/// fills in `count` of them; `at(row)` is where a row's numbers are, for each vector of a panel `apart` from
/// each other if the job says so; `row.idle` is true where the end does not need their sums. `start<G,
/// whole>(row, p, sums)` gives a row's sums of panel p their first values. A job `by_vector` ends with
/// `finish_vector<whole>(row, column, sum)` for each, another one with `finish<R, P, G, whole>(rows, p,
/// sums)` for a block: all its rows at once, so that their long chains of operations overlap. `whole`: no
/// lane is past the last column. A job in `parts` has their number, `at(row, part)` and, where it `weighs`
/// them, `add<R, P, G, whole>(rows, p, part, sums, totals)`.
///
/// @param rows  R of them, those past `count` like the last one
template <int R, int P, int G, bool whole, class Job>
void run_block(const Job& job, const typename Job::Row* rows, Size count, Size p) {
    V sums[R * P * G];
    if (all_idle<R>(rows)) {
        clear_sums(sums);
    } else if constexpr (requires { job.parts; }) {
        for (int m = 0; m < R; ++m)
            for (int i = 0; i < P; ++i) job.template start<G, whole>(rows[m], p + i, sums + (i * R + m) * G);
        if constexpr (R * P > 1) {
            multiply_parts<R, P, G, whole>(job, rows, p, sums);
        } else if (job.parts == 3) {
            multiply_parts_of_row<3, G, whole>(job, rows, p, sums);
        } else {
            multiply_parts_of_row<2, G, whole>(job, rows, p, sums);
        }
    } else {
        multiply<R, P, G, whole>(job, rows, p, sums);
    }
    if (count >= R) return finish<R, P, G, whole>(job, rows, p, sums);
    for (int i = 0; i < P; ++i)
        for (Size m = 0; m < count; ++m) finish_row<G, whole>(job, rows + m, p + i, sums + (i * R + m) * G);
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

/// One vector of each of two panels, where the rows have numbers of their own for it: taken one after the
/// other the vectors need fewer loads than all of a panel's at once.
///
/// @param sums  [2][R][G], of which number g is taken
template <int R, int G>
__attribute__((noinline)) void add_product_of_one(V* __restrict sums, const Rows<R>& a,
                                                  const Real* __restrict columns, Size panel, Size K) {
    V sum[2][R];
#pragma GCC unroll 16
    for (int i = 0; i < 2 * R; ++i) sum[i / R][i % R] = sums[i * G];
    for (Size k = 0; k < K; ++k, columns += G * W) {
        const V weight[] = {load(columns), load(columns + panel)};
#pragma GCC unroll 8
        for (int m = 0; m < R; ++m) {
            const V value = all(a.at[m][k]);
            sum[0][m] = multiply_add(value, weight[0], sum[0][m]);
            sum[1][m] = multiply_add(value, weight[1], sum[1][m]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < 2 * R; ++i) sums[i * G] = sum[i / R][i % R];
}

/// The sums of two panels of a block. Where the rows hold numbers of their own for each vector of a panel,
/// these are taken one by one.
template <int G, bool whole, class Job>
GRUS_INLINE void multiply_pair(const Job& job, const typename Job::Row* rows, Size p, V* sums) {
    constexpr int R = block_rows;
    Rows<R> numbers;
    for (int m = 0; m < R; ++m) {
        numbers.at[m] = job.at(rows[m]);
        for (int i = 0; i < 2; ++i) job.template start<G, whole>(rows[m], p + i, sums + (i * R + m) * G);
    }
    const Real* columns = job.columns + job.panels.offset(p);
    const Size size = job.panels.size(p), K = job.panels.K;
    for (int i = 0; i < 2 && !job.apart; ++i)
        add_product<R, 1, G>(sums + i * R * G, numbers, columns + i * size, size, K);
    for (int g = 0; g < G && job.apart; ++g) {
        add_product_of_one<R, G>(sums + g, numbers, columns + g * W, size, K);
        for (int m = 0; m < R; ++m) numbers.at[m] += job.apart;
    }
}

/// Two panels, no lane past the last column, of a block of rows: their ends together are long enough to keep
/// the processor busy.
template <int G, class Job>
void run_pair(const Job& job, const typename Job::Row* rows, Size count, Size p) {
    constexpr int R = block_rows;
    constexpr bool whole = !is_compact<Job>;
    V sums[2 * R * G];
    if (all_idle<R>(rows)) {
        clear_sums(sums);
    } else {
        multiply_pair<G, whole>(job, rows, p, sums);
    }
    if (count >= R) return finish<R, 2, G, whole>(job, rows, p, sums);
    for (int i = 0; i < 2; ++i)
        for (Size m = 0; m < count; ++m) finish_row<G, whole>(job, rows + m, p + i, sums + (i * R + m) * G);
}

/// Rows that so many take when the last block is filled.
GRUS_INLINE Size filled(Size count) {
    const Size rest = count % block_rows, blocked = count - rest;
    return rest > half_rows ? blocked + block_rows : rest > 1 ? blocked + half_rows : count;
}

/// Some rows times every panel in `panels`; a panel is used for all rows while it is in the cache.
template <class Job>
void run_rows(const Job& job, const typename Job::Row* rows, Size count, Range panels) {
    const Size rest = count % block_rows, blocked = rest > half_rows ? count : count - rest;
    Size p = panels.first;
    if constexpr (requires { job.apart; })
        for (; p + 2 <= panels.last && job.panels.whole(p + 1); p += 2)
            for (Size m = 0; m < blocked; m += block_rows)
                run_pair<std::remove_cvref_t<decltype(job.panels)>::fixed_width>(
                    job, rows + m, least(block_rows, count - m), p);
    for (; p < panels.last && blocked > 0; ++p)
        for (Size m = 0; m < blocked; m += block_rows)
            run_block<block_rows, 1>(job, rows + m, least(block_rows, count - m), p);
    if (blocked == count) return;
    if (rest > 1) {
        run_few_rows<half_rows, 2>(job, rows + blocked, rest, panels);
    } else if constexpr (requires { job.parts; }) {
        run_few_rows<1, 1>(job, rows + blocked, rest, panels);  // its parts are sums enough
    } else {
        run_few_rows<1, 4>(job, rows + blocked, rest, panels);
    }
}

/// Every row in `rows` times every panel in `panels`. What a row needs is looked up once for all panels.
template <class Job>
void run(const Job& job, Range rows, Range panels) {
    typename Job::Row located[most_located + block_rows];
    for (Size first = rows.first; first < rows.last; first += most_located) {
        const Size count = least(most_located, rows.last - first);
        job.locate(first, count, located);
        for (Size m = count; m < filled(count); ++m) located[m] = located[count - 1];
        run_rows(job, located, count, panels);
    }
}

}  // namespace
}  // namespace grus
