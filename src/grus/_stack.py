"""The loop over layers, forward and backward; arrays are time-major here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grus import functional
from grus._layout import Layout
from grus.equations import Formulation
from grus.functional import Run
from grus.parameters import Parameters, gru_weights
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
    bias: bool
    dropout: float
    save: str

    @property
    def hidden_size(self) -> int:
        return len(self.parameters["weight_hh_l0"]) // 3


class Given(NamedTuple):
    """What every layer is given besides its input, checked."""

    h0: Array  # (layers*directions, B, H)
    reset_state: Array  # the same
    lengths: Array | None  # (B,)
    valid: Array | None  # (T, B)
    reset: Array | None  # (T, B)


class Tape(NamedTuple):
    """What a forward pass keeps for one backward pass."""

    layout: Layout
    parameters: Parameters  # those of the GRU that it belongs to
    runs: list[functional.Tape]  # layer by layer, direction by direction
    masks: list[Array | None]  # dropout on each layer's input
    checkpoints: Checkpoints | None = None  # in place of runs and masks


class StackGradients(NamedTuple):
    """Gradients as :class:`grus.Gradients`, time-major."""

    x: Array
    h0: Array
    parameters: Parameters
    reset_state: Array | None


def stack_forward(
    stack: Stack, tape: Tape, x: Array, given: Given, training: bool, rng: np.random.Generator | None
) -> tuple[Array, Array]:
    """x (T, B, I) gives output and h_n; fills the tape in training."""
    D, keep = stack.directions, training and stack.save == "gates"
    h_n, output = np.empty_like(given.h0), x
    for layer in range(stack.num_layers):
        mask = _dropout_mask(stack.dropout if layer else 0.0, output, rng)
        tape.masks.append(mask)
        output = output if mask is None else output * mask
        runs = [_run(stack, layer, direction, output, given) for direction in range(D)]
        output, ends, tapes = functional.forward_runs(runs, training, keep)
        h_n[layer * D : layer * D + D] = ends
        tape.runs.extend(tapes)
    return output, h_n


def _run(stack: Stack, layer: int, direction: int, x: Array, given: Given) -> Run:
    i = layer * stack.directions + direction
    steps = Steps(given.reset_state[i], direction == 1, given.valid, given.reset)
    weights = gru_weights(stack.parameters, layer, direction)
    return Run(Problem(x, given.h0[i], weights, stack.form, steps), given.lengths)


def inference_problems(stack: Stack, input_size: int, batch: int) -> list[Problem]:
    """What a call for one step gives an engine, layer by layer and direction by direction; x and h0 are zeros."""
    dtype, shape = stack.parameters.dtype, (stack.num_layers * stack.directions, batch, stack.hidden_size)
    h0, x = np.zeros(shape, dtype), np.zeros((1, batch, input_size), dtype)
    tape = Tape(Layout(False, True, 1, batch), stack.parameters, [], [])
    stack_forward(stack._replace(save="outputs"), tape, x, Given(h0, h0, None, None, None), True, None)
    return [tape.run.problem for tape in tape.runs]


def stack_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: Parameters
) -> StackGradients:
    """d_output (T, B, directions*H) and d_h_n (layers*directions, B, H) give the gradients of all that entered."""
    D = stack.directions
    d_h0 = np.empty_like(d_h_n)
    d_reset_state = None if tape.runs[0].run.problem.steps.reset is None else np.zeros_like(d_h_n)
    for layer in reversed(range(stack.num_layers)):
        own = slice(layer * D, layer * D + D)
        d_weights = [gru_weights(gradients, layer, direction) for direction in range(D)]
        runs = functional.backward_runs(tape.runs[own], d_output, d_h_n[own], d_weights)
        for i, run in enumerate(runs, start=layer * D):
            d_h0[i] = run.h0
            if d_reset_state is not None:
                d_reset_state[i] = run.reset_state
        d_x, mask = _sum([run.x for run in runs if run.x is not None]), tape.masks[layer]
        d_output = d_x if mask is None else d_x * mask
    return StackGradients(d_output, d_h0, gradients, d_reset_state)


def _sum(arrays: list[Array]) -> Array:
    """The sum of one array or of two, in place."""
    total = arrays[0]
    for other in arrays[1:]:
        total += other
    return total


def _dropout_mask(rate: float, layer_input: Array, rng: np.random.Generator | None) -> Array | None:
    """Zeros at the given rate and 1/(1-rate) elsewhere; None where nothing is dropped."""
    if rng is None or rate == 0:
        return None
    keep = 1 - rate
    return np.asarray((rng.random(layer_input.shape) < keep) / keep, layer_input.dtype)
