"""The reference engine: :mod:`grus.equations` run over sequences, forward and backward, in plain NumPy.

Arrays are time-major: x is (T, B, I), the states are (T, B, H). What ``h_prev`` is, is decided here: the state one
step earlier in the direction of running, or where a sequence begins the one that it begins with, times the decay.
Longer than 300 lines because the whole way through a sequence, forward, backward and truncated, is one engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from grus.equations import (
    Array,
    Formulation,
    Gates,
    Masks,
    StepGradients,
    Weights,
    from_input,
    normalised,
    rows,
    step_backward,
    step_forward,
    to_input,
)


class Steps(NamedTuple):
    """How the steps follow each other; valid and reset are (T, B), decay is (T, B, H), and each may be absent."""

    reset_state: Any  # (B, H): the state that a sequence begun by a reset starts from; None where there is none
    reverse: bool = False  # run from the last step to the first
    valid: Array | None = None  # False: the step carries the state and uses nothing else
    reset: Array | None = None  # True: x[t] begins a new sequence
    decay: Array | None = None  # multiplies the state before the step


class SequenceGradients(NamedTuple):
    """The gradients of everything that enters a sequence."""

    x: Array
    h0: Array
    weights: Weights
    reset_state: Array  # zeros where nothing is reset
    decay: Array | None  # None where there is none


class Problem(NamedTuple):
    """One layer in one direction over a batch of sequences: what forward and backward are both given."""

    x: Array  # (T, B, I)
    h0: Array  # (B, H)
    weights: Weights
    form: Formulation
    steps: Steps
    masks: Masks = Masks()


# --------------------------------------------------------------------------------------------------- an engine

Entered = tuple[Any, Any, Any]  # the gradients of x, of the reset_state and of the decay; None where there is none


def sequences_forward(calls: Sequence[tuple[Array, Problem, bool]]) -> tuple[list[Array], list[Gates | None]]:
    """:func:`sequence_forward` of each call, a tuple of its arguments: the directions of a layer.

    Returns each h_n, and what each saved.
    """
    results = [sequence_forward(*call) for call in calls]
    return [h_n for h_n, _ in results], [gates for _, gates in results]


def sequences_backward(calls: Sequence[tuple[Any, ...]]) -> list[Entered]:
    """:func:`sequence_backward` of each call, a tuple of its arguments, and of three more.

    They are where h0's gradient goes; the vector that those of the weights go into, one after the other, without a
    place for the biases' where a layer has none; and whether x's is asked for. The others are returned; an engine
    may leave out the reset_state's where nothing is reset.
    """
    results = []
    for *call, d_h0, out, with_x in calls:
        d = sequence_backward(*call)
        d_h0[...] = d.h0
        parts = [part.ravel() for part in d.weights if part is not None]
        if sum(map(len, parts)) > len(out):
            del parts[2:4]
        np.concatenate(parts, out=out)
        results.append((d.x if with_x else None, d.reset_state, d.decay))
    return results


def gates_of(saved: Gates) -> Gates:
    """The gates of all steps in what forward saved."""
    return saved


# ------------------------------------------------------------------------------------------------ a sequence


def sequence_forward(states: Array, problem: Problem, keep: bool = True) -> tuple[Array, Gates | None]:
    """All steps: fills ``states`` (T, B, H).

    Returns h_n (B, H) and, where backward will follow (``keep``), the gates of all steps.
    """
    h, weights, form, steps, masks = problem[1:]
    _, gx = from_input(_used(problem), weights, masks)
    reset, kept = reset_before(steps), []
    for t in _order(len(states), steps):
        before = h if reset is None else np.where(reset[t, :, None], steps.reset_state, h)
        h, gates = step_forward(gx[t], _decayed(before, steps, t), weights, form, _at(masks, t))
        if steps.valid is not None:
            h = np.where(steps.valid[t, :, None], h, before)
        states[t] = h
        kept.append(gates if keep else None)
    return h, _stacked(kept, states, weights, steps) if keep else None


def sequence_backward(
    d_states: Array, d_h_n: Array, states: Array, gates: Gates | None, problem: Problem
) -> SequenceGradients:
    """Gradients of all that entered, from those of the states (T, B, H) and of h_n (B, H).

    Gates that were not kept follow from the states: each step's is known, so all steps are computed at once.
    """
    weights, form, steps, masks = problem[2:]
    back = _Backward(states, gates, problem)
    if form.truncate is None:
        dh = back.state_gradients(d_states, d_h_n)
    else:
        dh = back.truncated_state_gradients(d_states, d_h_n, form.truncate)
    d = back.step(dh)
    product_ih, _ = from_input(_used(problem), weights, masks)
    d_product_ih = to_input(d.gx, product_ih, weights, masks)
    d_decay = None if steps.decay is None else d.h_prev * back.before
    d_weights = _weight_gradients(d, d_product_ih, product_ih, back, problem)
    return SequenceGradients(d_product_ih @ weights.weight_ih, back.d_h0, d_weights, back.d_reset_state, d_decay)


class _Backward:
    """The way back through a sequence: what each step started from, and where gradients leave it."""

    def __init__(self, states: Array, gates: Gates | None, problem: Problem) -> None:
        _, h0, self.weights, self.form, self.steps, self.masks = problem
        self.before = _states_before(states, h0, self.steps)
        self.h_prev = _decayed(self.before, self.steps)
        if gates is None:
            _, gx = from_input(_used(problem), self.weights, self.masks)
            _, gates = step_forward(gx, self.h_prev, self.weights, self.form, self.masks)
        self.gates = gates
        self.reset = reset_before(self.steps)
        self.order = _order(len(states), self.steps)
        self.d_h0, self.d_reset_state = np.zeros_like(h0), np.zeros_like(h0)

    def step(self, dh: Array, t: Any = ...) -> StepGradients:
        """One step back, or all at once; a step that is not valid gives zeros."""
        gates = Gates(*(None if each is None else each[t] for each in self.gates))  # type: ignore[arg-type]
        if self.steps.valid is not None:
            dh = np.where(self.steps.valid[t][..., None], dh, 0)
        return step_backward(dh, self.h_prev[t], gates, self.weights, self.form, _at(self.masks, t))

    def leave(self, dh_prev: Array, t: Any = ...) -> Array:
        """The gradient of the state before a step, from that of the h_prev it made of it."""
        if self.steps.decay is not None:
            dh_prev = dh_prev * self.steps.decay[t]  # (B0)
        limit = self.form.gradient_clip
        return (
            dh_prev
            if limit is None
            else np.where(abs(dh_prev.real) > limit, np.sign(dh_prev.real) * limit, dh_prev)
        )

    def hand_over(self, dh: Array, t: int) -> Array:
        """What of a gradient that leaves step t reaches the step before; a reset's state takes its own."""
        if self.reset is None:
            return dh
        begins = self.reset[t, :, None]
        self.d_reset_state += np.where(begins, dh, 0)
        return np.where(begins, 0, dh)

    def state_gradients(self, d_states: Array, d_h_n: Array) -> Array:
        """dh (T, B, H), as it arrives at each step, and d_h0."""
        arrived, dh = np.empty_like(self.before), d_h_n
        for t in reversed(self.order):
            arrived[t] = dh = dh + d_states[t]
            left = self.leave(self.step(dh, t).h_prev, t)
            if self.steps.valid is not None:
                left = np.where(self.steps.valid[t, :, None], left, dh)
            dh = self.hand_over(left, t)
        self.d_h0 += dh
        return arrived

    def truncated_state_gradients(self, d_states: Array, d_h_n: Array, most: int) -> Array:
        """The same where no gradient passes more than so many steps; those that are not valid do not count.

        All steps go back at once, as often as there are steps to pass. Cost: ``most`` times that of one way back.
        """
        dh = np.array(d_states)
        if not self.order:
            self.d_h0 += d_h_n
            return dh
        dh[self.order[-1]] += d_h_n
        arrived = dh = self._past_invalid(dh)
        for _ in range(min(most, len(dh))):
            left = self.leave(self.step(dh).h_prev)
            dh = np.zeros_like(dh)
            for t in self.order:
                self._to_step_before(left[t], t, dh)
            dh = self._past_invalid(dh)
            arrived = arrived + dh
        return arrived

    def _past_invalid(self, dh: Array) -> Array:
        """Gradients that arrive at steps which only carry the state go on to where it came from."""
        if self.steps.valid is None:
            return dh
        for t in reversed(self.order):
            carried = np.where(self.steps.valid[t, :, None], 0, dh[t])
            self._to_step_before(carried, t, dh)
        return dh

    def _to_step_before(self, left: Array, t: int, dh: Array) -> None:
        to = dh[t + 1 if self.steps.reverse else t - 1] if t != self.order[0] else self.d_h0
        to += self.hand_over(left, t)


def _weight_gradients(
    d: StepGradients, d_product_ih: Array, product_ih: Array, back: _Backward, problem: Problem
) -> Weights:
    """dW = dg^T input, db = sum of dg and a gain's the sum of dg times what it scaled, over all steps and rows."""
    weights, form, masks = problem.weights, problem.form, problem.masks
    H = back.h_prev.shape[-1]
    d_hh = []
    for gate in range(3):
        h = back.gates.r * back.h_prev if gate == 2 and form.reset == "before" else back.h_prev
        h = h if masks.recurrent is None else masks.recurrent[..., rows(gate, H)] * h
        d_hh.append(_outer_sum(d.products[..., rows(gate, H)], h, form.blocks))
    dgx = d.gx if masks.input is None else d.gx * masks.input
    gains: tuple[Array | None, Array | None] = (None, None)
    if weights.gain_ih is not None and back.gates.products is not None:
        gains = _sum(dgx * normalised(product_ih)), _sum(d.gh * normalised(back.gates.products))
    d_weight_ih = _outer_sum(d_product_ih, _used(problem))
    return Weights(d_weight_ih, np.concatenate(d_hh), _sum(d.gx), _sum(d.gh), *gains)


# --------------------------------------------------------------------------------------------------- helpers


def _outer_sum(dg: Array, inputs: Array, blocks: int = 1) -> Array:
    """(T, B, G), (T, B, K) -> (G, K / blocks): the sum over steps and rows of dg^T inputs, on diagonal blocks."""
    rows = dg.shape[0] * dg.shape[1]
    dg, inputs = (a.reshape(rows, blocks, a.shape[-1] // blocks).swapaxes(0, 1) for a in (dg, inputs))
    sums = dg.swapaxes(1, 2) @ inputs  # (blocks, G / blocks, K / blocks)
    return np.asarray(sums.reshape(blocks * sums.shape[1], sums.shape[2]))


def _sum(a: Array) -> Array:
    return np.asarray(a.sum(axis=(0, 1)))


def _order(T: int, steps: Steps) -> range:
    return range(T - 1, -1, -1) if steps.reverse else range(T)


def _decayed(before: Array, steps: Steps, t: Any = ...) -> Array:
    """What a step, or all steps, start from; what decay holds where a step is not valid is not used."""
    if steps.decay is None:
        return before
    decay = steps.decay[t]
    if steps.valid is not None:
        decay = np.where(steps.valid[t][..., None], decay, 1)
    return np.asarray(decay * before)  # (F0)


def _at(masks: Masks, t: Any) -> Masks:
    """The masks of one step: that of zoneout differs from step to step."""
    return masks if masks.zoneout is None else masks._replace(zoneout=masks.zoneout[t])


def _stacked(kept: Sequence[Any], states: Array, weights: Weights, steps: Steps) -> Gates:
    """The gates of all steps (T, B, ...), from those of each in the order of running."""
    in_time = kept[::-1] if steps.reverse else kept
    if not in_time:
        products = (
            None if weights.gain_hh is None else np.empty((*states.shape[:2], 3 * states.shape[2]), states.dtype)
        )
        return Gates(states, states, states, states, products)
    return Gates(*(None if each[0] is None else np.stack(each) for each in zip(*in_time, strict=True)))  # type: ignore[arg-type]


def _used(problem: Problem) -> Array:
    """x with zeros where a step is not valid, so that padding can hold anything, NaN included."""
    valid = problem.steps.valid
    return problem.x if valid is None else np.where(valid[..., None], problem.x, 0)


def reset_before(steps: Steps) -> Array | None:
    """(T, B) True where the state is replaced before step t is taken.

    A reset at t cuts between t-1 and t. Forwards that is before step t; in reverse it is before step t-1, and
    the first step of the array has nothing before it.
    """
    if steps.reset is None or not steps.reverse:
        return steps.reset
    return np.concatenate([steps.reset[1:], np.zeros_like(steps.reset[:1])])


def _states_before(states: Array, h0: Array, steps: Steps) -> Array:
    """(T, B, H): the state before each step, or the one that replaced it."""
    of: Iterable[Array] = (states[1:], h0[None]) if steps.reverse else (h0[None], states[:-1])
    before = np.concatenate(list(of))[: len(states)]
    reset = reset_before(steps)
    return before if reset is None else np.where(reset[..., None], steps.reset_state, before)
