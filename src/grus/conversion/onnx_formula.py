"""ONNX's GRU as its standard writes it [1]_: every attribute, over the node's own arrays.

ONNX's reference evaluator leaves out activations, clip and sequence_lens, and ONNX Runtime has float32 alone, so a
conversion is checked against this too. Nothing here may use grus.

References
----------
.. [1] https://onnx.ai/onnx/operators/onnx__GRU.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[[Array], Array]

_FUNCTIONS: dict[str, tuple[Callable[..., Array], str]] = {  # and which of alpha and beta it takes
    "Relu": (lambda x: np.maximum(0, x), ""),
    "Tanh": (np.tanh, ""),
    "Sigmoid": (lambda x: 0.5 * (1 + np.tanh(0.5 * x)), ""),  # 1/(1 + e^-x), which would overflow
    "Affine": (lambda x, alpha, beta: alpha * x + beta, "alpha beta"),
    "LeakyRelu": (lambda x, alpha: np.where(x >= 0, x, alpha * x), "alpha"),
    "ThresholdedRelu": (lambda x, alpha: np.where(x > alpha, x, 0), "alpha"),
    "ScaledTanh": (lambda x, alpha, beta: alpha * np.tanh(beta * x), "alpha beta"),
    "HardSigmoid": (lambda x, alpha, beta: np.minimum(np.maximum(alpha * x + beta, 0), 1), "alpha beta"),
    "Elu": (lambda x, alpha: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))), "alpha"),
    "Softsign": (lambda x: x / (1 + np.abs(x)), ""),
    "Softplus": (lambda x: np.logaddexp(0, x), ""),
}
_DEFAULTS = {  # of the operators, which hold them as float32
    ("LeakyRelu", "alpha"): 0.01, ("ThresholdedRelu", "alpha"): 1.0, ("HardSigmoid", "alpha"): 0.2,
    ("HardSigmoid", "beta"): 0.5, ("Elu", "alpha"): 1.0,
}  # fmt: skip


def onnx_gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    **attributes: Any,
) -> tuple[Array, Array]:
    """Y (T, D, N, H) and Y_h (D, N, H); with ``layout=1`` x, initial_h and both are batch-first."""
    batch_first = attributes.get("layout") == 1
    x = x.swapaxes(0, 1) if batch_first else x
    (steps, rows), (directions, H) = x.shape[:2], (len(w), r.shape[-1])
    biases = np.zeros((directions, 6 * H), x.dtype) if b is None else b
    lens = np.full(rows, steps) if sequence_lens is None else sequence_lens
    h0 = np.zeros((directions, rows, H), x.dtype) if initial_h is None else initial_h
    h0 = h0.swapaxes(0, 1) if batch_first and initial_h is not None else h0
    functions = _functions(directions, attributes)
    y, y_h = np.zeros((steps, directions, rows, H), x.dtype), np.array(h0)
    for d in range(directions):
        backwards = attributes.get("direction") == "reverse" or d == 1
        own = _step(w[d], r[d], biases[d], functions[d], attributes.get("linear_before_reset"))
        for t in range(steps)[:: -1 if backwards else 1]:
            used = (t < lens)[:, None]
            y_h[d] = np.where(used, own(x[t], y_h[d]), y_h[d])
            y[t, d] = np.where(used, y_h[d], 0)
    return (y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1)) if batch_first else (y, y_h)


def _step(
    w: Array, r: Array, b: Array, functions: tuple[Function, Function], linear_before_reset: int | None
) -> Callable[[Array, Array], Array]:
    (wz, wr, wh), (rz, rr, rh) = np.split(w, 3), np.split(r, 3)
    wbz, wbr, wbh, rbz, rbr, rbh = np.split(b, 6)
    f, g = functions

    def step(x: Array, h: Array) -> Array:
        z = f(x @ wz.T + h @ rz.T + wbz + rbz)
        reset = f(x @ wr.T + h @ rr.T + wbr + rbr)
        if linear_before_reset:
            new = g(x @ wh.T + reset * (h @ rh.T + rbh) + wbh)
        else:
            new = g(x @ wh.T + (reset * h) @ rh.T + rbh + wbh)
        return np.asarray((1 - z) * new + z * h)

    return step


def _functions(directions: int, attributes: Mapping[str, Any]) -> list[tuple[Function, Function]]:
    """f and g of each direction; alpha and beta are consumed in the functions' order."""
    names = attributes.get("activations") or ["Sigmoid", "Tanh"] * directions
    left = {key: iter(attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    clip, made = attributes.get("clip"), []
    for name in (next(each for each in _FUNCTIONS if each.lower() == name.lower()) for name in names):
        function, takes = _FUNCTIONS[name]
        given = {key: next(left[key], _DEFAULTS.get((name, key))) for key in takes.split()}
        of = {key: float(np.float32(value)) for key, value in given.items()}
        made.append(partial(_clipped, partial(function, **of), clip))
    return list(zip(made[::2], made[1::2], strict=True))


def _clipped(function: Function, clip: float | None, x: Array) -> Array:
    return function(x if clip is None else np.clip(x, -clip, clip))
