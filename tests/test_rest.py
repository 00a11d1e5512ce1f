"""``GRU.rest_state``: the state that a constant input leaves as it is, for every option of inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grus
from grus._rest import Layer, growth, resting_states
from grus.activations import Activation
from grus.equations import Formulation, Masks, Weights, from_input, step_forward

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "complex128": 2.0**-52}
OPTIONS = [
    {},
    {"num_layers": 3},
    {"reset_after": False},
    {"bias": False},
    {"activation": "softsign", "gate_activation": ("hard_sigmoid", "sigmoid")},
    {"update_bias": 3.0, "num_layers": 2},
]


def a_gru(dtype: str = "float64", seed: int = 0, **options: Any) -> grus.GRU:
    gru = grus.GRU(3, 7, dtype=dtype, seed=seed, **options)
    rng = np.random.default_rng(seed)
    for name, view in gru.parameters.items():
        if name.startswith("bias"):
            view += rng.standard_normal(view.shape)
    return gru


def an_input(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_leaves_it_as_it_is(options: dict[str, Any], dtype: str) -> None:
    gru, x0 = a_gru(dtype, **options), an_input(dtype, 4, 3)
    h = gru.rest_state(x0)
    assert h.shape == (gru.num_layers, 4, 7)
    assert h.dtype == gru.dtype
    assert np.abs(h).max() > 0.1
    assert np.abs(gru.step(x0, h) - h).max() < 16 * EPS[dtype]


@pytest.mark.parametrize("options", OPTIONS)
def test_as_h0_it_gives_a_constant_output(options: dict[str, Any]) -> None:
    for dtype in ("float32", "float64"):
        gru, x0 = a_gru(dtype, **options), an_input(dtype, 3)
        h = gru.rest_state(x0)
        assert h.shape == (gru.num_layers, 7)
        output = gru(np.broadcast_to(x0, (1000, 3)), h).output
        assert np.abs(output - h[-1]).max() < 200 * EPS[dtype]


def test_it_is_where_many_steps_end() -> None:
    gru, x0 = a_gru(num_layers=2, update_bias=4.0), an_input("float64", 3)
    assert np.abs(gru(np.broadcast_to(x0, (100, 3))).h_n - gru.rest_state(x0)).max() > 1e-3  # far after 100
    end = gru(np.broadcast_to(x0, (100_000, 3))).h_n
    np.testing.assert_allclose(gru.rest_state(x0), end, rtol=0, atol=1e-12)


def test_rows_are_independent() -> None:
    gru, x0 = a_gru(num_layers=2), an_input("float64", 5, 3)
    together = gru.rest_state(x0)
    for b in range(5):
        np.testing.assert_array_equal(gru.rest_state(x0[b]), together[:, b])
    assert gru.rest_state(x0[:0]).shape == (2, 0, 7)


@pytest.mark.parametrize("zoneout", [None, 0.3])
@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("clip", [None, 0.8])
@pytest.mark.parametrize("reset", ["after", "before", "candidate"])
def test_every_option(reset: str, clip: float | None, blocks: int, gain: bool, zoneout: float | None) -> None:
    rng, I, H = np.random.default_rng(1), 2, 6
    tanh, sigmoid = Activation("tanh"), Activation("sigmoid")
    if clip is not None:
        tanh, sigmoid = tanh.clipped(clip), sigmoid.clipped(clip)
    form = Formulation(reset, tanh, sigmoid, sigmoid, blocks)
    shapes = ((3 * H, I), (3 * H, H // blocks), (3 * H,), (3 * H,))
    arrays = [rng.standard_normal(shape) / 2 for shape in shapes]
    gains = [0.2 + rng.random(3 * H) / 8 for _ in range(2)] if gain else []
    weights, masks = Weights(*arrays, *gains), Masks(zoneout=None if zoneout is None else np.full((1, 1), zoneout))
    x0 = rng.standard_normal((2, I))
    h = resting_states([Layer(weights, form, masks)], x0)[0]
    _, gx = from_input(x0, weights, masks)
    after, _ = step_forward(gx, h, weights, form, masks)
    assert np.abs(after - h).max() < 1e-14
    assert np.abs(h).max() > 0.05


def one_unit_each(recurrent: np.ndarray, bias: float, **options: Any) -> grus.GRU:
    """n = activation(recurrent @ h + bias), with r = 1 and z = 0 to rounding."""
    H = len(recurrent)
    gru = grus.GRU(1, H, dtype="float64", seed=0, **options)
    gru.flat[...] = 0
    gru.parameters["weight_hh_l0"][2 * H :] = recurrent
    gru.parameters["bias_ih_l0"][:] = np.repeat([50.0, -50.0, bias], H)
    return gru


def test_a_state_that_turns_has_none() -> None:
    turn = 3 * np.array([[0.0, -1.0], [1.0, 0.0]])
    for bias in (0.0, 0.2):
        with pytest.raises(
            RuntimeError, match=r"layer 0 has no rest state for row 0 of x0: .* moves by .* a step"
        ):
            one_unit_each(turn, bias).rest_state(np.zeros(1))
    assert np.ptp(one_unit_each(turn, 0.2)(np.zeros((500, 1))).output[-8:]) > 1  # it does turn
    half = one_unit_each(turn / 6, 0.2).rest_state(np.zeros(1))
    assert np.abs(half).max() > 0.1


def test_a_state_that_grows_has_none() -> None:
    for factor in (1.0, 2.0):
        with pytest.raises(RuntimeError, match=r"layer 0 has no rest state for row 0"):
            one_unit_each(factor * np.eye(1), 1.0, activation="identity").rest_state(np.zeros(1))
    np.testing.assert_allclose(
        one_unit_each(0.5 * np.eye(1), 1.0, activation="identity").rest_state(np.zeros(1)), 2.0, rtol=1e-13
    )


def test_a_unit_that_never_moves_rests_where_it_is() -> None:
    gru = a_gru()
    gru.parameters["bias_ih_l0"][7] = 1000.0  # z of the first unit is 1
    h = gru.rest_state(x0 := an_input("float64", 3))
    assert h[0, 0] == 0
    assert np.abs(gru.step(x0, h) - h).max() < 1e-14


def test_growth_is_the_spectral_radius() -> None:
    rng = np.random.default_rng(0)
    for H in (1, 2, 9):
        matrix = rng.standard_normal((H, H))
        radius = abs(np.linalg.eigvals(matrix)).max()
        for wanted in (1.0, 1.0001, 3.0):
            assert abs(growth(matrix * (wanted / radius)) - wanted) < 1e-6 * wanted
        for wanted in (0.999, 0.5):
            assert wanted - 1e-9 <= growth(matrix * (wanted / radius)) < 1
    assert growth(np.zeros((3, 3))) == 0
    assert growth(np.triu(np.ones((3, 3)), 1)) == 0


def test_the_parameters_stay_as_they_are() -> None:
    gru = a_gru("float32", num_layers=2)
    before = gru.flat.copy()
    gru.rest_state(an_input("float32", 3))
    np.testing.assert_array_equal(gru.flat, before)
