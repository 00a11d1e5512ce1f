"""Losses: values against plain formulas and torch, gradients against exact derivatives, extremes, messages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grus._gradcheck import complex_step
from grus.nn.losses import (
    MAE,
    MSE,
    MSLE,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    FusedLoss,
    Loss,
    get_loss,
)
from helpers import assert_close, central_differences

LOSSES: tuple[Loss, ...] = (MSE(), MAE(), MSLE(), BinaryCrossEntropy(), CategoricalCrossEntropy())
FUSED: tuple[FusedLoss, ...] = (BinaryCrossEntropy(), CategoricalCrossEntropy())
SHAPES = ((3, 4), (5, 1), (2, 3, 7), (6,))


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * a))


def random_case(loss: Loss, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A random prediction and target that the loss has a meaning for; soft targets, no special values."""
    rng = np.random.default_rng(seed)
    prediction, target = rng.standard_normal(shape), rng.standard_normal(shape)
    if isinstance(loss, CategoricalCrossEntropy):
        return 0.9 * softmax(prediction), softmax(target)  # 0.9: a lone class would be at 1, where p is clipped
    if isinstance(loss, BinaryCrossEntropy):
        return sigmoid(prediction), sigmoid(target)
    if isinstance(loss, MSLE):
        return np.exp(prediction) - 0.9, np.exp(target) - 0.9
    return prediction, target


def random_logits(loss: FusedLoss, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    logits = 3 * np.random.default_rng(seed + 1).standard_normal(shape)
    return logits, random_case(loss, shape, seed)[1]


def plain_formula(loss: Loss, p: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The published formula, literally."""
    formulas = {
        "mse": lambda: ((p - t) ** 2).mean(axis=-1),
        "mae": lambda: abs(p - t).mean(axis=-1),
        "msle": lambda: ((np.log(1 + p) - np.log(1 + t)) ** 2).mean(axis=-1),
        "binary_crossentropy": lambda: -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=-1),
        "categorical_crossentropy": lambda: -(t * np.log(p)).sum(axis=-1),
    }
    return np.asarray(formulas[loss.name]())


# ------------------------------------------------------------------------------------------ values and gradients


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_value_is_the_formula(loss: Loss, shape: tuple[int, ...]) -> None:
    p, t = random_case(loss, shape)
    assert_close(loss.value(p, t), plain_formula(loss, p, t), "other library")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_against_complex_steps(loss: Loss, shape: tuple[int, ...]) -> None:
    p, t = random_case(loss, shape)
    weights = np.random.default_rng(2).standard_normal(shape[:-1])
    z = p.astype(complex)
    exact = complex_step(lambda: complex((weights * loss.value(z, t)).sum()), z)
    gradient = loss.gradient(p, t)
    assert_close(weights[..., None] * gradient, exact, "complex step")
    assert np.all(gradient != 0)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_value_and_gradient_together_are_the_two(loss: Loss) -> None:
    p, t = random_case(loss, (3, 4))
    np.testing.assert_equal(loss.value_and_gradient(p, t), (loss.value(p, t), loss.gradient(p, t)))
    if isinstance(loss, FusedLoss):
        a, t = random_logits(loss, (3, 4))
        apart = loss.value_from_logits(a, t), loss.gradient_from_logits(a, t)
        np.testing.assert_equal(loss.value_and_gradient_from_logits(a, t), apart)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradient_against_central_differences(loss: Loss) -> None:
    p, t = random_case(loss, (3, 4))
    numeric = central_differences(lambda: float(loss.value(p, t).sum()), p)
    assert_close(loss.gradient(p, t), numeric, "central differences")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_gradient_from_logits_against_complex_steps(loss: FusedLoss, shape: tuple[int, ...]) -> None:
    a, t = random_logits(loss, shape)
    if isinstance(loss, BinaryCrossEntropy):
        a[(0,) * len(shape)] = 0.0  # where the two branches meet
    weights = np.random.default_rng(2).standard_normal(shape[:-1])
    z = a.astype(complex)
    exact = complex_step(lambda: complex((weights * loss.value_from_logits(z, t)).sum()), z)
    assert_close(weights[..., None] * loss.gradient_from_logits(a, t), exact, "complex step")


@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_gradient_from_logits_against_central_differences(loss: FusedLoss) -> None:
    a, t = random_logits(loss, (3, 4))
    numeric = central_differences(lambda: float(loss.value_from_logits(a, t).sum()), a)
    gradient = loss.gradient_from_logits(a, t)
    assert_close(gradient, numeric, "central differences")
    assert np.all(gradient != 0)


def test_categorical_gradient_from_logits_of_targets_that_do_not_sum_to_one() -> None:
    rng = np.random.default_rng(3)
    t, z = rng.random((3, 4)), rng.standard_normal((3, 4)).astype(complex)
    loss = CategoricalCrossEntropy()
    exact = complex_step(lambda: complex(loss.value_from_logits(z, t).sum()), z)
    assert_close(loss.gradient_from_logits(z.real.copy(), t), exact, "complex step")


def test_a_target_of_zeros_has_no_loss_and_no_gradient() -> None:
    a = np.random.default_rng(0).standard_normal((2, 3))
    loss, nothing = CategoricalCrossEntropy(), np.zeros((2, 3))
    assert not loss.value_from_logits(a, nothing).any()
    assert not loss.gradient_from_logits(a, nothing).any()


def torch_values(torch: Any, loss: Loss, p: Any, t: Any) -> Any:
    functional = torch.nn.functional
    if isinstance(loss, CategoricalCrossEntropy):
        return -(t * torch.log(p)).sum(-1)
    functions = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "msle": lambda p, t, reduction: (torch.log1p(p) - torch.log1p(t)) ** 2,
        "binary_crossentropy": functional.binary_cross_entropy,
    }
    return functions[loss.name](p, t, reduction="none").mean(-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_same_as_torch(loss: Loss, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    p, t = (v.astype(dtype) for v in random_case(loss, (5, 4)))
    tensor = torch.tensor(p, requires_grad=True)
    values = torch_values(torch, loss, tensor, torch.tensor(t))
    values.sum().backward()
    assert_close(loss.value(p, t), values.detach().numpy(), "other library", dtype)
    assert_close(loss.gradient(p, t), tensor.grad.numpy(), "other library", dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_same_as_torch_from_logits(loss: FusedLoss, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    a, t = (v.astype(dtype) for v in random_logits(loss, (5, 4)))
    tensor = torch.tensor(a, requires_grad=True)
    if isinstance(loss, CategoricalCrossEntropy):
        values = torch.nn.functional.cross_entropy(tensor, torch.tensor(t), reduction="none")
    else:
        together = torch.nn.functional.binary_cross_entropy_with_logits
        values = together(tensor, torch.tensor(t), reduction="none").mean(-1)
    values.sum().backward()
    assert_close(loss.value_from_logits(a, t), values.detach().numpy(), "other library", dtype)
    assert_close(loss.gradient_from_logits(a, t), tensor.grad.numpy(), "other library", dtype)


@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_from_logits_is_the_loss_of_the_activated_logits(loss: FusedLoss) -> None:
    a, t = random_logits(loss, (5, 4))
    p = softmax(a) if loss.fuses == "softmax" else sigmoid(a)
    assert_close(loss.value_from_logits(a, t), loss.value(p, t), "other library")


# ----------------------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_dtype_is_that_of_the_prediction(loss: Loss, dtype: str) -> None:
    p, t = random_case(loss, (3, 4))
    assert loss.value(p.astype(dtype), t).dtype == dtype
    assert loss.gradient(p.astype(dtype), t).dtype == dtype
    if isinstance(loss, FusedLoss):
        assert loss.value_from_logits(p.astype(dtype), t).dtype == dtype
        assert loss.gradient_from_logits(p.astype(dtype), t).dtype == dtype


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_integer_and_boolean_targets(loss: Loss) -> None:
    p, labels = random_case(loss, (4, 2))[0], np.array([0, 1, 1, 0])
    onehot = np.eye(2)[labels]
    for target in (onehot.astype(int), onehot.astype(bool)):
        assert np.array_equal(loss.value(p, target), loss.value(p, onehot))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_empty_batch(loss: Loss) -> None:
    nothing = np.empty((0, 3))
    assert loss.value(nothing, nothing).shape == (0,)
    assert loss.gradient(nothing, nothing).shape == (0, 3)
    if isinstance(loss, FusedLoss):
        assert loss.value_from_logits(nothing, nothing).shape == (0,)
        assert loss.gradient_from_logits(nothing, nothing).shape == (0, 3)


# --------------------------------------------------------------------------------------------------- extremes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_from_logits_is_exact_at_extreme_logits(dtype: str) -> None:
    a, t = np.array([[1e4], [-1e4], [1e4], [-1e4], [1e4]], dtype), np.array([[1], [0], [0], [1], [0.25]], dtype)
    loss = BinaryCrossEntropy()
    assert loss.value_from_logits(a, t).tolist() == [0, 0, 1e4, 1e4, 7500]
    assert loss.gradient_from_logits(a, t).ravel().tolist() == [0, 0, 1, -1, 0.75]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_categorical_from_logits_is_exact_at_extreme_logits(dtype: str) -> None:
    a = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, 1e4, 1e4]], dtype)
    t = np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], dtype)
    loss = CategoricalCrossEntropy()
    assert_close(loss.value_from_logits(a, t), np.array([0, 2e4, np.log(2)]), "other library", dtype)
    assert loss.gradient_from_logits(a, t).tolist() == [[0, 0, 0], [1, -1, 0], [0, 0, 0]]


@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_a_confident_right_answer_keeps_its_small_loss_and_gradient(loss: FusedLoss) -> None:
    """In float32 1 - p rounds to 0 from a gap of 17 on; loss and gradient must still be right to a few ulp."""
    gap = 20.0
    a = np.array([[gap, -gap]]) if loss.fuses == "sigmoid" else np.array([[gap, 0.0]])
    t = np.array([[1.0, 0.0]])
    value, gradient = np.log1p(np.exp(-gap)), 1 / (1 + np.exp(gap))
    columns = 2 if loss.fuses == "sigmoid" else 1
    assert_close(loss.value_from_logits(np.float32(a), t), [value], "other library", "float32")
    exact = np.array([[-gradient, gradient]]) / columns
    assert_close(loss.gradient_from_logits(np.float32(a), t), exact, "other library", "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_probabilities_of_exactly_zero_and_one(loss: FusedLoss, dtype: str) -> None:
    eps = float(np.finfo(dtype).eps)
    p, t = np.array([[0, 1], [0, 1]], dtype), np.array([[0, 1], [1, 0]])
    clipped = np.clip(p.real, eps, 1 - eps).astype(dtype)
    value, gradient = loss.value(p, t), loss.gradient(p, t)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert np.array_equal(value, loss.value(clipped, t))
    assert np.array_equal(gradient, loss.gradient(clipped, t))
    assert abs(value[0]) < 3 * eps
    assert value[1].real >= -np.log(2 * eps)  # wrong: large, and pushed the right way
    assert gradient[1, 0].real < -0.4 / eps


def test_absolute_error_has_subgradient_zero_at_zero() -> None:
    p = np.array([[1.0, 2.0]])
    assert MAE().gradient(p, p).tolist() == [[0.0, 0.0]]
    assert MAE().value(p, p).tolist() == [0.0]


def test_an_overflowing_loss_is_infinite_without_a_warning() -> None:
    p, t = np.full((1, 2), 1e30, "float32"), np.zeros((1, 2), "float32")
    assert MSE().value(p, t).tolist() == [np.inf]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_nan_stays_in_its_row(loss: Loss) -> None:
    p, t = random_case(loss, (3, 4))
    clean = loss.value(p, t), loss.gradient(p, t)
    p[1, 2] = np.nan
    for result, before in zip((loss.value(p, t), loss.gradient(p, t)), clean, strict=True):
        assert np.isnan(result[1]).any()
        assert np.array_equal(result[[0, 2]], before[[0, 2]])
    if isinstance(loss, FusedLoss):
        assert np.isnan(loss.value_from_logits(p, t)).tolist() == [False, True, False]
        assert np.isnan(loss.gradient_from_logits(p, t)).any(axis=1).tolist() == [False, True, False]


# ------------------------------------------------------------------------------------------------- properties


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 9))
def test_rows_are_independent_to_the_bit(seed: int, rows: int, columns: int) -> None:
    for loss in LOSSES:
        p, t = random_case(loss, (rows, columns), seed)
        assert np.array_equal(loss.value(p, t), [loss.value(a, b) for a, b in zip(p, t, strict=True)])
        assert np.array_equal(loss.gradient(p, t), [loss.gradient(a, b) for a, b in zip(p, t, strict=True)])


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-1e3, 1e3))
def test_softmax_does_not_see_a_shift_of_all_logits(seed: int, shift: float) -> None:
    loss = CategoricalCrossEntropy()
    a, t = random_logits(loss, (2, 5), seed)
    assert np.allclose(loss.value_from_logits(a + shift, t), loss.value_from_logits(a, t), rtol=1e-9, atol=0)
    assert np.allclose(loss.gradient_from_logits(a, t).sum(axis=-1), 0, atol=1e-14)


@given(logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6), label=st.integers(0, 5))
def test_losses_from_any_logits_are_finite_and_not_negative(logits: list[float], label: int) -> None:
    a = np.array(logits, "float32")
    t = np.eye(len(a), dtype="float32")[label % len(a)]
    for loss in FUSED:
        value, gradient = loss.value_from_logits(a, t), loss.gradient_from_logits(a, t)
        assert 0 <= value < np.inf
        assert (abs(gradient) <= 1).all()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_perfect_prediction_is_a_minimum(seed: int) -> None:
    for loss in LOSSES:
        p, t = random_case(loss, (2, 4), seed)
        assert (loss.value(p, t) >= loss.value(t, t)).all()


# --------------------------------------------------------------------------------------------- names, messages


def test_names_and_what_they_fuse() -> None:
    assert {loss.name: loss.fuses for loss in LOSSES} == {
        "mse": None,
        "mae": None,
        "msle": None,
        "binary_crossentropy": "sigmoid",
        "categorical_crossentropy": "softmax",
    }


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_get_loss(loss: Loss) -> None:
    assert type(get_loss(loss.name)) is type(loss)
    assert get_loss(loss) is loss
    assert repr(loss) == f"{type(loss).__name__}()"


def test_a_loss_of_your_own() -> None:
    class Cubic(Loss):
        name = "cubic"

        def _value(self, p: np.ndarray, t: np.ndarray) -> Any:
            return np.sum((p - t) ** 3, axis=-1)

        def _gradient(self, p: np.ndarray, t: np.ndarray) -> Any:
            return 3 * (p - t) ** 2

    loss = get_loss(Cubic())
    assert loss.value(np.array([2.0]), np.array([1.0])) == 1
    assert loss.gradient(np.array([3.0]), np.array([1.0])).tolist() == [12.0]


def message(text: str) -> str:
    return "^" + re.escape(text)


def test_get_loss_messages() -> None:
    names = "mse, mae, msle, binary_crossentropy, categorical_crossentropy"
    with pytest.raises(ValueError, match=message(f"loss must be one of {names}; got 'mes'. Did you mean 'mse'?")):
        get_loss("mes")
    with pytest.raises(TypeError, match=message("loss must be a name or a Loss; got int.")):
        get_loss(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["value", "gradient", "value_from_logits", "gradient_from_logits"])
def test_shape_and_dtype_messages(method: str) -> None:
    call = getattr(BinaryCrossEntropy(), method)
    name = "logits" if method.endswith("logits") else "prediction"
    half = np.full((4, 3), 0.5)
    with pytest.raises(
        ValueError,
        match=message(f"target must have shape (4, 3) because that is the shape of {name}; got (4, 2)."),
    ):
        call(half, half[:, :2])
    with pytest.raises(ValueError, match=message(f"{name} must have shape (..., K) with K >= 1; got ().")):
        call(np.array(0.5), np.array(0.5))
    with pytest.raises(ValueError, match=message(f"{name} must have shape (..., K) with K >= 1; got (4, 0).")):
        call(half[:, :0], half[:, :0])
    with pytest.raises(TypeError, match=message(f"{name} must be float32 or float64 or complex128; got int64.")):
        call(half.astype(np.int64), half)
    with pytest.raises(
        TypeError, match=message(f"target must be real numbers because {name} is; got dtype complex128.")
    ):
        call(half, half.astype(complex))
    with pytest.raises(
        ValueError, match=message("target must be in [0, 1] for binary_crossentropy; got -1 to 0.5.")
    ):
        call(half, np.where(np.eye(4, 3), -1.0, half))


@pytest.mark.parametrize("loss", FUSED, ids=repr)
def test_predictions_that_are_no_probabilities(loss: FusedLoss) -> None:
    p, t = np.array([[-0.5, 1.5, np.nan]]), np.array([[0, 1, 0]])
    for method in (loss.value, loss.gradient):
        with pytest.raises(
            ValueError, match=message(f"prediction must be in [0, 1] for {loss.name}; got -0.5 to 1.5.")
        ):
            method(p, t)


def test_logarithms_of_negative_numbers() -> None:
    good, bad = np.array([[0.0, 1.0]]), np.array([[2.0, -1.0]])
    for method in (MSLE().value, MSLE().gradient):
        with pytest.raises(ValueError, match=message("prediction must be > -1 for msle; got -1 to 2.")):
            method(bad, good)
        with pytest.raises(ValueError, match=message("target must be > -1 for msle; got -1 to 2.")):
            method(good, bad)
