"""What every gate did at every step: a forward pass that keeps its gates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from grus._layout import Layout
from grus._stack import Given, Stack, Tape, stack_forward

Array = np.ndarray[Any, np.dtype[Any]]


class Trace(NamedTuple):
    """What :meth:`GRU.trace` returns: each (layers*directions, B, T, H), laid out as x is.

    Where a step is not valid (past a row's length, or masked) no gate was computed: r, z and n are 0 there, and h
    is the state that is carried through. The arrays may be views of one buffer.
    """

    r: Array  # reset gate
    z: Array  # update gate
    n: Array  # new gate
    h: Array  # state after the step


def traced(stack: Stack, layout: Layout, x: Array, given: Given) -> Trace:
    """x (T, B, I) gives the trace in the layout of the user's x; nothing is dropped."""
    tape = Tape(layout, stack.parameters, [], [])
    stack_forward(stack if stack.save == "gates" else stack._replace(save="gates"), x, given, None, tape)
    arrays = _of_one(tape) if len(tape.runs) == 1 else _of_all(tape)
    if (valid := given.steps.valid) is not None:
        for gate in arrays[:3]:
            gate[:, ~valid] = 0
    if layout.is_time_major:
        return Trace(*arrays)
    return Trace(*map(layout.leave_each, arrays))


def _of_one(tape: Tape) -> tuple[Array, ...]:
    """The only layer's arrays, as they are."""
    (run,) = tape.runs
    r, z, n, *_ = run.engine.gates_of(run.saved)
    return r[None], z[None], n[None], run.states[None]


def _of_all(tape: Tape) -> tuple[Array, ...]:
    """Those of several, copied together; what a layer kept is freed before the next one is copied."""
    runs, (shape, dtype) = tape.runs[::-1], ((len(tape.runs), *tape.runs[0].states.shape), tape.parameters.dtype)
    tape.runs.clear()
    arrays = tuple(np.empty(shape, dtype) for _ in range(4))
    for i in range(len(runs)):
        run = runs.pop()
        for to, a in zip(arrays, (*run.engine.gates_of(run.saved)[:3], run.states), strict=True):
            to[i] = a
    return arrays
