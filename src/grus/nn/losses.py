"""Losses: one number per sample and its exact derivative. The caller weights and averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus import _check
from grus.nn._loss import Array, FusedLoss, Loss

__all__ = [
    "MAE",
    "MSE",
    "MSLE",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "FusedLoss",
    "Loss",
    "get_loss",
]


class MSE(Loss):
    r"""Mean squared error, :math:`\frac1K \sum_k (p_k - t_k)^2`.

    Examples
    --------
    >>> MSE().value(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([2.5])
    >>> MSE().gradient(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([[ 1., -2.]])
    """

    name = "mse"

    def _value(self, p: Array, t: Array) -> Any:
        return np.mean((p - t) ** 2, axis=-1)

    def _gradient(self, p: Array, t: Array) -> Any:
        return 2 / p.shape[-1] * (p - t)


class MAE(Loss):
    r"""Mean absolute error, :math:`\frac1K \sum_k |p_k - t_k|`; its subgradient at 0 is 0.

    Examples
    --------
    >>> MAE().value(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([1.5])
    >>> MAE().gradient(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([[ 0.5, -0.5]])
    """

    name = "mae"

    def _value(self, p: Array, t: Array) -> Any:
        difference = p - t  # |d| as d * sign(d): analytic away from 0, so a complex step goes through
        return np.mean(difference * np.sign(difference.real), axis=-1)

    def _gradient(self, p: Array, t: Array) -> Any:
        return (np.sign((p - t).real) / p.shape[-1]).astype(p.dtype, copy=False)


class MSLE(Loss):
    r"""Mean squared logarithmic error, :math:`\frac1K \sum_k (\ln(1 + p_k) - \ln(1 + t_k))^2`.

    Prediction and target must be above -1: the function is undefined elsewhere, and nothing is clipped.

    Examples
    --------
    >>> MSLE().value(np.array([[0.0, np.e - 1]]), np.array([[0.0, 0.0]]))
    array([0.5])
    """

    name, domain = "msle", "> -1"

    def _in_domain(self, values: Array) -> bool:
        return not (values.real <= -1).any()

    def _value(self, p: Array, t: Array) -> Any:
        return np.mean((np.log1p(p) - np.log1p(t)) ** 2, axis=-1)

    def _gradient(self, p: Array, t: Array) -> Any:
        return 2 / p.shape[-1] * (np.log1p(p) - np.log1p(t)) / (1 + p)


def _clip_probability(p: Array) -> Array:
    """p held in [eps, 1 - eps], eps = finfo(dtype).eps; NaN stays NaN, a complex step passes through."""
    eps = np.finfo(p.dtype).eps
    return np.asarray(np.where(p.real < eps, eps, np.where(p.real > 1 - eps, 1 - eps, p)), dtype=p.dtype)


class BinaryCrossEntropy(FusedLoss):
    r"""Binary cross-entropy, :math:`-\frac1K \sum_k t_k \ln p_k + (1 - t_k) \ln(1 - p_k)`.

    K independent probabilities per sample; from logits a, p = sigmoid(a).

    ``value`` and ``gradient`` clip p to [eps, 1 - eps], eps = ``finfo(dtype).eps``, to be finite at p = 0 and
    1; the gradient there is the derivative at the clipped p, never zero where p is wrong.

    References
    ----------
    .. [1] Goodfellow, Bengio & Courville 2016, *Deep Learning*, section 6.2.2.2 (softplus form).

    Examples
    --------
    >>> bce, target = BinaryCrossEntropy(), np.array([[1.0], [0.0]])
    >>> bce.value(np.array([[0.5], [0.5]]), target).round(4)
    array([0.6931, 0.6931])
    >>> bce.value_from_logits(np.array([[1e4], [1e4]]), target)
    array([    0., 10000.])
    """

    name, fuses = "binary_crossentropy", "sigmoid"

    def _value(self, p: Array, t: Array) -> Any:
        p = _clip_probability(p)
        return -np.mean(t * np.log(p) + (1 - t) * np.log1p(-p), axis=-1)

    def _gradient(self, p: Array, t: Array) -> Any:
        p = _clip_probability(p)
        return (p - t) / (p * (1 - p)) / p.shape[-1]

    def _value_from_logits(self, a: Array, t: Array) -> Any:
        above, below = np.where(a.real >= 0, a, 0), np.where(a.real >= 0, 0, a)
        # t softplus(-a) + (1-t) softplus(a), every term >= 0: no cancellation; exp(-|a|) cannot overflow
        return np.mean(np.log1p(np.exp(below - above)) + (1 - t) * above - t * below, axis=-1)

    def _gradient_from_logits(self, a: Array, t: Array) -> Any:
        small = np.exp(np.where(a.real >= 0, -a, a))
        p, q = np.where(a.real >= 0, 1, small), np.where(a.real >= 0, small, 1)  # sigmoid(±a) * (1 + small)
        return ((1 - t) * p - t * q) / ((1 + small) * a.shape[-1])


class CategoricalCrossEntropy(FusedLoss):
    r"""Categorical cross-entropy, :math:`-\sum_k t_k \ln p_k`; from logits a, p = softmax(a).

    The target is a distribution over the last axis, one-hot or soft; a row of zeros has no loss and no
    gradient. ``value`` and ``gradient`` clip p to [eps, 1 - eps], eps = ``finfo(dtype).eps``, to be finite at
    p = 0 and 1; the gradient there is the derivative at the clipped p, never zero where p is wrong.

    References
    ----------
    .. [1] Blanchard, Higham & Higham 2021, IMA J. Numer. Anal. 41, 2311 (log-sum-exp with log1p).

    Examples
    --------
    >>> cce, target = CategoricalCrossEntropy(), np.array([[0.0, 1.0]])
    >>> cce.value(np.array([[0.5, 0.5]]), target).round(4)
    array([0.6931])
    >>> cce.value_from_logits(np.array([[1e4, -1e4]]), target)
    array([20000.])
    """

    name, fuses = "categorical_crossentropy", "softmax"

    def _value(self, p: Array, t: Array) -> Any:
        return -np.sum(t * np.log(_clip_probability(p)), axis=-1)

    def _gradient(self, p: Array, t: Array) -> Any:
        return -t / _clip_probability(p)

    def _value_from_logits(self, a: Array, t: Array) -> Any:
        return self._both_from_logits(a, t)[0]

    def _gradient_from_logits(self, a: Array, t: Array) -> Any:
        return self._both_from_logits(a, t)[1]

    def _both_from_logits(self, a: Array, t: Array) -> tuple[Any, Any]:
        log_p, total = _log_softmax(a), np.sum(t, axis=-1, keepdims=True)
        # total * p - t, written so that p - 1 of the right class is never a rounded difference
        return -np.sum(t * log_p, axis=-1), (total - t) * np.exp(log_p) + t * np.expm1(log_p)


def _log_softmax(a: Array) -> Array:
    """(..., K) -> (..., K); the largest term is the 1 of log1p, so that a log p near 0 keeps its digits."""
    rows = a.reshape(-1, a.shape[-1])
    top = np.arange(len(rows)), np.argmax(rows.real, axis=-1)
    shifted = rows - rows[top][:, None]
    others = np.exp(shifted)
    others[top] = 0
    shifted -= np.log1p(others.sum(axis=-1, keepdims=True))
    return np.asarray(shifted.reshape(a.shape))


_LOSSES: dict[str, type[Loss]] = {
    loss.name: loss for loss in (MSE, MAE, MSLE, BinaryCrossEntropy, CategoricalCrossEntropy)
}


def get_loss(spec: str | Loss) -> Loss:
    """The loss of that name; a :class:`Loss` is handed back as it is.

    Parameters
    ----------
    spec : str or Loss
        "mse", "mae", "msle", "binary_crossentropy", "categorical_crossentropy", or a loss of your own.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError
        ``spec`` is neither a name nor a loss.
    ValueError
        No loss has that name; the message lists the names and the closest.

    Examples
    --------
    >>> get_loss("mse")
    MSE()
    """
    if isinstance(spec, Loss):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"loss must be a name or a Loss; got {type(spec).__name__}.")
    return _LOSSES[_check.choice("loss", spec, _LOSSES)]()
