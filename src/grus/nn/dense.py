"""A fully connected layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from grus import _check
from grus.activations import Activation
from grus.nn._layer import Array, Context, Layer, Shapes, feature_count
from grus.parameters import Parameters, glorot_uniform


class Dense(Layer):
    """activation(x W^T + b) over the last axis.

    Parameters
    ----------
    units : int
        K, the number of outputs.
    activation : str or Activation, default "identity"
        Any of :class:`grus.Activation`, ``softmax`` (with ``temperature``) included.
    bias : bool, default True
        Without it there is no b.
    name, learning_rate, clip_norm
        As for every layer.

    Notes
    -----
    ``weight`` is (K, inputs), Glorot-uniform at first; ``bias`` (K,), zeros at first.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.Dense(4, "softmax")], seed=0)
    >>> model(np.ones((2, 3))).sum(axis=1).round(6)
    array([1., 1.], dtype=float32)
    """

    def __init__(
        self,
        units: int,
        activation: str | Activation | Mapping[str, Any] = "identity",
        bias: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.units = _check.size("units", units)
        self.activation = Activation.of(activation)
        self.bias = _check.boolean("bias", bias)

    def infer(self, x: Array) -> dict[str, Any]:
        return {"input_size": feature_count("Dense", x)}

    def shapes(self, sizes: dict[str, Any]) -> Shapes:
        shapes: Shapes = {"weight": (self.units, sizes["input_size"])}
        return shapes | {"bias": (self.units,)} if self.bias else shapes

    def initialise(self, rng: np.random.Generator) -> None:
        self.parameters["weight"][...] = glorot_uniform(rng, *self.parameters["weight"].shape)

    def logits(self, x: Array) -> Array:
        """The pre-activations: what a loss that is fused with the activation works on.

        Those of a softmax come divided by its temperature.
        """
        _check.shaped(
            "x", x, (*"BT"[: x.ndim - 1], self.parameters["weight"].shape[1]), f"{self.name} is built so"
        )
        a = x @ self.parameters["weight"].T
        if self.bias:
            a += self.parameters["bias"]
        return np.asarray(a / self._temperature(a))

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        y = self.outputs(self.logits(x))
        return y, (x, y)

    def outputs(self, logits: Array) -> Array:
        """What :meth:`forward` gives, from :meth:`logits`."""
        return self.activation(logits * self._temperature(logits))

    def backward(self, tape: tuple[Array, Array], dy: Array, gradients: Parameters) -> Array:
        x, y = tape
        return self._linear_backward(x, self.activation.backward(dy, y), gradients)

    def backward_from_logits(self, x: Array, d_logits: Array, gradients: Parameters) -> Array:
        """As :meth:`backward`, from the gradient of what :meth:`logits` gave."""
        return self._linear_backward(x, d_logits / self._temperature(d_logits), gradients)

    def _linear_backward(self, x: Array, da: Array, gradients: Parameters) -> Array:
        rows = da.reshape(-1, self.units)
        gradients["weight"][...] = rows.T @ x.reshape(-1, x.shape[-1])
        if self.bias:
            gradients["bias"][...] = rows.sum(axis=0)
        return np.asarray(da @ self.parameters["weight"])

    def _temperature(self, like: Array) -> Any:
        return like.dtype.type(self.activation.parameters.get("temperature", 1.0))

    def obstacle_to_chunks(self) -> str:
        return ""

    def options(self) -> dict[str, Any]:
        return {"units": self.units, "activation": self.activation.config(), "bias": self.bias}

    def __repr__(self) -> str:
        activation = "" if self.activation.name == "identity" else f", {self.activation.name!r}"
        return f"Dense({self.units}{activation}{'' if self.bias else ', bias=False'})"
