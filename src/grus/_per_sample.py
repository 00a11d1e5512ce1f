"""Parameter gradients of each row of a batch: what private training needs, which clips them one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from grus import functional
from grus._stack import Given, Gradients, Stack, Tape, stack_backward
from grus.parameters import Parameters, Shape
from grus.reference import Problem

Array = np.ndarray[Any, np.dtype[Any]]


class SampleParameters(Parameters):
    """One set of named arrays a row: (B, *shape) each, views of one buffer ``flat`` (B, number of parameters).

    Examples
    --------
    >>> p = SampleParameters({"weight": (2, 3), "bias": (2,)}, "float32", np.zeros((4, 8), np.float32))
    >>> p["weight"].shape, p["bias"].shape, p.flat.shape
    ((4, 2, 3), (4, 2), (4, 8))
    """

    def __init__(self, shapes: Mapping[str, Shape], dtype: npt.DTypeLike, flat: Array) -> None:
        super().__init__({name: (len(flat), *shape) for name, shape in shapes.items()}, dtype, flat)
        self.size = flat.size

    @staticmethod
    def _width(shape: Shape) -> int:
        return math.prod(shape[1:])  # on each row of the buffer

    def _buffer(self, flat: Array) -> Array:
        return flat  # checked by who was given it

    def like(self, flat: Array | None = None) -> SampleParameters:
        """Arrays of the same names and shapes on another buffer (zeros when none is given)."""
        own = {name: shape[1:] for name, shape in self.shapes.items()}
        return SampleParameters(own, self.dtype, np.zeros_like(self.flat) if flat is None else flat)


def samples_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: SampleParameters
) -> Gradients:
    """As :func:`grus._stack.stack_backward`, with the parameters' gradients of each row apart.

    A row's way back is that of a batch of one, on the engine of the tape, with the gates computed again.
    """
    for run in tape.runs:
        run.use()
    first = tape.runs[0].problem
    d_x, d_h0 = np.empty_like(first.x), np.empty_like(d_h_n)
    d_reset_state = None if first.steps.reset is None else np.empty_like(d_h_n)
    d_decay = None if tape.given is None or tape.given.steps.decay is None else _like_decay(tape.given)
    for b in range(d_h_n.shape[1]):
        row = slice(b, b + 1)
        own = stack.parameters.like(gradients.flat[b])
        d = stack_backward(stack, _tape_of(tape, row), d_output[:, row], d_h_n[:, row], own)
        d_x[:, row], d_h0[:, row] = d.x, d.h0
        if d_reset_state is not None:
            d_reset_state[:, row] = d.reset_state
        if d_decay is not None:
            d_decay[:, row] = d.decay
    return Gradients(d_x, d_h0, gradients, d_reset_state, d_decay)


def _like_decay(given: Given) -> Array:
    """Where the gradient of the decay that was given goes."""
    decay = np.asarray(given.steps.decay)
    return np.empty((*decay.shape[:2], 1 if given.shared_decay else decay.shape[2]), decay.dtype)


def _tape_of(tape: Tape, rows: slice) -> Tape:
    """The tape of some rows, without gates."""
    runs = [
        functional.Tape(
            run.engine, run.states[:, rows], None, _problem_of(run.problem, rows), _part(run.lengths, 0, rows)
        )
        for run in tape.runs
    ]
    return tape._replace(runs=runs, masks=[_part(mask, 1, rows) for mask in tape.masks])


def _problem_of(problem: Problem, rows: slice) -> Problem:
    x, h0, weights, form, steps, masks = problem
    steps = steps._replace(
        reset_state=_part(steps.reset_state, 0, rows),
        valid=_part(steps.valid, 1, rows),
        reset=_part(steps.reset, 1, rows),
        decay=_part(steps.decay, 1, rows),
    )
    masks = masks._replace(
        recurrent=_part(masks.recurrent, 0, rows),
        input=_part(masks.input, 0, rows),
        zoneout=_part(masks.zoneout, 1, rows),
    )
    return Problem(x[:, rows], h0[rows], weights, form, steps, masks)


def _part(a: Array | None, axis: int, rows: slice) -> Array | None:
    """The rows of an array whose batch axis this is; all of it where it is absent or the same for every row."""
    if a is None or a.shape[axis] == 1:
        return a
    return a[(slice(None),) * axis + (rows,)]
