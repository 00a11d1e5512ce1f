"""What every loss has: checks in front, the mathematics behind (the losses are in ``losses.py``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]


def _aligned(argument: str, prediction: Array, target: Array) -> tuple[Array, Array]:
    """Both as arrays of one shape (..., K) and of the prediction's dtype, or an error that says why not."""
    prediction, target = _check.floating(argument, prediction), np.asarray(target)
    if not np.can_cast(target.dtype, prediction.dtype, "same_kind"):
        raise TypeError(f"target must be real numbers because {argument} is; got dtype {target.dtype}.")
    if prediction.ndim == 0 or prediction.shape[-1] == 0:
        raise ValueError(f"{argument} must have shape (..., K) with K >= 1; got {prediction.shape}.")
    _check.shaped("target", target, prediction.shape, f"that is the shape of {argument}")
    return prediction, target.astype(prediction.dtype, copy=False)


class Loss(ABC):
    """A loss: a number per sample and its derivative with respect to the prediction.

    No batch average is taken here. Where the true result overflows it is infinity, and NaN stays NaN, both
    without a warning. float32, float64 and complex128 (for complex-step checks) go through unchanged.
    A loss of your own defines ``name``, ``_value`` and ``_gradient``.

    Attributes
    ----------
    name : str
        What :func:`get_loss` calls it.
    fuses : str or None
        The output activation that this loss can take over (see :class:`FusedLoss`), None when there is none.
    domain : str
        The values that predictions and targets may have, in words.
    """

    name: ClassVar[str]
    fuses: ClassVar[str | None] = None
    domain: ClassVar[str] = "real"

    def value(self, prediction: Array, target: Array) -> Array:
        """Loss of each sample.

        Parameters
        ----------
        prediction : ndarray, shape (..., K), float
            What the model said; dimensionless.
        target : ndarray, shape (..., K), real
            What it should have said.

        Returns
        -------
        ndarray, shape (...), dtype of ``prediction``
            Mean over the last axis (sum for the categorical cross-entropy).

        Raises
        ------
        TypeError
            ``prediction`` is not floating-point, or ``target`` is complex where ``prediction`` is real.
        ValueError
            The shapes differ, there is no last axis, or a value is outside the domain of the loss.
        """
        prediction, target = self._checked(prediction, target)
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite loss is the right answer
            return np.asarray(self._value(prediction, target))

    def gradient(self, prediction: Array, target: Array) -> Array:
        """Derivative of :meth:`value` with respect to ``prediction``; parameters and errors are the same.

        Returns
        -------
        ndarray, shape (..., K), dtype of ``prediction``
            Row by row: one sample's loss depends on no other sample.
        """
        prediction, target = self._checked(prediction, target)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self._gradient(prediction, target))

    def value_and_gradient(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """What :meth:`value` and :meth:`gradient` give, checked once."""
        prediction, target = self._checked(prediction, target)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self._value(prediction, target)), np.asarray(self._gradient(prediction, target))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _checked(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        prediction, target = _aligned("prediction", prediction, target)
        self._check_domain("prediction", prediction)
        self._check_domain("target", target)
        return prediction, target

    def _check_domain(self, argument: str, values: Array) -> None:
        if not self._in_domain(values):
            low, high = np.nanmin(values.real), np.nanmax(values.real)
            raise ValueError(f"{argument} must be {self.domain} for {self.name}; got {low:g} to {high:g}.")

    def _in_domain(self, values: Array) -> bool:
        return True

    @abstractmethod
    def _value(self, p: Array, t: Array) -> Any:
        """(..., K), (..., K) -> (...); both checked and of one dtype."""

    @abstractmethod
    def _gradient(self, p: Array, t: Array) -> Any:
        """(..., K), (..., K) -> (..., K), the derivative of ``_value`` with respect to p."""


class FusedLoss(Loss):
    """A loss of probabilities that can also start from the logits, before the activation ``fuses``.

    From the logits the result is exact where the two-step way rounds to 0 or infinity: nothing is clipped,
    and a confident right answer keeps its small loss and gradient. Prefer it in training.
    """

    domain = "in [0, 1]"

    def value_from_logits(self, logits: Array, target: Array) -> Array:
        """:meth:`value` of the activated logits; finite for every finite logit.

        Parameters
        ----------
        logits : ndarray, shape (..., K), float
            Output before the sigmoid or softmax; dimensionless.
        target : ndarray, shape (..., K), real
            Probabilities in [0, 1].

        Returns
        -------
        ndarray, shape (...), dtype of ``logits``

        Raises
        ------
        TypeError, ValueError
            As :meth:`value`.
        """
        logits, target = self._checked_logits(logits, target)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self._value_from_logits(logits, target))

    def gradient_from_logits(self, logits: Array, target: Array) -> Array:
        """Derivative of :meth:`value_from_logits` with respect to ``logits``, shape (..., K)."""
        logits, target = self._checked_logits(logits, target)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self._gradient_from_logits(logits, target))

    def value_and_gradient_from_logits(self, logits: Array, target: Array) -> tuple[Array, Array]:
        """Both of the above, checked once."""
        logits, target = self._checked_logits(logits, target)
        with np.errstate(over="ignore", invalid="ignore"):
            value, gradient = self._both_from_logits(logits, target)
            return np.asarray(value), np.asarray(gradient)

    def _checked_logits(self, logits: Array, target: Array) -> tuple[Array, Array]:
        logits, target = _aligned("logits", logits, target)
        self._check_domain("target", target)
        return logits, target

    def _in_domain(self, values: Array) -> bool:
        return not ((values.real < 0) | (values.real > 1)).any()

    @abstractmethod
    def _value_from_logits(self, a: Array, t: Array) -> Any:
        """(..., K), (..., K) -> (...)."""

    def _both_from_logits(self, a: Array, t: Array) -> tuple[Any, Any]:
        """To be overridden where the two share work."""
        return self._value_from_logits(a, t), self._gradient_from_logits(a, t)

    @abstractmethod
    def _gradient_from_logits(self, a: Array, t: Array) -> Any:
        """(..., K), (..., K) -> (..., K), the derivative of ``_value_from_logits`` with respect to a."""
