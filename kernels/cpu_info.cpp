#include "cpu_info.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <thread>

#include "cgroup.hpp"

#if defined(__x86_64__) || defined(_M_X64)
#define GRUS_X86_64
#elif defined(__aarch64__) || defined(_M_ARM64)
#define GRUS_AARCH64
#endif

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(GRUS_X86_64) && defined(_MSC_VER)
#include <intrin.h>
#elif defined(GRUS_X86_64)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

namespace grus {
namespace {

// ---- instruction sets and brand ----

#if defined(GRUS_X86_64)

struct Registers {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// All zero for a leaf the processor does not have.
Registers cpuid(std::uint32_t leaf) {
    Registers r;
#if defined(_MSC_VER)
    std::array<int, 4> words{};
    __cpuid(words.data(), static_cast<int>(leaf & 0x80000000u));
    if (static_cast<std::uint32_t>(words[0]) < leaf) return r;
    __cpuidex(words.data(), static_cast<int>(leaf), 0);
    std::memcpy(&r, words.data(), sizeof r);
#else
    __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
    return r;
}

/// The register states that the operating system saves: without them a wide register loses its upper half.
std::uint64_t saved_states() {
    constexpr std::uint32_t osxsave = 1u << 27;
    if (!(cpuid(1).ecx & osxsave)) return 0;
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    std::uint32_t low,
        high;  // GCC's and Clang's intrinsic would need -mxsave, which the baseline must not have
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

constexpr std::uint64_t bits(std::initializer_list<int> positions) {
    std::uint64_t mask = 0;
    for (const int position : positions) mask |= std::uint64_t{1} << position;
    return mask;
}

/// What a level of the x86-64 psABI adds to the one below, as bits of three cpuid registers and of XCR0.
struct Level {
    const char* name;
    std::uint64_t leaf1_ecx, leaf7_ebx, extended_ecx, states;
};

constexpr std::array<Level, 3> levels{{
    // sse3 ssse3 cmpxchg16b sse4.1 sse4.2 popcnt | - | lahf
    {"x86-64-v2", bits({0, 9, 13, 19, 20, 23}), 0, bits({0}), 0},
    // fma movbe avx f16c | bmi1 avx2 bmi2 | lzcnt | xmm ymm
    {"x86-64-v3", bits({12, 22, 28, 29}), bits({3, 5, 8}), bits({5}), bits({1, 2})},
    // - | avx512 f dq cd bw vl | - | xmm ymm opmask zmm. macOS turns zmm on at first use only, so v3 serves
    // there.
    {"x86-64-v4", 0, bits({16, 17, 28, 30, 31}), 0, bits({1, 2, 5, 6, 7})},
}};

std::vector<std::string> instruction_sets() {
    const std::uint64_t leaf1_ecx = cpuid(1).ecx, leaf7_ebx = cpuid(7).ebx,
                        extended_ecx = cpuid(0x80000001u).ecx;
    const std::uint64_t states = saved_states();
    const auto has = [](std::uint64_t found, std::uint64_t needed) { return (found & needed) == needed; };
    std::vector<std::string> names;
    for (const Level& level : levels) {  // lowest first; a level without the one below does not count
        if (!has(leaf1_ecx, level.leaf1_ecx) || !has(leaf7_ebx, level.leaf7_ebx)) break;
        if (!has(extended_ecx, level.extended_ecx) || !has(states, level.states)) break;
        names.insert(names.begin(), level.name);
    }
    return names;
}

std::string brand() {
    std::array<char, 49> text{};  // three leaves of 16 bytes and a terminator
    for (std::uint32_t i = 0; i < 3; ++i) {
        const Registers r = cpuid(0x80000002u + i);
        std::memcpy(text.data() + 16 * i, &r, 16);
    }
    return text.data();
}

#else

std::vector<std::string> instruction_sets() {
#if defined(GRUS_AARCH64)
    return {"neon"};  // part of every 64-bit ARM
#else
    return {};
#endif
}

std::string brand() {
#if defined(__APPLE__)
    std::array<char, 256> text{};
    std::size_t size = text.size() - 1;
    sysctlbyname("machdep.cpu.brand_string", text.data(), &size, nullptr, 0);
    return text.data();
#else
    std::ifstream file("/proc/cpuinfo");  // elsewhere than on Linux there is none, and the brand stays empty
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("model name") || line.starts_with("Model"))
            return line.substr(line.find(':') + 1);
    }
    return {};
#endif
}

#endif

std::string trimmed(const std::string& text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

const char* architecture() {
#if defined(GRUS_X86_64)
    return "x86_64";
#elif defined(GRUS_AARCH64)
    return "aarch64";
#else
    return "other";
#endif
}

// ---- cores ----

int cores_online() {
#if defined(_WIN32)
    return static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
#elif defined(__linux__)
    return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
#else
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

/// `fallback` where processes cannot be tied to cores (macOS).
int cores_affinity([[maybe_unused]] int fallback) {
#if defined(__linux__)
    for (int capacity = 1024; capacity <= 1 << 20;
         capacity *= 2) {  // the kernel refuses a set that is too small
        cpu_set_t* set = CPU_ALLOC(capacity);
        const std::size_t size = CPU_ALLOC_SIZE(capacity);
        const bool fits = sched_getaffinity(0, size, set) == 0;
        const int count = fits ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (fits) return count;
    }
#elif defined(_WIN32)
    DWORD_PTR process = 0, system = 0;
    // Both masks are of one group of at most 64 cores; a process over several groups gets zeros, and all
    // cores.
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system) && process != system) {
        return std::popcount(static_cast<std::uint64_t>(process));
    }
#endif
    return fallback;
}

}  // namespace

int default_threads(int cores_affinity, std::optional<double> cgroup_quota) {
    // Rounded down: with more threads than the quota pays for, all are stopped for the rest of each period,
    // and those that wait at a barrier for a stopped one burn what is left.
    const double limit = cgroup_quota.value_or(cores_affinity);
    return std::max(1, std::min(cores_affinity, static_cast<int>(limit)));
}

CpuInfo cpu_info() {
    CpuInfo info;
    info.architecture = architecture();
    info.brand = trimmed(brand());
    info.instruction_sets = instruction_sets();
    info.cores_online = cores_online();
    info.cores_affinity = cores_affinity(info.cores_online);
    info.cgroup_quota = cgroup_quota();
    info.threads = default_threads(info.cores_affinity, info.cgroup_quota);
    return info;
}

}  // namespace grus
