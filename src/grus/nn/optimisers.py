"""Optimisers of one flat parameter buffer, updated in place, and clipping of gradients by their norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from grus import _check
from grus.nn._optimiser import OPTIMISERS, Array, Optimiser, Rate, check_array, descend
from grus.nn.schedules import Schedule

__all__ = ["SGD", "Adam", "AdamW", "Optimiser", "clip_global_norm", "get_optimiser"]


@dataclass(eq=False)
class SGD(Optimiser):
    """Stochastic gradient descent with momentum and weight decay.

    With g = gradient + weight_decay * flat and b = momentum * b + g the step is flat -= learning_rate * b,
    or learning_rate * (g + momentum * b) with ``nesterov``: torch.optim.SGD without dampening.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        > 0.
    momentum : float, default 0.0
        At least 0 and below 1.
    nesterov : bool, default False
        Look ahead along the momentum, which must then be > 0.
    weight_decay : float, default 0.0
        L2 penalty, >= 0.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl & Hinton 2013, ICML, *On the importance of initialization and momentum*.

    Examples
    --------
    >>> flat = np.array([1.0, 2.0])
    >>> SGD().step(flat, np.array([1.0, -1.0]), learning_rate=0.5)
    >>> flat
    array([0.5, 2.5])
    """

    name: ClassVar[str] = "sgd"
    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.momentum = _check.probability("momentum", self.momentum)
        self.nesterov = _check.boolean("nesterov", self.nesterov)
        self.weight_decay = _check.non_negative("weight_decay", self.weight_decay)
        if self.nesterov and not self.momentum:
            raise ValueError("momentum must be above 0 because nesterov is True; got 0.")

    def _state_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _update(self, flat: Array, gradient: Array, rate: Rate, scratch: Array, **state: Array) -> None:
        direction = gradient
        if self.weight_decay:
            direction = np.multiply(flat, self.weight_decay, out=scratch)
            direction += gradient
        if not self.momentum:
            return descend(flat, direction, rate, scratch)
        buffer = state["momentum"]
        buffer *= self.momentum
        buffer += direction
        if not self.nesterov:
            return descend(flat, buffer, rate, scratch)
        descend(flat, direction, rate, scratch)  # g and momentum * b in turn: one scratch array is enough
        return descend(flat, np.multiply(buffer, self.momentum, out=scratch), rate, scratch)


@dataclass(eq=False)
class Adam(Optimiser):
    """Adam: steps scaled by running averages of the gradient, m, and of its square, v.

    m = beta1 * m + (1 - beta1) * g and v = beta2 * v + (1 - beta2) * g^2, then flat -= learning_rate * m' /
    (sqrt(v') + epsilon) with m' = m / (1 - beta1^t), v' = v / (1 - beta2^t) at step t: torch.optim.Adam.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        > 0.
    beta1, beta2 : float, default 0.9 and 0.999
        At least 0 and below 1.
    epsilon : float, default 1e-8
        > 0.

    References
    ----------
    .. [1] Kingma & Ba 2015, *Adam: A Method for Stochastic Optimization*, arXiv:1412.6980.

    Examples
    --------
    >>> flat = np.array([1.0, 2.0])
    >>> Adam().step(flat, np.array([1e-3, -1e3]), learning_rate=0.5)
    >>> flat.round(3)
    array([0.5, 2.5])
    """

    name: ClassVar[str] = "adam"
    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beta1 = _check.probability("beta1", self.beta1)
        self.beta2 = _check.probability("beta2", self.beta2)
        self.epsilon = _check.positive("epsilon", self.epsilon)

    def _state_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def _update(self, flat: Array, gradient: Array, rate: Rate, scratch: Array, **state: Array) -> None:
        m, v = state["m"], state["v"]
        m *= self.beta1
        m += np.multiply(gradient, 1 - self.beta1, out=scratch)
        v *= self.beta2
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1 - self.beta2
        v += scratch
        unbias_m, unbias_v = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps
        np.sqrt(v, out=scratch)  # m' / (sqrt(v') + epsilon) with both corrections moved below the line
        scratch *= unbias_m / math.sqrt(unbias_v)
        scratch += self.epsilon * unbias_m
        descend(flat, np.divide(m, scratch, out=scratch), rate, scratch)


@dataclass(eq=False, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: flat -= learning_rate * weight_decay * flat before each Adam step.

    Parameters
    ----------
    learning_rate : float or Schedule, default 1e-3
        > 0.
    beta1, beta2, epsilon : float
        As in :class:`Adam`.
    weight_decay : float, default 0.01
        >= 0.

    References
    ----------
    .. [1] Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*, arXiv:1711.05101.

    Examples
    --------
    >>> flat = np.array([1.0, 2.0])
    >>> AdamW(weight_decay=0.1).step(flat, np.zeros(2), learning_rate=0.5)
    >>> flat
    array([0.95, 1.9 ])
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weight_decay = _check.non_negative("weight_decay", self.weight_decay)

    def _update(self, flat: Array, gradient: Array, rate: Rate, scratch: Array, **state: Array) -> None:
        descend(flat, np.multiply(flat, self.weight_decay, out=scratch), rate, scratch)
        super()._update(flat, gradient, rate, scratch, **state)


def get_optimiser(spec: str | Optimiser, learning_rate: float | Schedule | None = None) -> Optimiser:
    """The optimiser of that name with its default settings; an :class:`Optimiser` is handed back as it is.

    Parameters
    ----------
    spec : str or Optimiser
        "sgd", "adam", "adamw", or an optimiser.
    learning_rate : float or Schedule, optional
        Instead of the default; refused with an optimiser, which has its own.

    Returns
    -------
    Optimiser

    Raises
    ------
    TypeError
        ``spec`` is neither, or ``learning_rate`` is given twice.
    ValueError
        No optimiser has that name; the message lists the names and the closest.

    Examples
    --------
    >>> get_optimiser("adam", learning_rate=0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if isinstance(spec, Optimiser):
        if learning_rate is not None:
            raise TypeError(f"learning_rate must be None with {spec!r}, which has its own; got {learning_rate!r}.")
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"optimiser must be a name or an Optimiser; got {type(spec).__name__}.")
    kind = OPTIMISERS[_check.choice("optimiser", spec, OPTIMISERS)]
    settings = {} if learning_rate is None else {"learning_rate": learning_rate}
    return kind(**settings)


def clip_global_norm(gradients: Sequence[Array], max_norm: float) -> float:
    """Scale all gradients together, in place, so that their joint L2 norm is at most ``max_norm``.

    A norm that is NaN or infinite leaves every gradient as it is: scaling could only hide the problem.

    Parameters
    ----------
    gradients : sequence of ndarray, any shapes, float32 or float64
        Changed in place only when their norm is above ``max_norm``.
    max_norm : float
        > 0; infinity only measures.

    Returns
    -------
    float
        The norm before clipping, accumulated in float64.

    Raises
    ------
    TypeError
        A gradient is not a floating-point ndarray.
    ValueError
        ``max_norm`` is not above 0.

    References
    ----------
    .. [1] Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*,
       arXiv:1211.5063.

    Examples
    --------
    >>> gradient = np.array([3.0, 4.0])
    >>> clip_global_norm([gradient], max_norm=1.0), gradient
    (5.0, array([0.6, 0.8]))
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0; got {max_norm}.")
    for index, gradient in enumerate(gradients):
        check_array(f"gradients[{index}]", gradient)
    norm = math.sqrt(sum(map(_sum_of_squares, gradients)))
    if max_norm < norm < math.inf:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


def _sum_of_squares(array: Array) -> float:
    """In float64, piece by piece: no copy of the whole array, and no BLAS, whose threads change the bits."""
    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    with np.errstate(over="ignore"), np.nditer(array, flags=flags, op_dtypes=[np.float64]) as pieces:
        return float(sum(np.square(piece).sum() for piece in pieces))
