"""The GRU as a layer of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

import grus.layer as layers
from grus import _check
from grus._stack import Tape
from grus.nn._layer import Array, Context, Layer, sequence_axes
from grus.parameters import Parameters

_OF_THE_MODEL = {
    "input_size": "it is inferred from the data",
    "batch_first": "a model's arrays are (B, T, features)",
    "dtype": "pass it to Sequential",
    "seed": "pass it to Sequential",
}


class GRU(Layer):
    """A :class:`grus.GRU` whose input size is inferred.

    Parameters
    ----------
    units : int
        H, the hidden size.
    sequences : bool, default False
        True: all states, (B, T, directions*H). False: the last, (B, directions*H): each direction's state after
        the last step that it reads, which for the reverse direction, or with ``reverse``, is the row's first.
    name, learning_rate, clip_norm
        As for every layer.
    **options
        Of :class:`grus.GRU`: ``num_layers``, ``bidirectional``, ``reverse``, ``formulation``, ``layer_norm``,
        ``recurrent_dropout``, ... What is random in training comes from the model's generator.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.GRU(4, bidirectional=True)], seed=0)
    >>> model(np.ones((2, 7, 3))).shape
    (2, 8)
    """

    def __init__(self, units: int, sequences: bool = False, **options: Any) -> None:
        common = {key: options.pop(key) for key in ("name", "learning_rate", "clip_norm") if key in options}
        super().__init__(**common)
        for name, why in _OF_THE_MODEL.items():
            if name in options:
                raise TypeError(f"GRU in a model takes no {name}: {why}.")
        units = _check.size("units", units)
        self.core = layers.GRU(1, units, **options)  # checks the options; the real one follows when I is known
        self.sequences = _check.boolean("sequences", sequences)

    def infer(self, x: Array) -> dict[str, Any]:
        sequence_axes("GRU", x)
        return {"input_size": x.shape[2]}

    def allocate(self, sizes: dict[str, Any], dtype: np.dtype[Any], rng: np.random.Generator) -> None:
        self.sizes = sizes
        self.core = layers.GRU.from_config(self.core.config() | sizes | {"dtype": dtype.name}, seed=rng)
        self.parameters = self.core.parameters

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        sequence_axes("GRU", x)
        tape, h0 = None, None if context.states is None else context.states.get(self.name, (None,))[0]
        if context.training:
            returned = self.sequences or self.core.checkpoint_every is None
            output, h_n, tape = self.core.forward(
                x, h0, lengths=context.lengths, rng=context.rng, return_output=returned
            )
        else:
            output, h_n = self.core(x, h0, lengths=context.lengths)
        if context.states is not None:
            context.states[self.name] = (h_n,)
        return self._select(output, h_n), tape

    def obstacle_to_chunks(self) -> str:
        if self.core.bidirectional:
            return "its reverse direction begins at each sequence's end. Use bidirectional=False."
        if self.core.reverse:
            return "it begins at each sequence's end. Use reverse=False."
        return ""

    def _select(self, output: Array, h_n: Array) -> Array:
        return output if self.sequences else np.concatenate(h_n[-self.core.directions :], axis=-1)

    def backward(self, tape: Tape, dy: Array, gradients: Parameters) -> Array:
        d_x = self._gradient_of_x(tape, dy, gradients, True)
        assert d_x is not None  # it was asked for
        return d_x.swapaxes(0, 1)

    def backward_parameters(self, tape: Tape, dy: Array, gradients: Parameters) -> None:
        """:meth:`backward` without x's gradient, which takes a large product and here nobody reads."""
        self._gradient_of_x(tape, dy, gradients, False)

    def _gradient_of_x(self, tape: Tape, dy: Array, gradients: Parameters, with_x: bool) -> Array | None:
        if self.sequences:
            return self.core.stack_gradients(tape, dy, None, out=gradients.flat, with_x=with_x).x
        D, H = self.core.directions, self.core.hidden_size
        d_h_n = np.zeros((self.core.num_layers * D, len(dy), H), dy.dtype)
        d_h_n[-D:] = dy.reshape(len(dy), D, H).swapaxes(0, 1)
        return self.core.stack_gradients(tape, None, d_h_n, out=gradients.flat, with_x=with_x).x

    def options(self) -> dict[str, Any]:
        given = {k: v for k, v in self.core.config().items() if k not in {*_OF_THE_MODEL, "hidden_size"}}
        gates = tuple(given["gate_activation"])
        return {"units": self.core.hidden_size, "sequences": self.sequences, **given, "gate_activation": gates}

    def __repr__(self) -> str:
        inside = repr(self.core).split(")")[0].split(", ", 1)[1]  # without the input size, which is inferred
        return f"GRU({inside}{', sequences=True' if self.sequences else ''})"
