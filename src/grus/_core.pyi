"""The compiled module: what the sources in ``kernels/`` export."""

import enum
import os
from typing import Any, TypedDict

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

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

# The native engine; `_native.py` makes of the arrays what the kernels take.
class Function(enum.Enum):
    identity = 0
    tanh = 1
    sigmoid = 2
    relu = 3
    leaky_relu = 4
    elu = 5
    softsign = 6
    hard_sigmoid = 7
    affine = 8
    thresholded_relu = 9
    scaled_tanh = 10
    softplus = 11

class Activation:
    def __init__(self, function: Function, alpha: float, beta: float, clip: float) -> None: ...

class Reset(enum.Enum):
    after = 0
    before = 1
    candidate = 2

class Formulation:
    def __init__(
        self,
        reset: Reset,
        activation: Activation,
        reset_activation: Activation,
        update_activation: Activation,
        blocks: int,
        truncate: int,
        gradient_clip: float,
    ) -> None: ...

class Call:  # what these classes have in common; it exists for the types alone
    def __init__(self, *arrays: Any) -> None: ...

class LayerFloat32(Call): ...
class LayerFloat64(Call): ...
class ForwardFloat32(Call): ...
class ForwardFloat64(Call): ...
class BackwardFloat32(Call): ...
class BackwardFloat64(Call): ...

class _Session:
    """Steps of layers of T = 1 on states (2, layers, B, H); outputs are of both halves, (B, H) and then (H,)."""

    def __init__(self, layers: tuple[Call, ...], states: Array, outputs: tuple[Array, ...]) -> None: ...
    def step(self, x: Any, decay: Any) -> Array | None: ...
    @property
    def half(self) -> int: ...

class SessionFloat32(_Session): ...
class SessionFloat64(_Session): ...

# Of the training's masks: `generator` is the capsule of a BitGenerator, whose lock the caller holds.
def draw_mask(out: Array, generator: Any, p: float, value: float) -> None: ...
def run(call: Call, other: Call = ...) -> None: ...
def activate(out: Array, in_: Array, activation: Activation) -> None: ...
def available_instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
