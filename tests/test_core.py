"""The compiled module's account of the machine, against the operating system's own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from grus import _core

CPUINFO = Path("/proc/cpuinfo")
X86_64 = platform.machine().lower() in {"x86_64", "amd64"}

# The flags that Linux prints for each level of the x86-64 psABI (pni is SSE3, abm is LZCNT).
LEVEL_FLAGS = {
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}


def cpuinfo_field(name):
    fields = dict(line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
    return next(value.strip() for key, value in fields.items() if key.strip() == name)


def levels_from_flags(flags):
    found = []
    for level, needed in LEVEL_FLAGS.items():
        if not set(needed.split()) <= flags:
            break
        found.insert(0, level)
    return found


def test_the_keys_and_their_types():
    kinds = {name: type(value) for name, value in _core.cpu_info().items()}
    assert kinds.pop("cgroup_quota") in {float, type(None)}
    assert kinds == {
        "architecture": str,
        "brand": str,
        "instruction_sets": list,
        "cores_online": int,
        "cores_affinity": int,
        "threads": int,
    }


def test_architecture():
    names = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    assert _core.cpu_info()["architecture"] == names.get(platform.machine().lower(), "other")


@pytest.mark.skipif(not (CPUINFO.exists() and X86_64), reason="needs the flags that Linux prints on x86-64")
def test_instruction_sets_and_brand_are_those_linux_prints():
    info = _core.cpu_info()
    assert info["instruction_sets"] == levels_from_flags(set(cpuinfo_field("flags").split()))
    assert info["brand"] == cpuinfo_field("model name")


def test_cores():
    info = _core.cpu_info()
    assert info["cores_online"] == os.cpu_count()
    assert 1 <= info["threads"] <= info["cores_affinity"] <= info["cores_online"]


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no affinity to read"
)


@needs_affinity
def test_affinity_is_that_of_the_process():
    assert _core.cpu_info()["cores_affinity"] == len(os.sched_getaffinity(0))


@needs_affinity
def test_a_process_tied_to_one_core_starts_one_thread():
    one = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "from grus import _core; info = _core.cpu_info()\n"
        "print(info['cores_affinity'], info['threads'])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "1"]


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000", 0.5),
        ("150000 100000", 1.5),
        ("max 100000", None),
        ("-1 100000", None),  # how v1 says unlimited
        ("100000 0", None),
        ("100000", None),
        ("", None),
    ],
)
def test_parse_cpu_max(text, cores):
    assert _core.parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("affinity", "quota", "threads"), [(8, None, 8), (8, 2.0, 2), (8, 2.9, 2), (8, 0.5, 1), (2, 6.0, 2)]
)
def test_default_threads(affinity, quota, threads):
    assert _core.default_threads(affinity, quota) == threads


class FakeProc:
    """A ``/proc/self`` whose mounts lead into a temporary folder."""

    def __init__(self, folder):
        self.path = folder / "self"
        self.path.mkdir()
        self.folder = folder

    def groups(self, *lines):
        (self.path / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mounts(self, *mounts):
        """Each mount is (root, mount point in the folder, file system, its options)."""
        lines = [
            f"{number} 1 0:{number} {root} {(self.folder / point).as_posix()} rw shared:9 - {kind} none {options}"
            for number, (root, point, kind, options) in enumerate(mounts, start=20)
        ]
        (self.path / "mountinfo").write_text("\n".join(["19 1 0:19 / / rw - ext4 none rw", *lines]))

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path)


def test_v2_takes_the_smallest_quota_on_the_way_up(proc):
    proc.groups("0::/a/b/c")
    proc.mounts(("/", "sys", "cgroup2", "rw"))
    proc.write("sys/a/cpu.max", "150000 100000\n")
    proc.write("sys/a/b/cpu.max", "max 100000\n")
    proc.write("sys/a/b/c/cpu.max", "400000 100000\n")
    proc.write("cpu.max", "1000 100000\n")  # above the mount point: not a control group
    assert _core.cgroup_quota(proc.path) == 1.5


def test_v2_unlimited(proc):
    proc.groups("0::/a")
    proc.mounts(("/", "sys", "cgroup2", "rw"))
    proc.write("sys/a/cpu.max", "max 100000\n")
    assert _core.cgroup_quota(proc.path) is None


@pytest.mark.parametrize("names", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_v1(proc, names):
    proc.groups("5:cpuset:/elsewhere", f"3:{names}:/a", "0::/")
    proc.mounts(("/", "cpuset", "cgroup", "rw,cpuset"), ("/", "cpu", "cgroup", f"rw,{names}"))
    proc.write("cpu/a/cpu.cfs_quota_us", "250000\n")
    proc.write("cpu/a/cpu.cfs_period_us", "100000\n")
    proc.write("cpu/cpu.cfs_quota_us", "-1\n")
    proc.write("cpu/cpu.cfs_period_us", "100000\n")
    assert _core.cgroup_quota(proc.path) == 2.5


def test_both_versions_mounted_at_once(proc):
    proc.groups("1:cpu:/old", "0::/new")
    proc.mounts(("/", "cpu", "cgroup", "rw,cpu"), ("/", "unified", "cgroup2", "rw"))
    proc.write("cpu/old/cpu.cfs_quota_us", "300000")
    proc.write("cpu/old/cpu.cfs_period_us", "100000")
    proc.write("unified/new/cpu.max", "700000 100000")
    assert _core.cgroup_quota(proc.path) == 3.0


@pytest.mark.parametrize("group", ["/docker/abc", "/../sibling", "/other"])
def test_a_container_reads_its_limit_at_the_mount_point(proc, group):
    proc.groups(f"0::{group}")
    proc.mounts(("/docker/abc", "sys", "cgroup2", "rw"))
    proc.write("sys/cpu.max", "125000 100000")
    assert _core.cgroup_quota(proc.path) == 1.25


def test_a_container_below_its_mount_root(proc):
    proc.groups("0::/docker/abc/job")
    proc.mounts(("/docker/abc", "sys", "cgroup2", "rw"))
    proc.write("sys/job/cpu.max", "75000 100000")
    assert _core.cgroup_quota(proc.path) == 0.75


def test_no_control_groups_no_limit(tmp_path):
    assert _core.cgroup_quota(tmp_path / "absent") is None
