"""Dropout between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grus import _check
from grus._masks import dropout_mask
from grus.nn._layer import Array, Context, Layer
from grus.parameters import Parameters


class Dropout(Layer):
    """In training, zeros at a rate and the rest scaled by 1/(1-rate); outside training, nothing.

    Parameters
    ----------
    rate : float
        0 <= rate < 1, the probability to drop.
    axis : int or sequence of int, default ()
        Axes that share one mask: ``axis=1`` drops the same features at every step of (B, T, F).

    References
    ----------
    .. [1] Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> model = grus.nn.Sequential([grus.nn.Dropout(0.5, axis=1)])
    >>> model(np.ones((1, 2, 3)))
    array([[[1., 1., 1.],
            [1., 1., 1.]]], dtype=float32)
    """

    def __init__(self, rate: float, axis: int | Sequence[int] = (), **common: Any) -> None:
        super().__init__(**common)
        self.rate = _check.probability("rate", rate)
        axes = np.atleast_1d(_check.array("axis", axis))
        if axes.size and axes.dtype.kind not in "iu":
            raise TypeError(f"axis must be a whole number, or several; got {axis!r}.")
        self.axis = tuple(int(a) for a in axes)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        if not context.training or self.rate == 0:
            return x, None
        if context.rng is None:
            raise ValueError(
                f"rng must be given because Dropout's rate is {self.rate:g}. Pass rng=0 or a Generator."
            )
        mask = self._mask(x, context.rng)
        return x * mask, mask

    def _mask(self, x: Array, rng: np.random.Generator) -> Array:
        if any(not -x.ndim <= a < x.ndim for a in self.axis):
            raise ValueError(f"axis must name axes of x, which has {x.ndim}; got {self.axis}.")
        shared = {a % x.ndim for a in self.axis}
        shape = tuple(1 if i in shared else n for i, n in enumerate(x.shape))
        return dropout_mask(self.rate, shape, x.dtype, rng)

    def backward(self, tape: Array | None, dy: Array, gradients: Parameters) -> Array:
        return dy if tape is None else dy * tape

    def obstacle_to_chunks(self) -> str:
        return ""

    def options(self) -> dict[str, Any]:
        return {"rate": self.rate, "axis": list(self.axis)}
