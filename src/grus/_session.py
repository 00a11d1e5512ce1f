"""What takes a stream's steps: the compiled core's session, or the reference's equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from grus import _core, _native, reference
from grus._engine import Engine
from grus.reference import Problem

Array = np.ndarray[Any, np.dtype[Any]]
_COMPILED = {np.dtype("float32"): _core.SessionFloat32, np.dtype("float64"): _core.SessionFloat64}


class Session(Protocol):
    """One step at a time: from the states in one half of an array (2, layers, B, H) to those in the other."""

    def step(self, x: Any, decay: Any) -> Array | None:
        """The output after x (B, I), or (I,) where B is 1; None, and nothing done, where the arrays do not fit.

        They fit if they are of the stream's dtype and shape, aligned, contiguous (x in its last axis) and apart
        from the half that is written.
        """

    @property
    def half(self) -> int:
        """Where the states after the last step are."""


def session(engine: Engine, problems: Sequence[Problem], states: Array) -> Session:
    """A session of this engine on half 0 of ``states``; ``problems`` are those of one step, layer by layer."""
    outputs = [states[half, -1] for half in (0, 1)]
    if states.shape[2] == 1:
        outputs += [output[0] for output in outputs]
    for i, output in enumerate(outputs):
        outputs[i] = output.view()
        outputs[i].flags.writeable = False
    if engine is reference:
        return ReferenceSession(problems, states, tuple(outputs))
    layers = tuple(_native.forward_call(each, np.empty_like(states[:1, 0]), False) for each in problems)
    return _COMPILED[states.dtype](layers, states, tuple(outputs))


class ReferenceSession:
    """The same in NumPy."""

    def __init__(self, problems: Sequence[Problem], states: Array, outputs: tuple[Array, ...]) -> None:
        self.problems, self.states, self.outputs = problems, states, outputs
        self.half = 0

    def step(self, x: Any, decay: Any) -> Array | None:
        shape = self.problems[0].x.shape[1:]
        if not self._fits(x, shape if np.ndim(x) != 1 else shape[1:] * (shape[0] == 1)):
            return None
        if decay is not None and not self._fits(decay, self.states.shape[1:]):
            return None
        below, new = x.reshape(1, *shape), self.states[1 - self.half]
        for k, problem in enumerate(self.problems):
            steps = problem.steps if decay is None else problem.steps._replace(decay=decay[k][None])
            given = problem._replace(x=below, h0=self.states[self.half, k], steps=steps)
            below = new[k][None]
            reference.sequence_forward(below, given, keep=False)
        self.half = 1 - self.half
        return self.outputs[self.half if x.ndim == 2 else 2 + self.half]

    def _fits(self, a: Any, shape: tuple[int, ...]) -> bool:
        return (
            isinstance(a, np.ndarray)
            and a.shape == shape
            and a.dtype == self.states.dtype
            and not np.may_share_memory(a, self.states[1 - self.half])
        )
