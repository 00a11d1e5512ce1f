"""Metrics: scikit-learn's numbers, hand-counted cases, conventions, messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grus.nn import metrics
from grus.nn.metrics import Metric, get_metric
from helpers import assert_close

PER_CLASS = ("precision", "recall", "fscore", "specificity", "npv")
REGRESSION = ("mse", "mae", "msle", "r2")
labels = st.lists(st.integers(0, 4), min_size=1, max_size=30)


def message(text: str) -> str:
    return "^" + re.escape(text)


def per_class(name: str) -> Callable[..., float]:
    function: Callable[..., float] = getattr(metrics, name)
    return function


def random_labels(classes: int, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions that agree in about half of the cases; class 0 is the most frequent."""
    rng = np.random.default_rng(classes)
    target = np.minimum(rng.integers(0, classes, size), rng.integers(0, classes, size))
    return target, np.where(rng.random(size) < 0.5, target, rng.integers(0, classes, size))


def in_sklearn(name: str, target: Any, prediction: Any, positive: int | None, classes: int) -> float:
    """scikit-learn's answer; specificity and NPV from its one-against-all confusion matrices."""
    sklearn = pytest.importorskip("sklearn.metrics")
    if name in ("specificity", "npv"):
        present = np.unique([target, prediction])
        wanted = [1 if positive is None else positive] if classes == 2 or positive is not None else present
        matrices = sklearn.multilabel_confusion_matrix(target, prediction, labels=wanted)
        tn, other = matrices[:, 0, 0], matrices[:, 0, 1] if name == "specificity" else matrices[:, 1, 0]
        return float(np.mean([a / (a + b) if a + b else 0.0 for a, b in zip(tn, other, strict=True)]))
    function = getattr(sklearn, "f1_score" if name == "fscore" else f"{name}_score")
    if classes == 2 or positive is not None:
        chosen = [1 if positive is None else positive]
        return float(function(target, prediction, labels=chosen, average="macro", zero_division=0))
    return float(function(target, prediction, average="macro", zero_division=0))


# ---------------------------------------------------------------------------------------------- classification


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("name", PER_CLASS)
def test_classification_as_in_sklearn(name: str, classes: int) -> None:
    target, prediction = random_labels(classes)
    for positive in (None, 0, 1, classes - 1):
        theirs = in_sklearn(name, target, prediction, positive, classes)
        assert 0 < theirs < 1
        assert_close(per_class(name)(target, prediction, positive=positive), theirs, "other library")


@given(target=labels, seed=st.integers(0, 2**32 - 1))
def test_any_classification_as_in_sklearn(target: list[int], seed: int) -> None:
    """Classes that are absent, or only predicted, or never predicted included."""
    sklearn = pytest.importorskip("sklearn.metrics")
    prediction = np.random.default_rng(seed).integers(0, 5, len(target))
    assert_close(metrics.accuracy(target, prediction), sklearn.accuracy_score(target, prediction), "other library")
    for name in PER_CLASS:
        for positive in (None, 0, 4):
            ours = per_class(name)(target, prediction, positive=positive, classes=5)
            assert_close(ours, in_sklearn(name, target, prediction, positive, 5), "other library", name=name)


def test_two_classes_by_hand() -> None:
    """tp 3, fp 1, fn 2, tn 4 for class 1."""
    target = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    prediction = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    expected = {"precision": 3 / 4, "recall": 3 / 5, "fscore": 6 / 9, "specificity": 4 / 5, "npv": 4 / 6}
    for name, value in expected.items():
        assert per_class(name)(target, prediction) == pytest.approx(value)
        assert per_class(name)(1 - target, 1 - prediction, positive=0) == pytest.approx(value)
        assert per_class(name)(target.astype(bool), prediction.astype(bool)) == pytest.approx(value)
        assert per_class(name)(target.reshape(2, 5), prediction.reshape(2, 5)) == pytest.approx(value)
    assert metrics.accuracy(target, prediction) == 0.7


def test_nothing_over_nothing_is_zero() -> None:
    zeros, ones = np.zeros(3, int), np.ones(3, int)
    assert metrics.precision(ones, zeros) == 0
    assert metrics.recall(zeros, ones) == 0
    assert metrics.fscore(zeros, zeros) == 0
    assert metrics.specificity(ones, ones) == 0
    assert metrics.npv(ones, ones) == 0


def test_the_number_of_classes_decides_between_binary_and_macro() -> None:
    target, prediction = [0, 0, 1, 1], [0, 1, 1, 1]
    assert metrics.recall(target, prediction) == 1
    assert metrics.recall(target, prediction, classes=3) == 0.75  # mean over the classes 0 and 1, which occur
    assert metrics.recall(target, prediction, classes=3, positive=2) == 0


def test_unsigned_labels() -> None:
    target, prediction = (v.astype(np.uint64) for v in random_labels(3))
    assert metrics.fscore(target, prediction) == metrics.fscore(target.astype(int), prediction.astype(int))


# -------------------------------------------------------------------------------------------------- regression


@pytest.mark.parametrize("shape", [(20,), (20, 3), (20, 1)])
@pytest.mark.parametrize("name", REGRESSION)
def test_regression_as_in_sklearn(name: str, shape: tuple[int, ...]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    target = rng.exponential(size=shape)
    prediction = target + 0.3 * rng.exponential(size=shape)
    names = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "msle": "mean_squared_log_error"}
    theirs = getattr(sklearn, names.get(name, "r2_score"))(target, prediction)
    assert_close(per_class(name)(target, prediction), theirs, "other library")
    assert per_class(name)(target.astype("float32"), prediction) == pytest.approx(theirs, rel=1e-5)


def test_r2_of_a_constant_target() -> None:
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == 1
    assert metrics.r2([2.0, 2.0], [2.0, 3.0]) == 0
    assert metrics.r2([[1.0, 2.0], [3.0, 2.0]], [[1.0, 2.0], [3.0, 5.0]]) == 0.5


def test_r2_of_sequences_is_per_output() -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.standard_normal((2, 4, 5, 3))
    assert metrics.r2(target, prediction) == metrics.r2(target.reshape(20, 3), prediction.reshape(20, 3))


@pytest.mark.parametrize("name", REGRESSION)
def test_nan_and_infinity_propagate_silently(name: str) -> None:
    assert np.isnan(per_class(name)([1.0, 2.0, 3.0], [1.0, np.nan, 3.0]))
    assert not np.isfinite(per_class(name)([1.0, 2.0, 3.0], [1.0, np.inf, 3.0]))


# -------------------------------------------------------------------------------------------- names, messages


@pytest.mark.parametrize("name", ["accuracy", *PER_CLASS])
def test_get_metric_of_classes(name: str) -> None:
    target, prediction = random_labels(2)
    metric = get_metric(name, positive=0)
    assert metric.name == name
    options = {} if name == "accuracy" else {"positive": 0}
    assert metric(target, prediction) == per_class(name)(target, prediction, **options)
    assert type(metric(target, prediction)) is float
    assert get_metric(metric) is metric


@pytest.mark.parametrize("name", REGRESSION)
def test_get_metric_of_numbers(name: str) -> None:
    target, prediction = np.random.default_rng(0).random((2, 9))
    metric = get_metric(name, classes=3)
    assert metric.name == name
    assert metric(target, prediction) == per_class(name)(target, prediction)
    assert type(metric(target, prediction)) is float


def test_a_metric_of_your_own() -> None:
    def worst(target: np.ndarray, prediction: np.ndarray) -> Any:
        return np.max(np.abs(target - prediction))

    class Worst:
        def __call__(self, target: np.ndarray, prediction: np.ndarray) -> Any:
            return worst(target, prediction)

    target, prediction = np.array([1.0, 2.0]), np.array([1.0, 4.0])
    assert get_metric(worst).name == "worst"
    assert get_metric(Worst()).name == "Worst"
    assert get_metric(worst)(target, prediction) == get_metric(Worst())(target, prediction) == 2.0
    assert type(Metric("worst", worst)(target, prediction)) is float


def test_messages_of_get_metric() -> None:
    names = "accuracy, precision, recall, fscore, specificity, npv, mse, mae, msle, r2"
    text = f"metric must be one of {names}; got 'accurac'. Did you mean 'accuracy'?"
    with pytest.raises(ValueError, match=message(text)):
        get_metric("accurac")
    with pytest.raises(TypeError, match=message("metric must be a name or a callable; got int.")):
        get_metric(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["accuracy", *PER_CLASS])
def test_messages_of_classification(name: str) -> None:
    call = per_class(name)
    text = "prediction must have shape (3,) because that is the shape of target; got (2,)."
    with pytest.raises(ValueError, match=message(text)):
        call([0, 1, 1], [0, 1])
    with pytest.raises(TypeError, match=message("target must hold class indices (integers); got dtype float64.")):
        call([0.0, 1.0], [0, 1])
    with pytest.raises(TypeError, match=message("prediction must hold class indices (integers); got dtype <U1.")):
        call([0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=message("prediction must hold class indices >= 0; got -1.")):
        call([0, 1], [0, -1])
    with pytest.raises(ValueError, match=message("target must hold at least one value; got shape (0,).")):
        call(np.empty(0, int), np.empty(0, int))


@pytest.mark.parametrize("name", PER_CLASS)
def test_messages_of_options(name: str) -> None:
    call = per_class(name)
    with pytest.raises(ValueError, match=message("class indices must be below classes, 3; got 3.")):
        call([0, 1], [0, 3], classes=3)
    with pytest.raises(ValueError, match=message("class indices must be below classes, 2; got 2.")):
        call([0, 1], [0, 1], classes=2, positive=2)
    with pytest.raises(ValueError, match=message("classes must be at least 2; got 1.")):
        call([0, 0], [0, 0], classes=1)
    with pytest.raises(ValueError, match=message("positive must be at least 0; got -1.")):
        call([0, 1], [0, 1], positive=-1)


@pytest.mark.parametrize("name", REGRESSION)
def test_messages_of_regression(name: str) -> None:
    call = per_class(name)
    text = "prediction must have shape (2, 1) because that is the shape of target; got (2,)."
    with pytest.raises(ValueError, match=message(text)):
        call([[1.0], [2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match=message("target must hold at least one value; got shape (0,).")):
        call([], [])
