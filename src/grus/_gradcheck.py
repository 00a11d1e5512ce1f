"""Checks of exact gradients by complex steps: Im f(v + ih) / h has no cancellation, so it is exact to rounding.

Source: Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions", SIAM Review 40.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from grus import _check
from grus._stack import Stack
from grus.equations import from_input, step_forward
from grus.functional import _visible
from grus.layer import GRU
from grus.reference import Problem, _at, _decayed, _order, _used, reset_before

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
        Its parameters are checked in float64, whatever its dtype.
    x : ndarray, shape (B, T, I)
        As for a call of ``gru``. Keep it small: each number of x, of the states and of the parameters costs one
        forward pass.
    h0 : ndarray, shape (layers*directions, B, H), optional
        Random states when omitted, because zeros hide mistakes; but with ``learn_h0`` the learned ones.
    rng : int or numpy.random.Generator, default 0
        Of the loss weights, of the states that are omitted, and of the masks of dropout and zoneout: they are
        drawn once, and the same in every pass.
    **options
        ``lengths``, ``mask``, ``reset``, ``reset_state``, ``decay`` as for a call.

    Returns
    -------
    dict of str to float
        ``x``, ``h0``, ``reset_state`` (with reset), ``decay`` (with decay) and each parameter's name, to the
        relative error in the 2-norm; 1e-13 is typical, and 1e-12 is a bound for small sizes.

    Raises
    ------
    ValueError, TypeError
        As a call of ``gru``; and where it has a ``gradient_clip``.

    Notes
    -----
    With ``truncate=k`` the complex steps run through a GRU of the same values whose state at each step depends on
    nothing that is more than k steps before.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> gru, x = grus.GRU(2, 3, seed=0), np.random.default_rng(0).standard_normal((2, 4, 2))
    >>> max(grus.gradcheck(gru, x).values()) < 1e-12
    True
    """
    form = gru.formulation
    if form.gradient_clip is not None:
        raise ValueError(
            "gradcheck needs gradient_clip=None, because a cut gradient is no derivative; "
            f"got {form.gradient_clip:g}."
        )
    rng = _check.generator("rng", rng)
    seed = int(rng.integers(2**32)) if gru.needs_rng else None
    real = _as_dtype(gru, "float64", GRU)
    step = _as_dtype(gru, "complex128", GRU if form.truncate is None else _Truncated)
    arrays, options = _inputs(real, x, h0, rng, options)
    inputs: dict[str, Any] = arrays | options
    output, h_n, tape = real.forward(**inputs, rng=seed)
    weights = [np.asarray(rng.standard_normal(a.shape)) for a in (output, h_n)]
    exact = real.backward(tape, weights[0], weights[1])
    stepped = {name: array.astype(complex) for name, array in arrays.items()}

    def loss() -> complex:
        run: Any = step if seed is None else partial(step.forward, rng=seed)
        result = run(**stepped, **options)
        return complex((weights[0] * result.output).sum() + (weights[1] * result.h_n).sum())

    checked: Mapping[str, Array] = stepped | dict(step.parameters)
    found = exact._asdict() | dict(exact.parameters)
    return {name: relative_error(found[name], complex_step(loss, array)) for name, array in checked.items()}


def _inputs(
    gru: GRU, x: Any, h0: Any, rng: np.random.Generator, options: dict[str, Any]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """What is stepped by name, in float64, and the other keywords of a call."""
    arrays, options = {"x": _check.real("x", x)}, dict(options)
    given = {"h0": h0}
    if options.get("reset") is not None:
        given["reset_state"] = options.pop("reset_state", None)
    shape = gru(arrays["x"]).h_n.shape
    for name, value in given.items():
        if value is not None or not gru.learn_h0:
            arrays[name] = _check.real(name, rng.standard_normal(shape) if value is None else value)
    if options.get("decay") is not None:
        arrays["decay"] = _check.real("decay", options.pop("decay"))
    return arrays, options


def _as_dtype(gru: GRU, dtype: str, kind: type[GRU]) -> GRU:
    """The same GRU with its parameters in another dtype."""
    copy = kind.from_config(gru.config() | {"dtype": dtype})
    copy.flat[...] = gru.flat
    return copy


# ------------------------------------------------------------------------------ derivatives of truncated gradients


class _Truncated(GRU):
    """A GRU in complex128 whose states have the derivatives that truncation leaves of them."""

    def _stack(self) -> Stack:
        return super()._stack()._replace(forward_runs=_truncated_runs)


def _truncated_runs(
    problems: Sequence[Problem], lengths: Array | None, training: bool, keep: bool
) -> tuple[Array, list[Array], list[Any]]:
    """As :func:`grus.functional.forward_runs`, which keeps no tape."""
    results = [_truncated(problem) for problem in problems]
    states = np.concatenate([states for states, _ in results], axis=-1)
    output = states if lengths is None else _visible(states, lengths)
    return output, [h_n for _, h_n in results], []


def _truncated(problem: Problem) -> tuple[Array, Array]:
    """All states and the last.

    ``ages[k]`` is the state from which a gradient goes back through at most k steps: a step makes it of what went
    back through k - 1, and the youngest of a state without an imaginary part, of which no derivative is left.
    """
    x, h0, weights, form, steps, masks = problem
    most, reset = form.truncate or 0, reset_before(steps)
    states, ages = np.empty((*x.shape[:2], h0.shape[-1]), complex), [h0] * (min(most, len(x)) + 1)
    _, gx = from_input(_used(problem), weights, masks)
    for t in _order(len(x), steps):
        if reset is not None:
            ages = [np.where(reset[t, :, None], steps.reset_state, h) for h in ages]
        made = []
        for before, carried in zip([ages[0].real, *ages], ages, strict=False):
            h_prev = _decayed(before, steps, t)
            h, _ = step_forward(gx[t], h_prev, weights, form, _at(masks, t))
            made.append(h if steps.valid is None else np.where(steps.valid[t, :, None], h, carried))
        ages, states[t] = made, made[-1]
    return states, ages[-1]
