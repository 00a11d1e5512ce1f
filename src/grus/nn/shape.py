"""Layers without parameters between sequences and single vectors: Flatten and Pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus import _check
from grus.nn._layer import Array, Context, Layer, sequence_axes, valid_steps
from grus.parameters import Parameters


class Flatten(Layer):
    """(B, T, F) as (B, T*F). All sequences must be of one length.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> grus.nn.Sequential([grus.nn.Flatten()])(np.ones((2, 7, 3))).shape
    (2, 21)
    """

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        if context.lengths is not None and (context.lengths != x.shape[1]).any():
            raise ValueError(
                f"Flatten needs sequences of one length; got lengths {context.lengths.min()} ... "
                f"{context.lengths.max()}. Use Pool, or GRU with sequences=False, instead."
            )
        return x.reshape(len(x), -1), x.shape

    def backward(self, tape: tuple[int, ...], dy: Array, gradients: Parameters) -> Array:
        return dy.reshape(tape)


class Pool(Layer):
    """One vector for each sequence (B, F), from its valid steps (B, T, F) alone.

    Parameters
    ----------
    how : {"last", "mean", "max"}, default "last"
        The last valid step, the mean or the largest of all valid steps. For a row without any, zeros. After a
        bidirectional GRU prefer ``sequences=False`` to "last": the reverse direction ends at the first step.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.Pool("mean")])
    >>> model([np.array([[1.0], [3.0]]), np.array([[5.0]])])
    array([[2.],
           [5.]], dtype=float32)
    """

    def __init__(self, how: str = "last", **common: Any) -> None:
        super().__init__(**common)
        self.how = _check.choice("how", how, ("last", "mean", "max"))

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        sequence_axes("Pool", x)
        weights = self._weights(x, valid_steps(x, context.lengths))
        return (np.where(weights != 0, x, 0) * weights).sum(axis=1), weights

    def _weights(self, x: Array, valid: Array) -> Array:
        """(B, T, F or 1): how much each step counts. All three ways are weighted sums."""
        count = valid.sum(axis=1)
        if self.how == "mean":
            return np.asarray((valid / np.maximum(count, 1)[:, None])[..., None], x.dtype)
        if self.how == "last":
            return np.asarray((np.arange(x.shape[1]) == count[:, None] - 1)[..., None], x.dtype)
        if x.shape[1] == 0:
            return np.zeros_like(x)
        largest = np.where(valid[..., None], x, -np.inf).argmax(axis=1)[:, None]
        at = np.arange(x.shape[1])[:, None] == largest
        return np.asarray(at & valid[..., None], x.dtype)

    def backward(self, tape: Array, dy: Array, gradients: Parameters) -> Array:
        return dy[:, None] * tape

    def options(self) -> dict[str, Any]:
        return {"how": self.how}
