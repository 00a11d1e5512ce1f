"""The loop over layers, forward and backward; arrays are time-major here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grus import functional
from grus._layout import Layout
from grus._masks import Fixed, Rates, layer_input_mask, zoneout_mask
from grus.equations import Formulation, Masks, Weights
from grus.functional import Run
from grus.parameters import Parameters, gru_weights, suffix
from grus.reference import Problem, Steps

if TYPE_CHECKING:
    from grus._checkpoint import Checkpoints

Array = np.ndarray[Any, np.dtype[Any]]


class Stack(NamedTuple):
    """What the loop needs to know of a GRU."""

    parameters: Parameters
    form: Formulation
    num_layers: int
    directions: int
    rates: Rates | None  # None: nothing is drawn at random
    save: str
    forward_runs: Callable[..., Any] = functional.forward_runs
    reverse: bool = False  # of the one direction

    @property
    def hidden_size(self) -> int:
        return len(self.parameters["weight_hh_l0"]) // 3


class Learned(NamedTuple):
    """Where the learned first states stand."""

    h0: bool  # before the first step
    reset_state: bool  # after each reset


class Given(NamedTuple):
    """What every layer is given besides its input, checked."""

    h0: Array  # (layers*directions, B, H)
    reset_state: Array  # the same
    lengths: Array | None  # (B,)
    valid: Array | None  # (T, B)
    reset: Array | None  # (T, B)
    decay: Array | None = None  # (T, B, H)
    fixed: list[Fixed] | None = None  # masks for all steps, of each layer and direction
    learned: Learned | None = None
    shared_decay: bool = False  # one for all units: so is its gradient


class Tape(NamedTuple):
    """What a forward pass keeps for one backward pass."""

    layout: Layout
    parameters: Parameters  # those of the GRU that it belongs to
    runs: list[functional.Tape]  # layer by layer, direction by direction
    masks: list[Array | None]  # dropout on each layer's input
    checkpoints: Checkpoints | None = None  # in place of runs and masks
    given: Given | None = None  # what backward needs to know of it


class StackGradients(NamedTuple):
    """Gradients as :class:`grus.Gradients`, time-major."""

    x: Array | None  # None where it was not asked for
    h0: Array
    parameters: Parameters
    reset_state: Array | None
    decay: Array | None  # (T, B, H)


def stack_forward(
    stack: Stack, tape: Tape, x: Array, given: Given, training: bool, rng: np.random.Generator | None
) -> tuple[Array, Array]:
    """x (T, B, I) gives output and h_n; fills the tape in training."""
    D, keep = stack.directions, training and stack.save == "gates"
    h_n, output = np.empty_like(given.h0), x
    for layer in range(stack.num_layers):
        if layer and stack.rates is not None:
            mask = layer_input_mask(stack.rates, output, rng)
            tape.masks.append(mask)
            output = output if mask is None else output * mask
        else:
            tape.masks.append(None)
        runs = [_run(stack, layer, direction, output, given, rng) for direction in range(D)]
        output, ends, tapes = stack.forward_runs(runs, training, keep)
        h_n[layer * D : layer * D + D] = ends
        tape.runs.extend(tapes)
    return output, h_n


def _run(stack: Stack, layer: int, direction: int, x: Array, given: Given, rng: np.random.Generator | None) -> Run:
    i = layer * stack.directions + direction
    steps = Steps(given.reset_state[i], stack.reverse or direction == 1, given.valid, given.reset, given.decay)
    weights = gru_weights(stack.parameters, layer, direction)
    if stack.rates is None:
        return Run(Problem(x, given.h0[i], weights, stack.form, steps), given.lengths)
    masks = Masks(zoneout=zoneout_mask(stack.rates, (*x.shape[:2], given.h0.shape[2]), x.dtype, rng))
    if given.fixed is not None:
        fixed = given.fixed[i]
        masks = masks._replace(recurrent=fixed.recurrent, input=fixed.input)
        if fixed.weight is not None:
            weights = weights._replace(weight_hh=weights.weight_hh * fixed.weight)
    return Run(Problem(x, given.h0[i], weights, stack.form, steps, masks), given.lengths)


def inference_problems(stack: Stack, input_size: int, batch: int) -> list[Problem]:
    """What a call for one step gives an engine, layer by layer and direction by direction; x and h0 are zeros."""
    dtype, shape = stack.parameters.dtype, (stack.num_layers * stack.directions, batch, stack.hidden_size)
    h0, x = np.zeros(shape, dtype), np.zeros((1, batch, input_size), dtype)
    tape = Tape(Layout(False, True, 1, batch), stack.parameters, [], [])
    stack_forward(stack._replace(save="outputs"), tape, x, Given(h0, h0, None, None, None), True, None)
    return [tape.run.problem for tape in tape.runs]


def stack_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: Parameters, with_x: bool = True
) -> StackGradients:
    """d_output (T, B, directions*H) and d_h_n (layers*directions, B, H) give the gradients of all that entered."""
    D, given = stack.directions, tape.given
    d_h0, d_x, d_decay = np.empty_like(d_h_n), d_output, None
    d_reset_state = None if tape.runs[0].run.problem.steps.reset is None else np.zeros_like(d_h_n)
    for layer in reversed(range(stack.num_layers)):
        own = slice(layer * D, layer * D + D)
        d_weights = [gru_weights(gradients, layer, direction) for direction in range(D)]
        runs = functional.backward_runs(tape.runs[own], d_x, d_h_n[own], d_weights, with_x or layer > 0)
        if given is not None and given.fixed is not None:
            _drop_weight_gradients(d_weights, given.fixed[own])
        for i, run in enumerate(runs, start=layer * D):
            d_h0[i] = run.h0
            if d_reset_state is not None:
                d_reset_state[i] = run.reset_state
            if run.decay is not None:
                d_decay = run.decay if d_decay is None else d_decay + run.decay
        d_x, mask = _sum([run.x for run in runs if run.x is not None]), tape.masks[layer]
        d_x = d_x if mask is None else d_x * mask
    if given is not None and given.learned is not None:
        _learned_gradients(given.learned, d_h0, d_reset_state, stack.directions, gradients)
    if d_decay is not None and given is not None and given.shared_decay:
        d_decay = d_decay.sum(axis=-1, keepdims=True)
    return StackGradients(d_x if with_x else None, d_h0, gradients, d_reset_state, d_decay)


def _drop_weight_gradients(d_weights: list[Weights], fixed: list[Fixed]) -> None:
    """From the gradients of the recurrent matrices that were used to those of the parameters."""
    for d, masks in zip(d_weights, fixed, strict=True):
        if masks.weight is not None:
            np.multiply(d.weight_hh, masks.weight, out=d.weight_hh)


def _sum(arrays: list[Array]) -> Any:
    """The sum of one array or of two, in place; None of none."""
    total = arrays[0] if arrays else None
    for other in arrays[1:]:
        total += other
    return total


def decay_of_units(decay: Array, hidden_size: int) -> Array:
    """(T, B, H)."""
    if decay.shape[2] == hidden_size:  # of any stride: engines read it as it lies
        return decay
    return np.repeat(decay, hidden_size, axis=2)


# ------------------------------------------------------------------------------------------- learned first states


def learned_states(parameters: Parameters, num_layers: int, directions: int, batch: int) -> Array:
    """(layers*directions, B, H): the learned first states, the same in each row."""
    runs = [(layer, direction) for layer in range(num_layers) for direction in range(directions)]
    learned = [parameters[f"h0{suffix(*run)}"] for run in runs]
    states = np.empty((len(runs), batch, len(learned[0])), parameters.dtype)
    for of_run, h0 in zip(states, learned, strict=True):
        of_run[...] = h0
    return states


def _learned_gradients(
    learned: Learned, d_h0: Array, d_reset_state: Array | None, directions: int, gradients: Parameters
) -> None:
    """Fill those of the learned first states: sums over the rows of the states that they were used for."""
    for i in range(len(d_h0)):
        d = gradients[f"h0{suffix(*divmod(i, directions))}"]
        d[...] = d_h0[i].sum(axis=0) if learned.h0 else 0
        if learned.reset_state and d_reset_state is not None:
            d += d_reset_state[i].sum(axis=0)
