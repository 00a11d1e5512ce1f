"""The compiled module: what the sources in ``kernels/`` export."""

import os
from typing import TypedDict

class CpuInfo(TypedDict):
    """What this machine offers this process."""

    architecture: str
    """``"x86_64"``, ``"aarch64"`` or ``"other"``."""
    brand: str
    """The maker's name for the processor; empty when the system does not tell."""
    instruction_sets: list[str]
    """Best first, of ``"x86-64-v4"``, ``"x86-64-v3"``, ``"x86-64-v2"``, ``"neon"``."""
    cores_online: int
    """Logical cores that run."""
    cores_affinity: int
    """Those of them that this process may use."""
    cgroup_quota: float | None
    """Processor time that the control groups allow, in cores; None when unlimited."""
    threads: int
    """Whole cores that both limits leave, at least one: the default thread count."""

def cpu_info() -> CpuInfo: ...

# For the tests, which cannot change the limits of the machine they run on.
def parse_cpu_max(text: str) -> float | None: ...
def cgroup_quota(proc: str | os.PathLike[str]) -> float | None: ...
def default_threads(cores_affinity: int, cgroup_quota: float | None) -> int: ...
