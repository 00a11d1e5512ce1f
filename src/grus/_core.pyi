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

class Cell:
    """What stays of a layer from call to call. Arrays that do not fit as they lie are a TypeError, as below."""

    def __init__(
        self,
        form: Formulation,
        weight_ih: Array,
        weight_hh: Array,
        bias_ih: Array,
        bias_hh: Array,
        gain_ih: Array | None,
        gain_hh: Array | None,
    ) -> None: ...

class CellFloat32(Cell): ...
class CellFloat64(Cell): ...

class Forward:
    def __init__(
        self,
        cell: Cell,
        reverse: bool,
        x: Array,
        h0: Array,
        states: Array,
        workspace: Array | None,
        reset_state: Array | None,
        valid: Array | None,
        reset: Array | None,
        recurrent_mask: Array | None,
        input_mask: Array | None,
        decay: Array | None,
        zoneout: Array | None,
    ) -> None: ...
    def run(self, beside: Forward | None) -> None: ...
    @property
    def states(self) -> Array: ...
    @property
    def workspace(self) -> Array | None: ...

class ForwardFloat32(Forward): ...
class ForwardFloat64(Forward): ...

class Backward:
    """``d_weights`` is one vector, the weights' gradients in their order; those of the biases may be left out."""

    def __init__(
        self,
        forward: Forward,
        d_states: Array,
        d_h_n: Array,
        dx: Array | None,
        dh0: Array,
        d_weights: Array,
        d_reset_state: Array | None,
        d_decay: Array | None,
    ) -> None: ...
    def run(self, beside: Backward | None) -> None: ...

class BackwardFloat32(Backward): ...
class BackwardFloat64(Backward): ...

class _Session:
    """Steps of layers of T = 1 on states (2, layers, B, H); outputs are of both halves, (B, H) and then (H,)."""

    def __init__(self, layers: tuple[Forward, ...], states: Array, outputs: tuple[Array, ...]) -> None: ...
    def step(self, x: Any, decay: Any) -> Array | None: ...
    @property
    def half(self) -> int: ...

class SessionFloat32(_Session): ...
class SessionFloat64(_Session): ...

class Memory:
    """A buffer of so many bytes that hold anything, on memory that is used again."""

    def __init__(self, bytes: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def free_kept_memory() -> int: ...

# Of the training's masks: `generator` is the capsule of a BitGenerator, whose lock the caller holds.
def draw_mask(out: Array, generator: Any, p: float, value: float) -> None: ...
def activate(out: Array, in_: Array, activation: Activation) -> None: ...
def available_instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
