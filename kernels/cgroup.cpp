#include "cgroup.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace grus {
namespace {

namespace fs = std::filesystem;

/// One line of mountinfo that mounts a hierarchy able to limit the processor.
struct Mount {
    fs::path root;   ///< the group that appears at `point`
    fs::path point;  ///< where it appears
    bool v2;
};

std::vector<std::string> lines_of(const fs::path& file) {
    std::vector<std::string> lines;
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

std::string first_line(const fs::path& file) {
    std::string line;
    std::ifstream stream(file);
    std::getline(stream, line);
    return line;
}

/// "cpu,cpuacct" names the controller "cpu", "cpuset" does not.
bool has_cpu(std::string_view names) {
    const std::string padded = "," + std::string(names) + ",";
    return padded.find(",cpu,") != std::string::npos;
}

/// A line reads `id parent dev root point options [optional ...] - type source super-options`.
std::optional<Mount> parse_mount(const std::string& line) {
    std::istringstream fields(line);
    std::string skipped, root, point, type, source, options;
    fields >> skipped >> skipped >> skipped >> root >> point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> type >> source >> options;
    if (type == "cgroup2") return Mount{root, point, true};
    if (type == "cgroup" && has_cpu(options)) return Mount{root, point, false};
    return std::nullopt;
}

/// The process's path within a hierarchy: `0::/path` is v2, `3:cpu,cpuacct:/path` is v1.
std::optional<fs::path> group_path(const std::vector<std::string>& groups, bool v2) {
    for (const std::string& line : groups) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string names = line.substr(first + 1, second - first - 1);
        if (v2 ? names.empty() : has_cpu(names)) return line.substr(second + 1);
    }
    return std::nullopt;
}

/// A container may see its own group as the mount's root, or paths that lead above it: then the mount point
/// is all that can be read.
fs::path directory_of(const Mount& mount, const fs::path& group) {
    const fs::path below = group.lexically_relative(mount.root);
    if (below.empty() || below == "." || *below.begin() == "..") return mount.point;
    return (mount.point / below).lexically_normal();
}

std::optional<double> quota_in(const fs::path& directory, bool v2) {
    if (v2) return parse_cpu_max(first_line(directory / "cpu.max"));
    return parse_cpu_max(first_line(directory / "cpu.cfs_quota_us") + " " +
                         first_line(directory / "cpu.cfs_period_us"));
}

std::optional<double> smaller(std::optional<double> a, std::optional<double> b) {
    return a && b ? std::min(a, b) : (a ? a : b);
}

/// A parent's limit binds its children too, so the smallest on the way up is the one in force.
std::optional<double> smallest_quota(const Mount& mount, const fs::path& group) {
    std::optional<double> quota;
    fs::path directory = directory_of(mount, group);
    while (true) {
        quota = smaller(quota, quota_in(directory, mount.v2));
        if (directory == mount.point || !directory.has_relative_path()) return quota;
        directory = directory.parent_path();
    }
}

}  // namespace

std::optional<double> parse_cpu_max(std::string_view text) {
    std::istringstream fields{std::string(text)};
    double quota = 0.0, period = 0.0;
    if (!(fields >> quota >> period) || quota <= 0.0 || period <= 0.0) return std::nullopt;
    return quota / period;
}

std::optional<double> cgroup_quota(const fs::path& proc) {
    const std::vector<std::string> groups = lines_of(proc / "cgroup");
    std::optional<double> quota;
    for (const std::string& line : lines_of(proc / "mountinfo")) {
        const auto mount = parse_mount(line);
        if (!mount) continue;
        if (const auto group = group_path(groups, mount->v2))
            quota = smaller(quota, smallest_quota(*mount, *group));
    }
    return quota;
}

}  // namespace grus
