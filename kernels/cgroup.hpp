#pragma once

/// @file How much processor time the control groups of Linux allow this process.

#include <filesystem>
#include <optional>
#include <string_view>

namespace grus {

/// @brief "200000 100000" (quota and period, microseconds) -> 2.0 cores; no value when unlimited or
/// malformed. Reads the text of v2's `cpu.max`, and v1's two files when joined by a space.
std::optional<double> parse_cpu_max(std::string_view text);

/// @brief The smallest quota, in cores, on the path from this process's control group up to the mount.
/// @param proc  holds `cgroup` and `mountinfo`; "/proc/self" but in tests. No value when nothing limits it.
std::optional<double> cgroup_quota(const std::filesystem::path& proc = "/proc/self");

}  // namespace grus
