"""The loop over layers, forward and backward; arrays are time-major here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grus import functional
from grus._layout import Layout
from grus._masks import Fixed, Rates, layer_input_mask, zoneout_mask
from grus.equations import NO_MASKS, Formulation, Masks, Weights
from grus.functional import backward_runs
from grus.parameters import Parameters, gru_parts, gru_weights, suffix
from grus.reference import Problem, Steps

if TYPE_CHECKING:
    from grus._checkpoint import Checkpoints

Array = np.ndarray[Any, np.dtype[Any]]
_NOT_FIXED = Fixed(None, None, None)


class Stack(NamedTuple):
    """What the loop needs to know of a GRU."""

    parameters: Parameters
    form: Formulation
    num_layers: int
    directions: int
    hidden_size: int
    learn_h0: bool
    rates: Rates | None  # None: nothing is drawn at random
    save: str
    forward_runs: Callable[..., Any] = functional.forward_runs


class Given(NamedTuple):
    """What every layer is given besides its input, checked."""

    h0: Array  # (layers*directions, B, H)
    steps: Steps  # of a first direction, with a reset_state as h0
    lengths: Array | None = None  # (B,)
    learned_h0: bool = False  # h0 is what the GRU learned
    learned_reset_state: bool = False  # so is the state after each reset
    shared_decay: bool = False  # one for all units: so is its gradient
    fixed: list[Fixed] | None = None  # masks for all steps, of each layer and direction


class Tape(NamedTuple):
    """What a forward pass keeps for one backward pass."""

    layout: Layout
    parameters: Parameters  # those of the GRU that it belongs to
    runs: list[functional.Tape]  # layer by layer, direction by direction
    masks: list[Array | None]  # dropout on each layer's input
    checkpoints: Checkpoints | None = None  # in place of runs and masks
    given: Given | None = None  # what backward needs to know of it


class Gradients(NamedTuple):
    """What :meth:`GRU.backward` returns; each has the shape of what it is the gradient of."""

    x: Array
    h0: Array
    parameters: Parameters
    reset_state: Array | None  # None without reset
    decay: Array | None = None  # None without decay


def stack_forward(
    stack: Stack, x: Array, given: Given, rng: np.random.Generator | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """x (T, B, I) gives output and h_n; it is training where there is a tape, which is filled."""
    lengths, training = given.lengths, tape is not None
    keep = training and stack.save == "gates"
    output, h_n, i = x, np.empty(given.h0.shape, x.dtype), 0
    for layer in range(stack.num_layers):
        mask = None
        if layer and stack.rates is not None:
            mask = layer_input_mask(stack.rates, output, rng)
            output = output if mask is None else output * mask
        problems = [_problem(stack, layer, 0, output, given, rng)]
        if stack.directions == 2:
            problems.append(_problem(stack, layer, 1, output, given, rng))
        output, ends, tapes = stack.forward_runs(problems, lengths, training, keep)
        for end in ends:
            h_n[i] = end
            i += 1
        if tape is not None:
            tape.masks.append(mask)
            tape.runs.extend(tapes)
    return output, h_n


def _problem(
    stack: Stack, layer: int, direction: int, x: Array, given: Given, rng: np.random.Generator | None
) -> Problem:
    i = layer * stack.directions + direction
    steps, weights, masks = given.steps, gru_weights(stack.parameters, layer, direction), NO_MASKS
    if direction or steps.reset is not None:
        reset_state, reverse, valid, reset, decay = steps
        own = None if reset_state is None else reset_state[i]
        steps = Steps(own, reverse or direction == 1, valid, reset, decay)
    if stack.rates is not None:
        zoneout = zoneout_mask(stack.rates, (*x.shape[:2], stack.hidden_size), x.dtype, rng)
        fixed = _NOT_FIXED if given.fixed is None else given.fixed[i]
        masks = Masks(fixed.recurrent, fixed.input, zoneout)
        if fixed.weight is not None:
            weights = Weights(weights[0], weights.weight_hh * fixed.weight, *weights[2:])
    return Problem(x, given.h0[i], weights, stack.form, steps, masks)


def inference_problems(stack: Stack, input_size: int, batch: int) -> list[Problem]:
    """What a call for one step gives an engine, layer by layer and direction by direction; x and h0 are zeros."""
    dtype, shape = stack.parameters.dtype, (stack.num_layers * stack.directions, batch, stack.hidden_size)
    h0, x = np.zeros(shape, dtype), np.zeros((1, batch, input_size), dtype)
    tape = Tape(Layout(False, True, 1, batch), stack.parameters, [], [])
    stack_forward(stack._replace(save="outputs"), x, Given(h0, Steps(None)), None, tape)
    return [run.problem for run in tape.runs]


def stack_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: Parameters, with_x: bool = True
) -> Gradients:
    """d_output (T, B, directions*H) and d_h_n (layers*directions, B, H) give the gradients of all that entered."""
    D, given, d_x = stack.directions, tape.given, d_output
    d_h0, d_reset_state, d_decay = np.empty(d_h_n.shape, d_h_n.dtype), None, None
    if tape.runs[0].problem.steps.reset is not None:
        d_reset_state = np.empty(d_h_n.shape, d_h_n.dtype)
    for layer in range(stack.num_layers - 1, -1, -1):
        first = layer * D
        d_weights = gru_parts(gradients, layer, D)
        runs = backward_runs(tape.runs[first : first + D], d_x, d_h_n, d_h0, d_weights, with_x or layer > 0, first)
        d_x, mask = runs[0][0], tape.masks[layer]
        if D == 2 and d_x is not None:
            d_x += runs[1][0]
        if mask is not None:
            d_x = d_x * mask
        for i, (_, of_reset_state, of_decay) in enumerate(runs, first):
            if d_reset_state is not None:
                d_reset_state[i] = of_reset_state
            if of_decay is not None:
                d_decay = of_decay if d_decay is None else d_decay + of_decay
    if given is not None:
        if given.fixed is not None:
            _drop_weight_gradients(gradients, given.fixed, D)
        if stack.learn_h0:
            _learned_gradients(given, d_h0, d_reset_state, D, gradients)
        if given.shared_decay and d_decay is not None:
            d_decay = d_decay.sum(axis=-1, keepdims=True)
    return Gradients(d_x, d_h0, gradients, d_reset_state, d_decay)


def _drop_weight_gradients(gradients: Parameters, fixed: list[Fixed], directions: int) -> None:
    """From the gradients of the recurrent matrices that were used to those of the parameters."""
    for i, masks in enumerate(fixed):
        if masks.weight is not None:
            d = gradients[f"weight_hh{suffix(*divmod(i, directions))}"]
            np.multiply(d, masks.weight, out=d)


def decay_of_units(decay: Array, hidden_size: int) -> Array:
    """(T, B, H)."""
    if decay.shape[2] == hidden_size:  # of any stride: engines read it as it lies
        return decay
    return np.repeat(decay, hidden_size, axis=2)


# ------------------------------------------------------------------------------------------- learned first states


def learned_states(parameters: Parameters, num_layers: int, directions: int, batch: int) -> Array:
    """(layers*directions, B, H): the learned first states, the same in each row."""
    count = num_layers * directions
    states = np.empty((count, batch, *parameters[_h0_name(0, directions)].shape), parameters.dtype)
    for i in range(count):
        states[i] = parameters[_h0_name(i, directions)]
    return states


def _learned_gradients(
    given: Given, d_h0: Array, d_reset_state: Array | None, directions: int, gradients: Parameters
) -> None:
    """Fill those of the learned first states: sums over the rows of the states that they were used for."""
    for i in range(len(d_h0)):
        d = gradients[_h0_name(i, directions)]
        if not given.learned_h0:
            d[...] = 0
        elif d_h0.shape[1] == 1:  # NumPy's sum of one row would take a tenth of a pass
            d[...] = d_h0[i, 0]
        else:
            np.add.reduce(d_h0[i], axis=0, out=d)
        if given.learned_reset_state and d_reset_state is not None:
            d += d_reset_state[i].sum(axis=0)


@cache
def _h0_name(i: int, directions: int) -> str:
    return f"h0{suffix(*divmod(i, directions))}"
