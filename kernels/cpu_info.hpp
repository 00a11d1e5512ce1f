#pragma once

/// @file What this machine offers a process: instruction sets, cores, and how many threads to start.

#include <optional>
#include <string>
#include <vector>

namespace grus {

struct CpuInfo {
    std::string architecture;                   ///< "x86_64", "aarch64" or "other"
    std::string brand;                          ///< the maker's name for the processor; empty when not told
    std::vector<std::string> instruction_sets;  ///< best first: "x86-64-v4", "x86-64-v3", "x86-64-v2"; "neon"
    int cores_online;                           ///< logical cores that run
    int cores_affinity;                         ///< those of them this process may use
    std::optional<double> cgroup_quota;         ///< processor time allowed, in cores; none when unlimited
    int threads;                                ///< the default thread count that follows
};

CpuInfo cpu_info();

/// @brief The whole cores both limits leave, at least one.
int default_threads(int cores_affinity, std::optional<double> cgroup_quota);

}  // namespace grus
