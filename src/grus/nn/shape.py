"""Layers without parameters between sequences and single vectors: Flatten and Pool."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus import _check
from grus.nn._data import without_padding
from grus.nn._layer import Array, Context, Layer, sequence_axes
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

    def obstacle_to_chunks(self) -> str:
        return "Flatten needs all steps of a sequence at once. Use GRU with sequences=False instead."

    def backward(self, tape: tuple[int, ...], dy: Array, gradients: Parameters) -> Array:
        return dy.reshape(tape)


class Pool(Layer):
    """One vector for each sequence (B, F), from its valid steps (B, T, F) alone.

    Parameters
    ----------
    how : {"last", "mean", "max"}, default "last"
        The last valid step, the mean or the largest of all valid steps. For a row without any, zeros. After a
        bidirectional or reverse GRU prefer ``sequences=False`` to "last": it ends at the first step.

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
        if self.how == "max":
            return _largest(x, context.lengths)
        return (_mean if self.how == "mean" else _last)(x, context.lengths)

    def obstacle_to_chunks(self) -> str:
        if self.how == "last":
            return ""
        return f"the {self.how} needs all steps of a sequence at once. Use the last, or an output at every step."

    def backward(self, tape: Array, dy: Array, gradients: Parameters) -> Array:
        return dy[:, None] * tape

    def options(self) -> dict[str, Any]:
        return {"how": self.how}


# Each gives the vectors (B, F), and (B, T, F or 1) how much each step counts in them.


def _last(x: Array, lengths: Array | None) -> tuple[Array, Array]:
    count = _counts(x, lengths)
    y, rows = np.zeros((len(x), x.shape[2]), x.dtype), np.flatnonzero(count)
    y[rows] = x[rows, count[rows] - 1]
    return y, (np.arange(x.shape[1]) == count[:, None] - 1)[..., None].astype(x.dtype)


def _mean(x: Array, lengths: Array | None) -> tuple[Array, Array]:
    count = _counts(x, lengths)[:, None]
    weight = (1 / np.maximum(count, 1)).astype(x.dtype)
    used = x if lengths is None else without_padding(x, lengths)
    return used.sum(axis=1) * weight, (weight * (np.arange(x.shape[1]) < count))[..., None]


def _largest(x: Array, lengths: Array | None) -> tuple[Array, Array]:
    """Among equal steps the first one counts."""
    used = x if lengths is None else without_padding(x, lengths, -np.inf)
    y = used.max(axis=1, initial=-np.inf)
    at, some = used == y[:, None], _counts(x, lengths) > 0
    at[~some] = False
    if np.count_nonzero(at) > np.count_nonzero(some[:, None] & ~np.isnan(y)):  # more than one of a row and feature
        b, f = np.nonzero(at.sum(axis=1) > 1)
        at[b, :, f] = np.arange(x.shape[1]) == at[b, :, f].argmax(axis=1)[:, None]
    return np.where(some[:, None], y, 0), at


def _counts(x: Array, lengths: Array | None) -> Array:
    return np.full(len(x), x.shape[1]) if lengths is None else lengths
