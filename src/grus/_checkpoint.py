"""Training on very long sequences in bounded memory: forward keeps the states of every k-th step, and no more.

Backward runs each chunk of k steps forward again from where it begins, this time keeping what backward needs, and
then back; from the last chunk to the first. What is kept at any time is T/k states and one chunk's gates.

Sources: Gruslys et al. 2016, "Memory-Efficient Backpropagation Through Time", arXiv:1606.03401 (there with chunks
of unequal size); Chen et al. 2016, arXiv:1604.06174.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from grus._per_sample import SampleParameters, samples_backward
from grus._stack import Given, Gradients, Stack, Tape, stack_backward, stack_forward
from grus.functional import Once
from grus.parameters import Parameters
from grus.reference import Steps

Array = np.ndarray[Any, np.dtype[Any]]


class Chunk(NamedTuple):
    """What is needed to run some of the steps again."""

    steps: slice
    given: Given  # of these steps; its h0 are the states before them
    rng: np.random.Generator | None  # as it was before what is random in them was drawn


class Checkpoints(Once):
    """What a forward pass keeps where it keeps no gates."""

    def __init__(self, x: Array, chunks: list[Chunk]) -> None:
        super().__init__()
        self.x, self.chunks = x, chunks


def checkpointed_forward(
    stack: Stack,
    tape: Tape,
    x: Array,
    given: Given,
    every: int,
    rng: np.random.Generator | None,
    return_output: bool,
) -> tuple[Array, Array, Tape]:
    """x (T, B, I) gives output, h_n and the tape; output has no steps where it is not wanted."""
    T, B, H = len(x), given.h0.shape[1], given.h0.shape[2]
    output, h, chunks = np.empty((T if return_output else 0, B, H), x.dtype), given.h0, []
    light = stack._replace(save="outputs")  # and what it keeps goes with the chunk's own tape
    for start in range(0, max(T, 1), every):
        steps = slice(start, min(start + every, T))
        chunk = Chunk(steps, _given(given, h, steps), copy.deepcopy(rng))
        chunks.append(chunk)
        part, h = stack_forward(light, x[steps], chunk.given, rng, _empty(tape, chunk.given))
        if return_output:
            output[steps] = part
    layout = tape.layout._replace(steps=len(output))
    return output, h, tape._replace(layout=layout, checkpoints=Checkpoints(x, chunks))


def tape_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: Parameters, with_x: bool = True
) -> Gradients:
    """The gradients of all that entered the forward pass of the tape, whatever it kept.

    Those of the parameters go into ``gradients``: of each row apart if it holds :class:`SampleParameters`.
    """
    if tape.checkpoints is not None:
        return _checkpointed_backward(stack, tape, tape.checkpoints, d_output, d_h_n, gradients, with_x)
    if isinstance(gradients, SampleParameters):
        return samples_backward(stack, tape, d_output, d_h_n, gradients)
    return stack_backward(stack, tape, d_output, d_h_n, gradients, with_x)


def _checkpointed_backward(
    stack: Stack,
    tape: Tape,
    kept: Checkpoints,
    d_output: Array,
    d_h_n: Array,
    gradients: Parameters,
    with_x: bool,
) -> Gradients:
    kept.use()
    d_x: Any = np.empty_like(kept.x) if with_x else None
    dh, d_reset_state = d_h_n, None
    d_decay: list[Array] = []
    gradients.flat[...] = 0
    own = gradients.like()
    for chunk in reversed(kept.chunks):
        part = _empty(tape, chunk.given)
        output, _ = stack_forward(stack, kept.x[chunk.steps], chunk.given, chunk.rng, part)
        d_own = d_output[chunk.steps] if len(d_output) else np.zeros_like(output)
        d = tape_backward(stack, part, d_own, dh, own, with_x)
        dh = d.h0
        if d_x is not None:
            d_x[chunk.steps] = d.x
        gradients.flat += own.flat
        if d.reset_state is not None:
            d_reset_state = d.reset_state if d_reset_state is None else d_reset_state + d.reset_state
        if d.decay is not None:
            d_decay.insert(0, d.decay)
    return Gradients(d_x, dh, gradients, d_reset_state, np.concatenate(d_decay) if d_decay else None)


def _empty(tape: Tape, given: Given) -> Tape:
    """A tape for one chunk."""
    return tape._replace(runs=[], masks=[], checkpoints=None, given=given)


def _given(given: Given, h: Array, steps: slice) -> Given:
    """What the steps of a chunk are given, from what the whole sequence is."""
    most = steps.stop - steps.start
    reset_state, reverse, *of_steps = given.steps
    return given._replace(
        h0=h,
        steps=Steps(reset_state, reverse, *(None if each is None else each[steps] for each in of_steps)),
        lengths=None if given.lengths is None else np.clip(given.lengths - steps.start, 0, most),
        learned_h0=given.learned_h0 and not steps.start,
    )
