/// @file Random problems on every instruction set that is named: any number of threads, either split, with
/// and without a workspace, from several threads at once and step by step in a session give the same bits,
/// and each set gives what the others give. Linked with the core, built with and without sanitizers;
/// `tests/test_sanitizers.py` builds and runs it.
///
///     random_problems SEED COUNT TOLERANCE_FLOAT TOLERANCE_DOUBLE INSTRUCTION_SET...

#include <cmath>
#include <cstdlib>
#include <functional>
#include <thread>

#include "dispatch.hpp"
#include "problem.hpp"
#include "session.hpp"
#include "threads.hpp"

namespace {

using namespace grus;
using namespace grus::tests;

std::string now;  // what runs, for the message

[[noreturn]] void fail(const std::string& what) {
    std::printf("FAILED: %s\n  %s\n", what.c_str(), now.c_str());
    std::exit(1);
}

/// Forward and backward through the front door, which chooses threads and scratch; `kept`: with a workspace.
template <class Real>
std::vector<std::vector<Real>> run(const Problem<Real>& problem, bool kept = true) {
    const Results<Real> results(problem.shape);
    grus::run(problem.forward(results, kept));
    grus::run(problem.backward(results, kept));
    if (!results.states.gaps_untouched() || !results.dx.gaps_untouched())
        fail("a number between the rows was written");
    return results.values();
}

/// The problem twice in one call, which may give each a thread of its own.
template <class Real>
std::vector<std::vector<Real>> run_twice(const Problem<Real>& problem) {
    const Results<Real> results(problem.shape), other(problem.shape);
    grus::run(problem.forward(results, true), problem.forward(other, true));
    grus::run(problem.backward(results, true), problem.backward(other, true));
    return other.values();
}

/// A kernel on `count` threads of our own.
void on_threads(int count, bool split_rows, const std::function<void(const Worker&)>& work) {
    Barrier barrier(count);
    std::vector<std::thread> threads;
    const auto worker = [&](int index) {
        return Worker{index, count, split_rows, count > 1 ? &barrier : nullptr};
    };
    for (int index = 1; index < count; ++index) threads.emplace_back([&, index] { work(worker(index)); });
    work(worker(0));
    for (std::thread& thread : threads) thread.join();
}

/// The same by the table, so that any split can be had and the scratch has exactly the size asked for.
template <class Real>
std::vector<std::vector<Real>> run_directly(const Problem<Real>& problem, int count, bool split_rows) {
    const Kernels<Real>& table = kernels<Real>();
    const Results<Real> results(problem.shape);
    const auto forward = problem.forward(results, true);
    const Scratch<Real> forward_scratch(table.forward_scratch(forward));
    on_threads(count, split_rows,
               [&](const Worker& worker) { table.forward(forward, forward_scratch.get(), worker); });
    const auto backward = problem.backward(results, true);
    const Scratch<Real> backward_scratch(table.backward_scratch(backward, count));
    on_threads(count, split_rows,
               [&](const Worker& worker) { table.backward(backward, backward_scratch.get(), worker); });
    return results.values();
}

template <class Real>
void expect_same_bits(const std::vector<std::vector<Real>>& found,
                      const std::vector<std::vector<Real>>& expected, const std::string& how) {
    for (std::size_t i = 0; i < found.size(); ++i)
        if (found[i].size() != expected[i].size() ||
            !std::equal(found[i].begin(), found[i].end(), expected[i].begin(), same_bits<Real>))
            fail(std::string(Results<Real>::names[i]) + " has other bits " + how);
}

template <class Real>
void expect_finite(const std::vector<std::vector<Real>>& values) {
    for (std::size_t i = 0; i < values.size(); ++i)
        for (const Real value : values[i])
            if (!std::isfinite(value)) fail(std::string(Results<Real>::names[i]) + " is not finite");
}

/// |a - b| / |b| in the 2-norm, of each array that `count` says.
template <class Real>
void expect_close(const std::vector<std::vector<Real>>& found, const std::vector<std::vector<Real>>& expected,
                  std::size_t count, double tolerance) {
    for (std::size_t i = 0; i < count; ++i) {
        double difference = 0, scale = 0;
        for (std::size_t k = 0; k < found[i].size(); ++k) {
            difference += std::pow(static_cast<double>(found[i][k]) - expected[i][k], 2);
            scale += std::pow(static_cast<double>(expected[i][k]), 2);
        }
        const double error = std::sqrt(difference), floor = std::numeric_limits<Real>::min() * 1e6;
        if (error > tolerance * (std::sqrt(scale) + floor))
            fail(std::string(Results<Real>::names[i]) + " is not what the set before gives: relative error " +
                 std::to_string(error / std::sqrt(scale)));
    }
}

/// The problem step by step in a session, where a step's arguments do not say more than a session is given.
template <class Real>
void check_session(const Problem<Real>& problem, const std::vector<Real>& states) {
    const Shape& shape = problem.shape;
    const Results<Real> results(shape);
    Layer<Real> layer = problem.forward(results, false).layer;
    const auto [T, B, I, H] = layer.sizes;
    if (shape.reverse || shape.masked || shape.resets || shape.leaves || B * H == 0) return;
    const auto x = layer.x, decay = layer.decay;
    const Block<Real> halves(2 * B * H, untouched<Real>()), factors(B * H, untouched<Real>());
    std::copy_n(layer.h0, B * H, halves.data());
    layer.sizes.T = 1;
    Session<Real> session({layer}, halves.data());
    for (Size t = 0; t < T; ++t) {
        if (decay.data)
            for (Size b = 0; b < B; ++b)
                std::copy_n(decay.data + t * decay.step + b * decay.row, H, factors.data() + b * H);
        session.step({x.data + t * x.step, x.step, x.row}, decay.data ? factors.data() : nullptr);
        const Real* now = halves.data() + session.half() * B * H;
        if (!std::equal(now, now + B * H, states.begin() + t * B * H, same_bits<Real>))
            fail("step " + std::to_string(t) + " of a session has other bits");
    }
}

/// Everything one problem promises on the instruction set in use; returns its results.
template <class Real>
std::vector<std::vector<Real>> check(const Problem<Real>& problem, Random& random) {
    set_num_threads(1);
    const auto expected = run(problem);
    expect_finite(expected);
    expect_same_bits(run(problem, false), expected, "without a workspace");
    check_session(problem, expected[0]);
    for (const int threads : {2 + static_cast<int>(random.below(2)), 4 + static_cast<int>(random.below(2))}) {
        set_num_threads(threads);
        expect_same_bits(run(problem), expected, "on " + std::to_string(threads) + " threads");
        expect_same_bits(run(problem, false), expected, "without a workspace on several threads");
        expect_same_bits(run_twice(problem), expected, "beside another call");
    }
    for (const bool split_rows : {true, false}) {
        const int count = 1 + static_cast<int>(random.below(5));
        expect_same_bits(run_directly(problem, count, split_rows), expected,
                         "split over " + std::to_string(count) + (split_rows ? " by rows" : " by units"));
    }
    return expected;
}

template <class Real>
void check_sets(const Shape& shape, Random& random, const std::vector<std::string>& sets, double tolerance) {
    const Problem<Real> problem(shape, random);
    std::vector<std::vector<Real>> before;
    for (const std::string& set : sets) {
        now = set + (sizeof(Real) == 4 ? " float " : " double ") + shape.text();
        if (!use_instruction_set(set)) fail("this machine has no such instruction set");
        const auto found = check(problem, random);
        // a kink lets a last bit of float decide about a gradient, so there only the states are compared
        const std::size_t compared = shape.has_kinks() && sizeof(Real) == 4 ? 1 : found.size();
        if (!before.empty()) expect_close(found, before, compared, tolerance);
        before = found;
    }
}

/// Calls from several threads at once, of which one has the pool and the others run alone.
void check_callers(Random& random) {
    constexpr int callers = 4;
    now = "several callers at once";
    std::vector<Problem<float>> problems;
    std::vector<std::vector<std::vector<float>>> expected;
    set_num_threads(1);
    for (int i = 0; i < callers; ++i) {
        Shape shape = random_shape(random);
        shape.sizes = {5 + random.below(5), 17 + random.below(20), 20, 40 + random.below(30)};
        if (shape.form.blocks > 1) shape.form.blocks = random_divisor(random, shape.sizes.H);
        problems.emplace_back(shape, random);
        expected.push_back(run(problems.back()));
    }
    set_num_threads(3);
    std::vector<std::thread> threads;
    for (int i = 0; i < callers; ++i)
        threads.emplace_back([&, i] {
            for (int turn = 0; turn < 4; ++turn) {  // each problem is shared by all the callers in turn
                const std::size_t which = static_cast<std::size_t>(i + turn) % callers;
                expect_same_bits(run(problems[which]), expected[which], "while others call");
            }
        });
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 6) {
        std::puts("random_problems SEED COUNT TOLERANCE_FLOAT TOLERANCE_DOUBLE INSTRUCTION_SET...");
        return 2;
    }
    Random random(std::strtoull(arguments[1], nullptr, 10));
    const int problems = std::atoi(arguments[2]);
    const double tolerance_float = std::atof(arguments[3]), tolerance_double = std::atof(arguments[4]);
    const std::vector<std::string> sets(arguments + 5, arguments + count);
    for (int i = 0; i < problems; ++i) {
        const Shape shape = random_shape(random);
        std::printf("problem %d: %s\n", i, shape.text().c_str());
        std::fflush(stdout);  // the last line tells what ran when a sanitizer ended the process
        check_sets<float>(shape, random, sets, tolerance_float);
        check_sets<double>(shape, random, sets, tolerance_double);
        if (i % 16 == 0) check_callers(random);
    }
    std::printf("%d problems passed\n", problems);
}
