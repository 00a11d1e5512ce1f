"""Random runs of one layer, on either engine, for the tests of the native one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import grus
from grus import _core
from helpers import steps_case

ISAS = _core.available_instruction_sets()
STRESS = os.environ.get("GRUS_STRESS") == "1"  # tests that draw numbers at random draw many more


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Run a block on the native engine and this instruction set."""
    before = grus.instruction_set()
    assert _core.use_instruction_set(name)
    try:
        with grus.use_engine("native"):
            yield
    finally:
        _core.use_instruction_set(before)


class Run:
    """One layer's inputs and loss gradients; time-major."""

    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        dtype: str = "float64",
        kind: str = "plain",
        seed: int = 0,
        bias: bool = True,
        **options: Any,
    ) -> None:
        rng = np.random.default_rng(seed)
        T, B, I, H = sizes
        self.params = grus.GRUParams.random(I, H, rng, dtype)
        if not bias:
            self.params = grus.GRUParams(*self.params[:2])
        self.x, self.d_output, self.h0, self.d_h_n, reset_state = (
            rng.standard_normal(shape).astype(dtype) for shape in ((T, B, I), (T, B, H), (B, H), (B, H), (B, H))
        )
        steps = steps_case(kind, rng, B, T) if T > 1 and B > 0 else {}
        for name in ("mask", "reset"):
            if name in steps:
                steps[name] = steps[name].T
        if "reset" in steps:
            steps["reset_state"] = reset_state
        self.options = options | steps
        if "lengths" in steps:  # padding may hold anything
            self.x[np.arange(T)[:, None] >= steps["lengths"]] = np.nan

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The parameters that there are, by name."""
        return {name: a for name, a in self.params._asdict().items() if a is not None}

    def __call__(self) -> dict[str, np.ndarray]:
        """Output, h_n and every gradient by name."""
        output, h_n, tape = grus.gru_forward(self.x, self.h0, self.params, **self.options)
        d = grus.gru_backward(tape, self.d_output, self.d_h_n)
        found = {"output": output, "h_n": h_n} | d._asdict() | d.params._asdict()
        del found["params"]
        return {name: value for name, value in found.items() if value is not None}

    def forward(self, rows: slice = slice(None), steps: slice = slice(None)) -> np.ndarray:
        """The output of some rows and steps, without a tape; h0 is that of the first step."""
        return self._inference(self.x[steps, rows], self.h0[rows])[0]

    def chunks(self, length: int) -> np.ndarray:
        """The output, ``length`` steps at a time."""
        outputs, h = [], self.h0
        for t in range(0, len(self.x), length):
            output, h = self._inference(self.x[t : t + length], h)
            outputs.append(output)
        return np.concatenate(outputs)

    def _inference(self, x: np.ndarray, h0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return grus.gru_forward(x, h0, self.params, training=False, **self.options)[:2]


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal to the last bit, by name."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
