#include "dispatch.hpp"

#include <algorithm>
#include <atomic>

#include "cpu_info.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace grus {

// One per unit that CMake compiled kernels.cpp into.
#define GRUS_DECLARE(set)                  \
    extern const Kernels<float> set##_f32; \
    extern const Kernels<double> set##_f64;
#if defined(GRUS_HAS_X86_64)
GRUS_DECLARE(x86_64_v4)
GRUS_DECLARE(x86_64_v3)
GRUS_DECLARE(x86_64_v2)
#elif defined(GRUS_HAS_NEON)
GRUS_DECLARE(neon)
#endif

namespace {

struct InstructionSet {
    const char* name;
    const Kernels<float>* f32;
    const Kernels<double>* f64;
};

const std::vector<InstructionSet> compiled = {
#if defined(GRUS_HAS_X86_64)
    {"x86-64-v4", &x86_64_v4_f32, &x86_64_v4_f64},
    {"x86-64-v3", &x86_64_v3_f32, &x86_64_v3_f64},
    {"x86-64-v2", &x86_64_v2_f32, &x86_64_v2_f64},
#elif defined(GRUS_HAS_NEON)
    {"neon", &neon_f32, &neon_f64},
#endif
};

std::atomic<const InstructionSet*> in_use{nullptr};

std::vector<const InstructionSet*> available() {
    const std::vector<std::string> names = cpu_info().instruction_sets;
    std::vector<const InstructionSet*> result;
    for (const InstructionSet& set : compiled)
        if (std::find(names.begin(), names.end(), set.name) != names.end()) result.push_back(&set);
    return result;
}

const InstructionSet* current() {
    const InstructionSet* set = in_use.load(std::memory_order_relaxed);
    if (set) return set;
    const auto sets = available();
    if (sets.empty()) return nullptr;
    in_use.store(sets.front(), std::memory_order_relaxed);
    return sets.front();
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
    return *current()->f32;
}
template <>
const Kernels<double>& kernels<double>() {
    return *current()->f64;
}

namespace {

/// How a call is shared out.
struct Plan {
    int workers;
    bool split_rows;
};

constexpr double worth_a_thread = 4e5;   // operations: a few times what it takes to wake one
constexpr double worth_a_meeting = 4e4;  // of a worker in one step: a few barriers' time

/// @param flops  of the whole call
Plan plan_for(const Sizes& sizes, Size rows, Size lanes, double flops) {
    const int limit = static_cast<int>(std::min<double>(num_threads(), 1 + flops / worth_a_thread));
    const int by_rows = static_cast<int>(std::min<Size>(limit, (sizes.B + rows - 1) / rows));
    const double step = 6.0 * static_cast<double>(sizes.B * sizes.H * sizes.H);
    const Size panels = (sizes.H + 3 * lanes - 1) / (3 * lanes);
    const int by_units = static_cast<int>(
        std::min({static_cast<double>(limit), static_cast<double>(panels), step / worth_a_meeting}));
    if (by_units > by_rows) return {by_units, false};
    return {std::max(by_rows, 1), true};
}

/// What run_call needs to know of forward and of backward.
template <class Real>
Size scratch_size(const Forward<Real>& problem, int) {
    return kernels<Real>().forward_scratch(problem);
}
template <class Real>
Size scratch_size(const Backward<Real>& problem, int workers) {
    return kernels<Real>().backward_scratch(problem, workers);
}
template <class Real>
void work(const Forward<Real>& problem, Real* scratch, const Worker& worker) {
    kernels<Real>().forward(problem, scratch, worker);
}
template <class Real>
void work(const Backward<Real>& problem, Real* scratch, const Worker& worker) {
    kernels<Real>().backward(problem, scratch, worker);
}
template <class Real>
double passes(const Forward<Real>&) {
    return 1;
}
template <class Real>
double passes(const Backward<Real>&) {
    return 2;
}

template <class Problem>
double flops_of(const Problem& problem) {
    const auto [T, B, I, H] = problem.layer.sizes;
    return passes(problem) * 6.0 * static_cast<double>(T * B) * static_cast<double>(H * (I + H));
}

template <class Real, class Problem>
Plan plan_for(const Problem& problem) {
    return plan_for(problem.layer.sizes, kernels<Real>().rows, kernels<Real>().lanes, flops_of(problem));
}

/// The workers of one call.
template <class Real, class Problem>
void run_shared(const Problem& problem) {
    const Plan plan = plan_for<Real>(problem);
    Team team(plan.workers);
    const Block scratch(static_cast<std::size_t>(scratch_size(problem, team.size())) * sizeof(Real));
    Barrier barrier(team.size());
    auto one = [&](int index) {
        work(problem, static_cast<Real*>(scratch.data()),
             {index, team.size(), plan.split_rows, team.size() > 1 ? &barrier : nullptr});
    };
    team.run([](void* context, int index) { (*static_cast<decltype(one)*>(context))(index); }, &one);
}

template <class Real, class Problem>
void run_beside(const Problem& problem, const Problem& other) {
    const Plan plan = plan_for<Real>(problem);
    const bool rows_are_enough = plan.split_rows && plan.workers >= std::min(num_threads(), 2);
    if (rows_are_enough || flops_of(problem) < worth_a_thread || num_threads() > 2 * plan.workers) {
        run_shared<Real>(problem);
        return run_shared<Real>(other);
    }
    const Problem* const both[] = {&problem, &other};
    const Size size = std::max(scratch_size(problem, 1), scratch_size(other, 1)) + 64 / sizeof(Real);
    const Size aligned = size / (64 / sizeof(Real)) * (64 / sizeof(Real));
    const Block scratch(static_cast<std::size_t>(2 * aligned) * sizeof(Real));
    Team team(2);
    auto some = [&](int index) {
        for (int i = index; i < 2; i += team.size())
            work(*both[i], static_cast<Real*>(scratch.data()) + i * aligned, {0, 1, true, nullptr});
    };
    team.run([](void* context, int index) { (*static_cast<decltype(some)*>(context))(index); }, &some);
}

}  // namespace

std::vector<std::string> available_instruction_sets() {
    std::vector<std::string> names;
    for (const InstructionSet* set : available()) names.emplace_back(set->name);
    return names;
}

std::string instruction_set() { return current() ? current()->name : ""; }

bool use_instruction_set(const std::string& name) {
    for (const InstructionSet* set : available())
        if (set->name == name) {
            in_use.store(set, std::memory_order_relaxed);
            return true;
        }
    return false;
}

template <class Real>
void run(const Forward<Real>& problem) {
    run_shared<Real>(problem);
}
template <class Real>
void run(const Backward<Real>& problem) {
    run_shared<Real>(problem);
}
template <class Real>
void run(const Forward<Real>& problem, const Forward<Real>& other) {
    run_beside<Real>(problem, other);
}
template <class Real>
void run(const Backward<Real>& problem, const Backward<Real>& other) {
    run_beside<Real>(problem, other);
}

template void run(const Forward<float>&);
template void run(const Forward<double>&);
template void run(const Backward<float>&);
template void run(const Backward<double>&);
template void run(const Forward<float>&, const Forward<float>&);
template void run(const Forward<double>&, const Forward<double>&);
template void run(const Backward<float>&, const Backward<float>&);
template void run(const Backward<double>&, const Backward<double>&);

}  // namespace grus
