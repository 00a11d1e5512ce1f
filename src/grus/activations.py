"""Activation functions and their derivatives, each written once and used by the GRU and by ``grus.nn``.

A derivative is a function of the *output* ``y``: backward then needs no pre-activation. All functions take
float32, float64 and complex128 (complex-step differentiation), so branches look at the real part only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[..., Array]


class _Parameter(NamedTuple):
    default: float
    check: Callable[[str, Any], float]  # refuses what leaves no derivative as a function of the output


class _Row(NamedTuple):
    forward: Function
    derivative: Function
    parameters: Mapping[str, _Parameter] = {}  # never written to


def sigmoid(a: Array) -> Array:
    """1 / (1 + e^-a) with only e^-|a| ever computed: it can't overflow, and keeps relative accuracy."""
    negative = a.real < 0
    e = np.exp(np.where(negative, a, -a))
    return np.asarray(np.where(negative, e, 1) / (1 + e), dtype=a.dtype)


def softmax(a: Array, temperature: float = 1.0) -> Array:
    """e^(a/T) normalised over the last axis; the largest entry is subtracted first, so it can't overflow."""
    a = a / a.dtype.type(temperature)
    e = np.exp(a - a.real.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _magnitude(a: Array) -> Array:
    """|a| for reals, and its analytic continuation for complex steps."""
    return np.where(a.real < 0, -a, a)


def _hard_sigmoid(a: Array, alpha: float, beta: float) -> Array:
    line = alpha * a + beta
    return np.where(line.real <= 0, 0, np.where(line.real >= 1, 1, line))


def _elu(a: Array, alpha: float) -> Array:
    negative = a.real < 0
    return np.where(negative, alpha * np.expm1(np.where(negative, a, 0)), a)


def softplus(a: Array) -> Array:
    """log(1 + e^a) with only e^-|a| ever computed: it can't overflow, and keeps relative accuracy."""
    e = np.exp(-_magnitude(a))
    log = 2 * np.arctanh(e / (2 + e))  # log(1 + e); log1p of complex numbers would lose the digits of a small e
    return np.asarray(np.where(a.real < 0, 0, a) + log, dtype=a.dtype)


_ROWS: dict[str, _Row] = {
    "identity": _Row(lambda a: a, lambda y: np.ones_like(y)),
    "tanh": _Row(np.tanh, lambda y: 1 - y * y),
    "sigmoid": _Row(sigmoid, lambda y: y * (1 - y)),
    "relu": _Row(lambda a: np.where(a.real <= 0, 0, a), lambda y: np.where(y.real > 0, 1, 0)),
    "leaky_relu": _Row(
        lambda a, alpha: np.where(a.real > 0, a, alpha * a),
        lambda y, alpha: np.where(y.real > 0, 1, alpha),
        {"alpha": _Parameter(0.01, _check.positive)},
    ),
    "elu": _Row(
        _elu,
        lambda y, alpha: np.where(y.real < 0, y + alpha, 1),
        {"alpha": _Parameter(1.0, _check.positive)},
    ),
    "softsign": _Row(lambda a: a / (1 + _magnitude(a)), lambda y: (1 - _magnitude(y)) ** 2),
    "hard_sigmoid": _Row(
        _hard_sigmoid,
        lambda y, alpha, beta: np.where((y.real > 0) & (y.real < 1), alpha, 0),
        {"alpha": _Parameter(1 / 6, _check.positive), "beta": _Parameter(0.5, _check.number)},
    ),
    "affine": _Row(
        lambda a, alpha, beta: alpha * a + beta,
        lambda y, alpha, beta: np.full_like(y, alpha),
        {"alpha": _Parameter(1.0, _check.number), "beta": _Parameter(0.0, _check.number)},
    ),
    "thresholded_relu": _Row(
        lambda a, alpha: np.where(a.real <= alpha, 0, a),
        lambda y, alpha: np.where(y.real == 0, 0, 1),
        {"alpha": _Parameter(1.0, _check.non_negative)},
    ),
    "scaled_tanh": _Row(
        lambda a, alpha, beta: alpha * np.tanh(beta * a),
        lambda y, alpha, beta: beta * (alpha - y * (y / alpha)),
        {"alpha": _Parameter(1.0, _check.non_zero), "beta": _Parameter(1.0, _check.non_zero)},
    ),
    "softplus": _Row(softplus, lambda y: -np.expm1(-y)),
}
_SOFTMAX = {"temperature": _Parameter(1.0, _check.positive)}
_ALIASES: dict[str, tuple[str, dict[str, float]]] = {
    "hard_sigmoid_keras2": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
}
ELEMENTWISE = (*_ROWS, *_ALIASES)
NAMES = (*ELEMENTWISE, "softmax")


class Activation:
    """An activation function by name, with its parameters.

    Parameters
    ----------
    name : str
        One of ``identity``, ``tanh``, ``sigmoid``, ``relu``, ``leaky_relu``, ``elu``, ``softsign``,
        ``hard_sigmoid`` (Keras 3 and PyTorch: slope 1/6), ``hard_sigmoid_keras2`` (Keras 2 and ONNX: slope
        0.2), ``affine``, ``thresholded_relu``, ``scaled_tanh``, ``softplus`` and, in ``grus.nn`` only,
        ``softmax``, whose outputs depend on each other. These are all that ONNX's GRU names.
    clip : float, optional
        The pre-activation is cut to -clip ... clip first, and the derivative is 0 there, as ONNX has it.
    **parameters : float
        ``alpha`` of ``leaky_relu`` (0.01) and ``elu`` (1.0), both positive, and of ``thresholded_relu`` (1.0),
        at least 0; ``alpha`` and ``beta`` of ``hard_sigmoid`` (1/6, 0.5), where ``alpha`` is positive, of
        ``affine`` (1.0, 0.0), and of ``scaled_tanh`` (1.0, 1.0), where neither is 0; ``temperature`` of
        ``softmax`` (1.0). All dimensionless. Where ONNX has a default it is the same, but for ``hard_sigmoid``:
        1/6 is Keras 3's, and ``hard_sigmoid_keras2`` has ONNX's 0.2.

    Raises
    ------
    ValueError
        The name is unknown, or a parameter does not belong to it or is out of range.

    Notes
    -----
    As functions of the pre-activation ``a``, and their derivatives as functions of the output ``y``:
    ``affine`` is alpha*a + beta, with alpha; ``thresholded_relu`` is a where a > alpha, else 0, with 1 where y is
    not 0; ``scaled_tanh`` is alpha*tanh(beta*a), with beta*(alpha - y^2/alpha); ``softplus`` is log(1 + e^a),
    with 1 - e^-y. The page *The equations* of the documentation has all of them. [1]_

    References
    ----------
    .. [1] ONNX, the operator GRU, https://onnx.ai/onnx/operators/onnx__GRU.html.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> leaky = grus.Activation("leaky_relu", alpha=0.5)
    >>> leaky(np.array([-2.0, 3.0]))
    array([-1.,  3.])
    >>> leaky.derivative(np.array([-1.0, 3.0]))     # a function of the output
    array([0.5, 1. ])
    >>> leaky
    Activation('leaky_relu', alpha=0.5)
    """

    def __init__(self, name: str, *, clip: float | None = None, **parameters: float) -> None:
        _check.choice("activation", name, NAMES)
        self.clip = None if clip is None else _check.positive(f"clip of activation {name!r}", clip)
        self.name, preset = _ALIASES.get(name, (name, {}))
        takes = _SOFTMAX if name == "softmax" else _ROWS[self.name].parameters
        _check.known_keys(f"activation {name!r}", parameters, takes)
        given = preset | parameters
        self.parameters = {
            key: check(f"{key} of activation {name!r}", given.get(key, default))
            for key, (default, check) in takes.items()
        }

    @classmethod
    def of(cls, spec: str | Activation | Mapping[str, Any], argument: str = "activation") -> Activation:
        """An Activation from a name, from itself, or from the dictionary that :meth:`config` gives.

        ``argument`` is what a message calls the spec.
        """
        if isinstance(spec, Activation):
            return spec
        if isinstance(spec, str) and spec in NAMES:
            return _by_name(spec)
        settings = {str(k): v for k, v in spec.items()} if isinstance(spec, Mapping) else {"name": spec}
        name = _check.choice(argument, settings.pop("name", None), NAMES)
        return cls(name, **settings)

    def __call__(self, a: Array) -> Array:
        """The output (same shape and dtype) at pre-activation ``a``."""
        a = _check.floating("a", a)
        if self.name == "softmax":
            return softmax(a, **self.parameters)
        if self.clip is not None:
            limit = a.real.dtype.type(self.clip)
            a = np.where(a.real > limit, limit, np.where(a.real < -limit, -limit, a))
        y = _ROWS[self.name].forward(a, **self.parameters)
        return np.asarray(y, dtype=a.dtype)

    def derivative(self, y: Array) -> Array:
        """The elementwise derivative at the pre-activation whose *output* is ``y``."""
        if not self.elementwise:
            raise ValueError(f"activation {self.name!r} has no elementwise derivative. Use backward(dy, y).")
        slope = np.asarray(_ROWS[self.name].derivative(y, **self.parameters), dtype=y.dtype)
        if self.clip is None:
            return slope
        limits = np.array([-self.clip, self.clip], y.dtype)  # complex functions differ in their last bits
        least, most = np.sort(self(limits).real)
        return np.where((y.real > least) & (y.real < most), slope, 0).astype(y.dtype)

    def backward(self, dy: Array, y: Array) -> Array:
        """The gradient at the pre-activation, given the output ``y`` and its gradient ``dy``."""
        if self.name == "softmax":
            inner = (dy * y).sum(axis=-1, keepdims=True)
            return np.asarray(y * (dy - inner) / y.dtype.type(self.parameters["temperature"]))
        return dy * self.derivative(y)

    @property
    def elementwise(self) -> bool:
        """True unless outputs depend on each other (softmax)."""
        return self.name != "softmax"

    def config(self) -> dict[str, Any]:
        """Name and parameters as a dictionary that JSON can hold."""
        return {"name": self.name, **({} if self.clip is None else {"clip": self.clip}), **self.parameters}

    def clipped(self, limit: float) -> Activation:
        """The same with its pre-activation cut to -limit ... limit."""
        return Activation(**{**self.config(), "clip": limit})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self.config() == other.config()

    def __hash__(self) -> int:
        return hash(self.name)  # cheap: engines look up what they made of it at every call

    def __repr__(self) -> str:
        parameters = "".join(f", {k}={v:g}" for k, v in list(self.config().items())[1:])
        return f"Activation({self.name!r}{parameters})"


@cache
def _by_name(name: str) -> Activation:
    return Activation(name)
