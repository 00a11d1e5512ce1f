"""The loop over layers and directions, forward and backward; arrays are time-major here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from grus import functional
from grus._layout import Layout
from grus.equations import Formulation
from grus.functional import GRUParams
from grus.parameters import Parameters, gru_weights

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

    def params(self, layer: int, direction: int) -> GRUParams:
        """The parameters of one layer in one direction, as views."""
        weights = gru_weights(self.parameters, layer, direction)
        return GRUParams(*weights) if self.bias else GRUParams(weights.weight_ih, weights.weight_hh)


@dataclass
class Tape:
    """What a forward pass keeps for one backward pass."""

    layout: Layout
    parameters: Parameters  # those of the GRU that it belongs to
    runs: list[functional.Tape] = field(default_factory=list)  # layer by layer, direction by direction
    masks: list[Array | None] = field(default_factory=list)  # dropout on each layer's input


class StackGradients(NamedTuple):
    """Gradients as :class:`grus.Gradients`, time-major."""

    x: Array
    h0: Array
    parameters: Parameters
    reset_state: Array


def stack_forward(
    stack: Stack,
    tape: Tape,
    x: Array,
    h0: Array,
    reset_state: Array,
    rng: np.random.Generator | None,
    **steps: Any,
) -> tuple[Array, Array]:
    """x (T, B, I), h0 and reset_state (layers*directions, B, H) give output and h_n; fills the tape.

    ``steps`` is what each run of :func:`grus.gru_forward` gets besides: lengths, mask, reset, training.
    """
    form = stack.form
    options: dict[str, Any] = {
        "reset_after": form.reset_after,
        "activation": form.activation,
        "gate_activation": (form.reset_activation, form.update_activation),
        "save": stack.save,
    }
    h_n, output = np.empty_like(h0), x
    for layer in range(stack.num_layers):
        tape.masks.append(_dropout_mask(stack.dropout if layer else 0.0, output, rng))
        layer_input = output if tape.masks[-1] is None else output * tape.masks[-1]
        outputs = []
        for direction in range(stack.directions):
            i = layer * stack.directions + direction
            begin = None if steps["reset"] is None else reset_state[i]
            states = {"h0": h0[i], "reset_state": begin, "reverse": direction == 1}
            params = stack.params(layer, direction)
            states_out, h_n[i], run = functional.gru_forward(
                layer_input, params=params, **states, **options, **steps
            )
            outputs.append(states_out)
            if run is not None:
                tape.runs.append(run)
        output = outputs[0] if stack.directions == 1 else np.concatenate(outputs, axis=-1)
    return output, h_n


def stack_backward(
    stack: Stack, tape: Tape, d_output: Array, d_h_n: Array, gradients: Parameters
) -> StackGradients:
    """d_output (T, B, directions*H) and d_h_n (layers*directions, B, H) give the gradients of all that entered."""
    D, H = stack.directions, d_h_n.shape[-1]
    d_h0, d_reset_state = np.empty_like(d_h_n), np.zeros_like(d_h_n)
    for layer in reversed(range(stack.num_layers)):
        d_x = np.zeros_like(tape.runs[layer * D].x)
        for direction in range(D):
            i = layer * D + direction
            run = functional.gru_backward(
                tape.runs[i], d_output[..., direction * H : (direction + 1) * H], d_h_n[i]
            )
            _store(gradients, layer, direction, run.params)
            d_h0[i] = run.h0
            if run.reset_state is not None:
                d_reset_state[i] = run.reset_state
            d_x += run.x
        mask = tape.masks[layer]
        d_output = d_x if mask is None else d_x * mask
    return StackGradients(d_output, d_h0, gradients, d_reset_state)


def _dropout_mask(rate: float, layer_input: Array, rng: np.random.Generator | None) -> Array | None:
    """Zeros at the given rate and 1/(1-rate) elsewhere; None where nothing is dropped."""
    if rng is None or rate == 0:
        return None
    keep = 1 - rate
    return np.asarray((rng.random(layer_input.shape) < keep) / keep, layer_input.dtype)


def _store(gradients: Parameters, layer: int, direction: int, params: GRUParams) -> None:
    for view, value in zip(gru_weights(gradients, layer, direction), params, strict=True):
        if value is not None:
            view[...] = value
