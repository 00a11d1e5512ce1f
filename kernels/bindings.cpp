/// @file The module `grus._core`: names and types only. Python has checked what arrives here.

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "bindings_gru.hpp"
#include "bindings_masks.hpp"
#include "bindings_memory.hpp"
#include "bindings_session.hpp"
#include "cgroup.hpp"
#include "cpu_info.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

nb::dict cpu_info_dict() {
    const grus::CpuInfo info = grus::cpu_info();
    nb::dict result;
    result["architecture"] = info.architecture;
    result["brand"] = info.brand;
    result["instruction_sets"] = info.instruction_sets;
    result["cores_online"] = info.cores_online;
    result["cores_affinity"] = info.cores_affinity;
    result["cgroup_quota"] = info.cgroup_quota;
    result["threads"] = info.threads;
    return result;
}

}  // namespace

NB_MODULE(_core, m) {
    bind_gru(m);
    bind_masks(m);
    bind_memory(m);
    bind_session(m);
    m.def("cpu_info", &cpu_info_dict, "What this machine offers this process; read afresh at each call.");
    // For the tests, which cannot change the limits of the machine they run on.
    m.def("parse_cpu_max", &grus::parse_cpu_max, "text"_a);
    m.def("cgroup_quota", &grus::cgroup_quota, "proc"_a);
    m.def("default_threads", &grus::default_threads, "cores_affinity"_a, "cgroup_quota"_a.none());
}
