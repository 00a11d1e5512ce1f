"""Metrics of predictions: classification from class indices, regression from numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from grus import _check
from grus.nn.losses import MAE, MSE, MSLE, Loss

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[[Array, Array], float]
Whole = int | None


@dataclass(frozen=True)
class Metric:
    """A named function of targets and predictions; :func:`get_metric` makes it.

    Parameters
    ----------
    name : str
        What reports call it.
    function : callable
        ``function(target, prediction) -> float``.
    """

    name: str
    function: Function

    def __call__(self, target: Array, prediction: Array) -> float:
        """The metric, as a Python float."""
        return float(self.function(target, prediction))


def accuracy(target: Array, prediction: Array) -> float:
    """Share of predictions that are right.

    Parameters
    ----------
    target, prediction : ndarray of one shape, int
        Class indices, >= 0.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        Not class indices, shapes that differ, or nothing to count.

    Examples
    --------
    >>> accuracy([0, 1, 1, 1], [0, 1, 1, 0])
    0.75
    """
    target, prediction = _classes(target, prediction)
    return float(np.mean(target == prediction))


def precision(target: Array, prediction: Array, *, positive: Whole = None, classes: Whole = None) -> float:
    """Share of predicted positives that are right, tp / (tp + fp).

    Two classes: class 1 is the positive one. More: each class is the positive one in turn, and the result is
    the mean over the classes that occur in ``target`` or ``prediction`` (macro average). 0 / 0 counts as 0.

    Parameters
    ----------
    target, prediction : ndarray of one shape, int
        Class indices, >= 0.
    positive : int, optional
        Score this class against all others instead (0 is EpyNN's habit).
    classes : int, optional
        How many classes there are, >= 2. Default: the largest index + 1. Say it where the last ones can be
        absent: without it, data that only hold classes 0 and 1 count as a problem of two classes.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        Not class indices, shapes that differ, nothing to count, or an index that is not below ``classes``.

    References
    ----------
    .. [1] Sokolova & Lapalme 2009, *A systematic analysis of performance measures for classification tasks*,
       Information Processing & Management 45, 427.

    Examples
    --------
    >>> precision([0, 1, 1, 0], [1, 1, 1, 0]), precision([0, 1, 1, 0], [1, 1, 1, 0], positive=0)
    (0.6666666666666666, 1.0)
    """
    tp, fp, _, _ = counts = _counts(target, prediction, positive, classes)
    return _score(tp, tp + fp, counts, positive)


def recall(target: Array, prediction: Array, *, positive: Whole = None, classes: Whole = None) -> float:
    """Share of positives that are found, tp / (tp + fn); arguments as :func:`precision`."""
    tp, _, fn, _ = counts = _counts(target, prediction, positive, classes)
    return _score(tp, tp + fn, counts, positive)


def fscore(target: Array, prediction: Array, *, positive: Whole = None, classes: Whole = None) -> float:
    """Harmonic mean of precision and recall, tp / (tp + (fp + fn) / 2); arguments as :func:`precision`."""
    tp, fp, fn, _ = counts = _counts(target, prediction, positive, classes)
    return _score(2 * tp, 2 * tp + fp + fn, counts, positive)


def specificity(target: Array, prediction: Array, *, positive: Whole = None, classes: Whole = None) -> float:
    """Share of negatives that are left alone, tn / (tn + fp); arguments as :func:`precision`."""
    _, fp, _, tn = counts = _counts(target, prediction, positive, classes)
    return _score(tn, tn + fp, counts, positive)


def npv(target: Array, prediction: Array, *, positive: Whole = None, classes: Whole = None) -> float:
    """Negative predictive value, tn / (tn + fn); arguments as :func:`precision`."""
    _, _, fn, tn = counts = _counts(target, prediction, positive, classes)
    return _score(tn, tn + fn, counts, positive)


def mse(target: Array, prediction: Array) -> float:
    """Mean squared error over all numbers, in float64.

    Parameters
    ----------
    target, prediction : ndarray of one shape, real
        Numbers, in the units of the target.

    Returns
    -------
    float
        In the units of the target, squared.

    Raises
    ------
    ValueError
        Shapes that differ, or nothing to average.

    Examples
    --------
    >>> mse([0.0, 4.0], [1.0, 2.0])
    2.5
    """
    return _mean_loss(MSE(), target, prediction)


def mae(target: Array, prediction: Array) -> float:
    """Mean absolute error over all numbers, in the units of the target; arguments as :func:`mse`."""
    return _mean_loss(MAE(), target, prediction)


def msle(target: Array, prediction: Array) -> float:
    """Mean squared error of log(1 + number), for numbers > -1; arguments as :func:`mse`."""
    return _mean_loss(MSLE(), target, prediction)


def r2(target: Array, prediction: Array) -> float:
    """Share of the target's variance that is explained, 1 - residual / total squares, at most 1.

    One value per column of the last axis, then their mean (scikit-learn's ``r2_score``). A constant target
    counts 1 when it is predicted exactly and 0 otherwise.

    Parameters
    ----------
    target, prediction : ndarray, shape (N,) or (..., K), real
        Numbers of one shape.

    Returns
    -------
    float
        Dimensionless.

    Raises
    ------
    ValueError
        Shapes that differ, or nothing to average.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    t, p = _numbers(target, prediction)
    columns = t.shape[-1] if t.ndim > 1 else 1
    t, p = t.reshape(-1, columns), p.reshape(-1, columns)
    with np.errstate(over="ignore", invalid="ignore"):
        residual, total = np.sum((t - p) ** 2, axis=0), np.sum((t - t.mean(axis=0)) ** 2, axis=0)
        missing = np.divide(residual, total, out=(residual != 0).astype(float), where=total != 0)
    return float(np.mean(1 - missing))


def _classes(target: Array, prediction: Array) -> tuple[Array, Array]:
    """Two flat int64 arrays of class indices."""
    target, prediction = np.asarray(target), np.asarray(prediction)
    _check_shapes(target, prediction)
    for name, array in (("target", target), ("prediction", prediction)):
        if array.dtype.kind not in "biu":
            raise TypeError(f"{name} must hold class indices (integers); got dtype {array.dtype}.")
        if array.min() < 0:
            raise ValueError(f"{name} must hold class indices >= 0; got {array.min()}.")
    return target.ravel().astype(np.int64), prediction.ravel().astype(np.int64)


def _check_shapes(target: Array, prediction: Array) -> None:
    _check.shaped("prediction", prediction, target.shape, "that is the shape of target")
    if target.size == 0:
        raise ValueError(f"target must hold at least one value; got shape {target.shape}.")


def _counts(
    target: Array, prediction: Array, positive: Whole, classes: Whole
) -> tuple[Array, Array, Array, Array]:
    """tp, fp, fn, tn, each (K,): every class against all others."""
    target, prediction = _classes(target, prediction)
    largest = max(target.max(), prediction.max(), 1 if positive is None else _check.size("positive", positive, 0))
    number = max(2, int(largest) + 1) if classes is None else _check.size("classes", classes, 2)
    if largest >= number:
        raise ValueError(f"class indices must be below classes, {number}; got {largest}.")
    tp = np.bincount(target[target == prediction], minlength=number)
    fp = np.bincount(prediction, minlength=number) - tp
    fn = np.bincount(target, minlength=number) - tp
    return tp, fp, fn, target.size - tp - fp - fn


def _score(part: Array, whole: Array, counts: tuple[Array, ...], positive: Whole) -> float:
    """part / whole of the positive class, or their mean over the classes that occur."""
    tp, fp, fn, _ = counts
    scores = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    if positive is None and len(scores) > 2:
        return float(scores[tp + fp + fn > 0].mean())
    return float(scores[1 if positive is None else positive])


def _numbers(target: Array, prediction: Array) -> tuple[Array, Array]:
    t, p = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    _check_shapes(t, p)
    return t, p


def _mean_loss(loss: Loss, target: Array, prediction: Array) -> float:
    t, p = _numbers(target, prediction)
    return float(loss.value(p.ravel(), t.ravel()))


_PER_CLASS = (precision, recall, fscore, specificity, npv)
_METRICS: dict[str, Callable[..., float]] = {
    metric.__name__: metric for metric in (accuracy, *_PER_CLASS, mse, mae, msle, r2)
}
CLASSIFICATION = frozenset({"accuracy", *(function.__name__ for function in _PER_CLASS)})  # of class indices


def get_metric(spec: str | Function, *, positive: Whole = None, classes: Whole = None) -> Metric:
    """The metric of that name, or a function of your own with a name.

    Parameters
    ----------
    spec : str or callable
        "accuracy", "precision", "recall", "fscore", "specificity", "npv", "mse", "mae", "msle", "r2", or
        ``function(target, prediction) -> float``. A :class:`Metric` is handed back as it is.
    positive, classes : int, optional
        For the metrics that count per class, see :func:`precision`; the others have no use for them.

    Returns
    -------
    Metric

    Raises
    ------
    TypeError
        ``spec`` is neither a name nor callable.
    ValueError
        No metric has that name; the message lists the names and the closest.

    Examples
    --------
    >>> recall_of_0 = get_metric("recall", positive=0)
    >>> recall_of_0.name, recall_of_0([0, 0, 1], [0, 1, 1])
    ('recall', 0.5)
    """
    if isinstance(spec, Metric):
        return spec
    if callable(spec):
        return Metric(getattr(spec, "__name__", type(spec).__name__), spec)
    if not isinstance(spec, str):
        raise TypeError(f"metric must be a name or a callable; got {type(spec).__name__}.")
    function = _METRICS[_check.choice("metric", spec, _METRICS)]
    options = {"positive": positive, "classes": classes} if function in _PER_CLASS else {}
    return Metric(spec, partial(function, **options))
