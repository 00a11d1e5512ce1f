"""Checks of exact gradients by complex steps: Im f(v + ih) / h has no cancellation, so it is exact to rounding.

Source: Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions", SIAM Review 40.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from grus import _check
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_STEP = 1e-30


def complex_step(loss: Callable[[], complex], array: Array) -> Array:
    """The gradient of ``loss()`` with respect to ``array``, a complex128 array that the loss reads.

    Parameters
    ----------
    loss : callable
        Returns the loss at the present values of ``array``.
    array : ndarray of complex128
        Stepped in place, entry by entry, and left as it was.

    Returns
    -------
    ndarray of float64, of array's shape

    Notes
    -----
    Cost: one call of ``loss`` for every entry.

    Examples
    --------
    >>> import numpy as np
    >>> v = np.array([1.0, 2.0], complex)
    >>> complex_step(lambda: (v**3).sum(), v)
    array([ 3., 12.])
    """
    gradient = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + 1j * _STEP
        gradient[index] = complex(loss()).imag / _STEP
        array[index] = value
    return gradient


def relative_error(value: Array, exact: Array) -> float:
    """|value - exact| / |exact| in the 2-norm; where exact is all zeros, |value|."""
    scale = float(np.linalg.norm(exact)) or 1.0
    return float(np.linalg.norm(value - exact)) / scale


def gradcheck(
    gru: GRU, x: Array, h0: Array | None = None, *, rng: int | np.random.Generator = 0, **options: Any
) -> dict[str, float]:
    """The relative error of every gradient of a GRU against complex steps.

    The loss is a random weighted sum of ``output`` and ``h_n``. The gradients are those of the engine in use; the
    complex steps always run on the reference.

    Parameters
    ----------
    gru : GRU
        With ``dropout=0``; its parameters are checked in float64, whatever its dtype.
    x : ndarray, shape (B, T, I)
        As for a call of ``gru``. Keep it small: each number of x, of the states and of the parameters costs one
        forward pass.
    h0 : ndarray, shape (layers*directions, B, H), optional
        Random states when omitted, because zeros hide mistakes.
    rng : int or numpy.random.Generator, default 0
        Of the loss weights, and of the states that are omitted.
    **options
        ``lengths``, ``mask``, ``reset``, ``reset_state`` as for a call.

    Returns
    -------
    dict of str to float
        ``x``, ``h0``, ``reset_state`` (with reset) and each parameter's name, to the relative error in the 2-norm;
        1e-13 is typical, and 1e-12 is a bound for small sizes.

    Raises
    ------
    ValueError, TypeError
        As a call of ``gru``; and where its dropout is above 0.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> gru, x = grus.GRU(2, 3, seed=0), np.random.default_rng(0).standard_normal((2, 4, 2))
    >>> max(grus.gradcheck(gru, x).values()) < 1e-12
    True
    """
    if gru.dropout:
        raise ValueError(f"gradcheck needs dropout=0, because dropout draws anew each time; got {gru.dropout:g}.")
    rng = _check.generator("rng", rng)
    real, step = _as_dtype(gru, "float64"), _as_dtype(gru, "complex128")
    x = _check.real("x", x)
    shape = real(x).h_n.shape

    def values(name: str, given: Array | None) -> Array:
        return _check.real(name, rng.standard_normal(shape) if given is None else given)

    arrays = {"x": x, "h0": values("h0", h0)}
    if options.get("reset") is not None:
        arrays["reset_state"] = values("reset_state", options.pop("reset_state", None))
    inputs: dict[str, Any] = arrays | options
    output, h_n, tape = real.forward(**inputs)
    weights = [np.asarray(rng.standard_normal(a.shape)) for a in (output, h_n)]
    exact = real.backward(tape, weights[0], weights[1])
    stepped = {name: array.astype(complex) for name, array in arrays.items()}

    def loss() -> complex:
        result = step(**stepped, **options)
        return complex((weights[0] * result.output).sum() + (weights[1] * result.h_n).sum())

    checked: Mapping[str, Array] = stepped | dict(step.parameters)
    found = exact._asdict() | dict(exact.parameters)
    return {name: relative_error(found[name], complex_step(loss, array)) for name, array in checked.items()}


def _as_dtype(gru: GRU, dtype: str) -> GRU:
    """The same GRU with its parameters in another dtype."""
    copy = GRU.from_config(gru.config() | {"dtype": dtype})
    copy.flat[...] = gru.flat
    return copy
