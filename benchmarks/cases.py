"""The sizes that are measured, and the random data of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import grus

Array = np.ndarray[Any, np.dtype[Any]]
PASSES = ("forward", "training")
PASS_COST = {"forward": 1, "training": 3}  # the backward pass is two products for each of the forward's


class Case(NamedTuple):
    """One layer in one direction."""

    T: int
    B: int
    I: int
    H: int

    @classmethod
    def parse(cls, name: str) -> Case:
        """From "T,B,I,H"."""
        sizes = [int(size) for size in name.split(",")]
        if len(sizes) != 4 or min(sizes) < 1:
            raise ValueError(f"a case must be four sizes above 0, T,B,I,H; got {name!r}.")
        return cls(*sizes)

    @property
    def name(self) -> str:
        return ",".join(map(str, self))

    @property
    def operations(self) -> int:
        """Floating-point operations of the forward pass."""
        return 6 * self.T * self.B * self.H * (self.I + self.H)


CASES = [
    Case(100, 1, 32, 32),
    Case(100, 1, 128, 128),
    Case(100, 32, 16, 32),
    Case(100, 32, 64, 128),
    Case(100, 64, 128, 256),
    Case(50, 64, 256, 512),
    Case(30, 128, 512, 1024),
]
SMALL, OPTIONS_CASE, MEMORY_CASE = CASES[0], CASES[3], CASES[4]
OPTIONS_CASES = (OPTIONS_CASE, SMALL)
STREAM_CASES = CASES[:2]  # of one sequence


@dataclass(frozen=True)
class Data:
    """What enters the two passes: the same numbers in every process."""

    x: Array  # (T, B, I)
    h0: Array  # (B, H)
    params: grus.GRUParams
    d_output: Array  # (T, B, H), the gradient that training starts from

    @classmethod
    def random(cls, case: Case, dtype: str = "float32") -> Data:
        """Standard normal numbers, the parameters over sqrt(H)."""
        T, B, I, H = case
        rng = np.random.default_rng(0)
        numbers = [rng.standard_normal(s, dtype=np.dtype(dtype)) for s in ((T, B, I), (B, H), (T, B, H))]
        return cls(numbers[0], numbers[1], grus.GRUParams.random(I, H, rng, dtype), numbers[2])

    @property
    def case(self) -> Case:
        return Case(*self.x.shape, self.h0.shape[1])

    def state_dict(self) -> dict[str, Array]:
        """The parameters under the names that they have in a GRU of one layer."""
        return {f"{name}_l0": array for name, array in self.params._asdict().items() if array is not None}

    def astype(self, dtype: str) -> Data:
        """The same numbers in another type."""
        params = grus.GRUParams(*(rounded(p, dtype) for p in self.params))
        return Data(self.x.astype(dtype), self.h0.astype(dtype), params, self.d_output.astype(dtype))


def rounded(value: Any, dtype: str) -> Any:
    """An array of floating-point numbers in another type; anything else as it is."""
    floating = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)
    return value.astype(dtype) if floating else value
