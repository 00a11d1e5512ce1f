"""Every gradient of the reference engine, by name and by value, against complex steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import grus
from grus.activations import ELEMENTWISE
from helpers import VARIED, steps_case
from tolerances import relative

ACTIVATIONS = tuple(grus.Activation.of(each) for each in (*ELEMENTWISE, *VARIED))
KINDS = ("plain", "lengths", "mask", "reset", "all")


def assert_exact(gru: grus.GRU, kind: str, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, 5, gru.input_size))
    errors = grus.gradcheck(gru, x, rng=rng, **steps_case(kind, rng, 3, 5))
    expected = {"x", "h0", *gru.parameters} | ({"reset_state"} if kind in ("reset", "all") else set())
    assert errors.keys() == expected
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= relative("complex step"), f"{worst}: {errors[worst]:.2e}"


def random_gru(*sizes: int, **options: object) -> grus.GRU:
    """A float64 GRU whose biases are random too."""
    gru = grus.GRU(*sizes, dtype="float64", seed=1, **options)
    gru.flat[...] = np.random.default_rng(2).standard_normal(gru.flat.size) * 0.7
    return gru


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reset_after", "layers", "bidirectional"),
    list(itertools.product((True, False), (1, 2, 3), (False, True))),
)
def test_depth_and_steps(reset_after: bool, layers: int, bidirectional: bool, kind: str) -> None:
    assert_exact(random_gru(2, 3, layers, reset_after=reset_after, bidirectional=bidirectional), kind)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("role", ["new", "gates", "reset", "update"])
@pytest.mark.parametrize("reset_after", [True, False])
def test_activations(activation: grus.Activation, role: str, reset_after: bool) -> None:
    gates = {"gates": activation, "reset": (activation, "sigmoid"), "update": ("sigmoid", activation)}
    options = {"activation": activation} if role == "new" else {"gate_activation": gates[role]}
    assert_exact(random_gru(2, 3, reset_after=reset_after, **options), "all")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("reset_after", [True, False])
def test_activations_of_what_is_clipped(activation: grus.Activation, reset_after: bool) -> None:
    clipped = activation.clipped(0.8)
    assert_exact(random_gru(2, 3, reset_after=reset_after, activation=clipped, gate_activation=clipped), "all")


@pytest.mark.parametrize("reset_after", [True, False])
def test_without_biases(reset_after: bool) -> None:
    assert_exact(random_gru(2, 3, 2, bias=False, reset_after=reset_after, bidirectional=True), "all")


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (5, 1), (7, 3)])
def test_odd_sizes(sizes: tuple[int, int]) -> None:
    assert_exact(random_gru(*sizes), "plain")


def test_time_first_layout() -> None:
    gru = random_gru(2, 3, 2, batch_first=False, bidirectional=True)
    rng = np.random.default_rng(0)
    errors = grus.gradcheck(gru, rng.standard_normal((5, 3, 2)), mask=rng.random((5, 3)) < 0.7)
    assert max(errors.values()) <= relative("complex step")


def test_one_sequence_without_a_batch_axis() -> None:
    gru, rng = random_gru(2, 3, 2, bidirectional=True), np.random.default_rng(0)
    errors = grus.gradcheck(gru, rng.standard_normal((5, 2)), reset=rng.random(5) < 0.5, lengths=4)
    assert max(errors.values()) <= relative("complex step")


@pytest.mark.parametrize("reset_after", [True, False])
def test_no_gradient_is_zero(reset_after: bool) -> None:
    rng = np.random.default_rng(0)
    gru = random_gru(2, 3, 2, reset_after=reset_after, bidirectional=True)
    output, _, tape = gru.forward(
        rng.standard_normal((3, 5, 2)),
        rng.standard_normal((4, 3, 3)),
        reset=np.eye(3, 5, 2, dtype=bool),
        decay=rng.random((3, 5, 3)),
    )
    gradients = gru.backward(tape, rng.standard_normal(output.shape))
    for name, gradient in (gradients._asdict() | dict(gradients.parameters)).items():
        if name != "parameters":
            assert np.count_nonzero(gradient) > 0, name


@pytest.mark.parametrize("reset_after", [True, False])
def test_second_derivatives_by_a_complex_step_through_backward(reset_after: bool) -> None:
    """Backward takes complex numbers too, so one step gives a column of the Hessian, which must be symmetric."""
    gru = grus.GRU(1, 2, reset_after=reset_after, dtype="complex128", seed=0)
    x = np.random.default_rng(0).standard_normal((2, 3, 1)).astype(complex)

    def gradient() -> np.ndarray:
        output, _, tape = gru.forward(x)
        return gru.backward(tape, output).parameters.flat  # of the loss |output|^2 / 2

    hessian = np.empty((gru.flat.size,) * 2)
    for i in range(gru.flat.size):
        gru.flat[i] += 1e-30j
        hessian[i] = gradient().imag / 1e-30
        gru.flat[i] = gru.flat[i].real
    assert np.abs(hessian).max() > 0.01
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-13)


@pytest.mark.parametrize("clip", [None, 0.9, 2.5])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, grus.Activation("affine", alpha=0, beta=2)], ids=repr)
def test_derivative_of_each_activation(activation: grus.Activation, clip: float | None) -> None:
    activation = activation if clip is None else activation.clipped(clip)
    a = np.random.default_rng(0).standard_normal(200) * 3
    step = activation(a + 1e-30j)
    exact = step.imag / 1e-30
    np.testing.assert_allclose(activation.derivative(activation(a)), exact, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(activation.derivative(step).real, exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_softplus_keeps_its_digits(dtype: str) -> None:
    """log(1 + e^a) is e^a - e^2a/2 + ... far below zero, and a + e^-a - ... far above; its derivative likewise."""
    a = np.array([-87, -60, -40, 40, 60, 800], dtype)
    softplus = grus.Activation("softplus")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = softplus(a)
        slope = softplus.derivative(y)
    wide = a.real.astype(np.float64)
    tail = np.exp(-np.abs(wide))
    assert y.dtype == slope.dtype == dtype
    np.testing.assert_allclose(y.real, np.maximum(wide, 0) + tail, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(slope.real, np.where(wide < 0, tail, 1 - tail), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_clipped_activation_has_no_slope_beyond_its_limits(name: str, dtype: str) -> None:
    for limit in np.random.default_rng(0).uniform(0.3, 3, 50):
        clipped = grus.Activation(name, clip=limit)
        beyond = np.array([-9, -1.01 * limit, 1.01 * limit, 9], dtype)
        np.testing.assert_array_equal(clipped.derivative(clipped(beyond)), np.zeros(4))


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_softmax_with_temperature(temperature: float) -> None:
    activation = grus.Activation("softmax", temperature=temperature)
    rng = np.random.default_rng(0)
    a, dy = rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
    exact = np.empty_like(a)
    for index in np.ndindex(a.shape):
        step = a.astype(complex)
        step[index] += 1e-30j
        exact[index] = (dy * activation(step)).sum().imag / 1e-30
    np.testing.assert_allclose(activation.backward(dy, activation(a)), exact, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_cannot_overflow(dtype: str) -> None:
    a = np.array([-np.inf, -1e4, -800, 0, 800, 1e4, np.inf], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(grus.Activation("sigmoid")(a), np.array([0, 0, 0, 0.5, 1, 1, 1], dtype))


@pytest.mark.parametrize("engine", ["reference", "native"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("clip", [None, 0.9])
def test_nan_goes_through_every_activation(activation: grus.Activation, clip: float | None, engine: str) -> None:
    activation = activation if clip is None else activation.clipped(clip)
    for roles in ({"activation": activation}, {"gate_activation": activation}):
        gru = grus.GRU(1, 2, seed=0, **roles)
        with grus.use_engine(engine):
            assert np.isnan(gru(np.full((1, 2, 1), np.nan, np.float32)).output).all()
    assert np.isnan(activation(np.array([np.nan]))).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reset_after", [True, False])
def test_gates_computed_again(reset_after: bool, kind: str) -> None:
    assert_exact(random_gru(2, 3, 2, reset_after=reset_after, bidirectional=True, save="outputs"), kind)
