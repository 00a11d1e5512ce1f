"""GRU-D against the paper's equations step by step, its gradients by value, and what a model keeps of its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import nn
from grus._gradcheck import complex_step
from grus.nn._layer import Context
from helpers import assert_close, central_differences

B, T, F, H = 4, 7, 3, 5
LENGTHS = np.array([7, 0, 3, 6])


def irregular(
    dtype: str = "float64", seed: int = 0, missing: float = 0.4, shape: tuple[int, int] = (B, T)
) -> np.ndarray:
    """Sequences whose feature 1 is the time; of the others 40 % are missing, one of them from its row's start."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*shape, F + 1)) + 2
    x[rng.random(x.shape) < missing] = np.nan
    x[0, :3, 2] = np.nan
    x[..., 1] = rng.exponential(1.5, shape).cumsum(axis=1)
    return x.astype(dtype)


def built(
    sequences: bool = True, *above: nn.Layer, x: np.ndarray, dtype: str = "float64", **options: Any
) -> nn.Sequential:
    """A model whose parameters are random: of the decays' arguments some are above 0, and some below."""
    model = nn.Sequential([nn.GRUD(H, sequences, time_feature=1, **options), *above], dtype=dtype, seed=0)
    model.build(x.real)
    model.flat[...] = np.random.default_rng(1).standard_normal(model.flat.size) * 0.5
    return model


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def paper(model: nn.Sequential, x: np.ndarray, s: np.ndarray) -> np.ndarray:
    """All states of one sequence x (T, F) at times s (T,), equations (1) to (10) of Che et al. as they stand."""
    layer = model.layers[0]
    p = {name: np.array(value) for name, value in layer.parameters.items()}
    assert layer.sizes is not None
    mean, unit = np.array(layer.sizes["means"]), layer.sizes["interval"]
    W, V = np.split(p["weight_ih_l0"], 2, axis=1)  # for x^ and for the mask
    W_r, W_z, W_h = np.split(W, 3)
    V_r, V_z, V_h = np.split(V, 3)
    U_r, U_z, U_h = np.split(p["weight_hh_l0"], 3)
    b_r, b_z, b_h = np.split(p["bias_ih_l0"] + p["bias_hh_l0"], 3)
    h, delta, states = np.zeros(H), np.zeros(F), []
    last, m_before = mean.copy(), np.ones(F)
    for t in range(len(x)):
        m = (~np.isnan(x[t])).astype(float)
        for d in range(F):
            step = (s[t] - s[t - 1]) / unit if t else 0.0
            delta[d] = step if m_before[d] or t == 0 else step + delta[d]
        gamma_x = np.exp(-np.maximum(0, p["weight_gamma_x"] * delta + p["bias_gamma_x"]))
        gamma_h = np.exp(-np.maximum(0, p["weight_gamma_h"] @ delta + p["bias_gamma_h"]))
        filled = np.array([
            x[t, d] if m[d] else gamma_x[d] * last[d] + (1 - gamma_x[d]) * mean[d] for d in range(F)
        ])  # fmt: skip
        h = gamma_h * h
        r = sigmoid(W_r @ filled + U_r @ h + V_r @ m + b_r)
        z = 1 - sigmoid(W_z @ filled + U_z @ h + V_z @ m + b_z)  # the paper's z is 1 minus ours
        new = np.tanh(W_h @ filled + U_h @ (r * h) + V_h @ m + b_h)
        h = (1 - z) * h + z * new
        states.append(h)
        last, m_before = np.where(m == 1, x[t], last), m
    return np.array(states)


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_the_papers_equations_step_by_step(engine: str) -> None:
    """The blend takes the decayed state too, which the authors' port forgets."""
    x = irregular()
    model = built(x=x)
    with grus.use_engine(engine):
        output = model(x)
    for row, states in zip(x, output, strict=True):
        assert_close(states, paper(model, np.delete(row, 1, axis=1), row[:, 1]), "same maths")


def test_without_times_a_step_is_one_later() -> None:
    x = np.delete(irregular(), 1, axis=2)
    model = nn.Sequential([nn.GRUD(H, True)], dtype="float64", seed=0).build(x)
    model.flat[...] = np.random.default_rng(1).standard_normal(model.flat.size) * 0.5
    for row, states in zip(x, model(x), strict=True):
        assert_close(states, paper(model, row, np.arange(T)), "same maths")


@pytest.mark.parametrize("weight", [0.0, 0.1, 1e6])
def test_a_missing_value_fades_from_the_last_one_to_the_mean(weight: float) -> None:
    """It is no zero, and does not stay what it was: two ports are reported to get one of them wrong."""
    x = np.full((1, 6, 2), np.nan)
    x[0, :, 0], x[0, 1, 1], x[0, 5, 1] = np.arange(6), 7.0, 3.0  # observed at two steps, whose mean is 5
    layer = nn.GRUD(2, True, time_feature=0)
    nn.Sequential([layer], dtype="float64", seed=0).build(x)
    layer.parameters["weight_gamma_x"][...] = weight
    layer.parameters["bias_gamma_x"][...] = 0
    filled = layer.forward(x, Context(True))[1].filled.x[:, 0, 0]
    fading = 5 + 2 * np.exp(-weight * np.arange(4.0))
    assert_close(filled, np.array([5.0, *fading, 3.0]), "same maths")


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "ragged"])
def test_gradients_by_complex_steps(
    lengths: np.ndarray | None, bias: bool, reset_after: bool, sequences: bool
) -> None:
    """Of x with its times, and of every parameter by name."""
    x = irregular("complex128")
    model = built(sequences, x=x, dtype="complex128", reset_after=reset_after, bias=bias)
    output, tape = model.forward(x, lengths)
    active = tape.layers[0].filled
    assert 0 < active.active_x.mean() < 1
    assert 0 < active.active_h.mean() < 1
    weights = np.random.default_rng(8).standard_normal(output.shape).astype(complex)
    if sequences and lengths is not None:
        weights[np.arange(T) >= lengths[:, None]] = 0
    exact = model.backward(tape, weights)

    def loss() -> Any:
        return (weights * model.forward(x, lengths)[0]).sum()

    found: dict[str, Any] = {"x": exact.x, **exact.parameters}
    for name, array in {"x": x, **model.parameters}.items():
        assert np.count_nonzero(found[name]), f"the gradient of {name} is zero"
        assert_close(found[name].real, complex_step(loss, array), "complex step", name=name)
    assert np.count_nonzero(found["x"][..., 1])
    assert np.count_nonzero(found["x"][np.isnan(x)]) == 0


def test_the_engine_in_use_has_the_same_gradients() -> None:
    x = irregular()
    model = built(True, nn.Dense(2), x=x)
    weights = np.random.default_rng(8).standard_normal((B, T, 2))
    weights[np.arange(T) >= LENGTHS[:, None]] = 0
    gradients = model.backward(model.forward(x, LENGTHS)[1], weights).parameters
    for name, array in model.parameters.items():
        differences = central_differences(lambda: (weights * model.forward(x, LENGTHS)[0]).sum(), array)
        assert_close(gradients[name], differences, "central differences", name=name)


@pytest.mark.parametrize("padding", [0.0, 1e9, np.nan, np.inf])
def test_padding_does_not_matter(padding: float) -> None:
    x = irregular()
    model = built(False, x=x)
    rows = [row[:length] for row, length in zip(x, LENGTHS, strict=True)]
    padded = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], x, padding)
    assert_close(model(padded, lengths=LENGTHS), model(rows), "same maths")
    alone = np.concatenate([model(row[None]) for row in rows if len(row)])
    assert_close(model(rows)[LENGTHS > 0], alone, "same maths")
    np.testing.assert_array_equal(model(rows)[1], np.zeros(H))


def test_nan_is_not_a_number_of_its_own() -> None:
    """What is observed in one row says nothing of another, and no output is NaN."""
    x = irregular(missing=0.8)
    model = built(x=x)
    whole = model(x)
    assert np.isfinite(whole).all()
    assert_close(whole[2:], model(x[2:]), "same maths")


# ------------------------------------------------------------------------------------------- what the data decides


def test_means_and_interval_are_those_of_what_is_observed() -> None:
    x = list(irregular(shape=(6, 9)))
    x[2] = x[2][:4]
    layer: Any = built(x=np.stack([x[0]])).layers[0]
    layer.adapt(x)
    values = np.delete(np.concatenate(x), 1, axis=1)
    assert_close(np.array(layer.sizes["means"]), np.nanmean(values, axis=0), "same maths")
    assert_close(layer.sizes["interval"], np.concatenate([np.diff(each[:, 1]) for each in x]).mean(), "same maths")


def test_what_is_held_out_has_no_part_in_the_means() -> None:
    x = irregular(shape=(40, 5), missing=0.3)
    y = np.arange(40.0)
    settings: dict[str, Any] = {"loss": "mse", "epochs": 1, "seed": 3}
    model = nn.Sequential([nn.GRUD(2, time_feature=1), nn.Dense(1)], dtype="float64", seed=0)
    model.fit(x, y, validation_fraction=0.5, **settings)
    train = np.sort(np.random.default_rng([3, 0]).permutation(40)[20:])
    means = np.nanmean(np.delete(x[train], 1, axis=2), axis=(0, 1))
    assert_close(np.array(model.layers[0].sizes["means"]), means, "same maths")  # type: ignore[index]
    model.fit(x + 5, y, **settings)  # a second fit goes on with the function that was learnt
    assert_close(np.array(model.layers[0].sizes["means"]), means, "same maths")  # type: ignore[index]


@pytest.mark.parametrize("unit", [1 / 86400, 1.0, 3600.0])
def test_the_unit_of_time_does_not_matter(unit: float) -> None:
    x = irregular()
    other = x.copy()
    other[..., 1] *= unit
    assert_close(built(x=other)(other), built(x=x)(x), "same maths")


@pytest.mark.parametrize("listed", [False, True])
def test_seconds_since_1970_survive_float32(listed: bool) -> None:
    """In float32 they would be 128 seconds apart."""
    x = irregular()
    late = x.copy()
    late[..., 1] += 1_700_000_000
    models = [built(x=each, dtype="float32") for each in (x, late)]
    one, other = (
        model.predict(list(each) if listed else each) for model, each in zip(models, (x, late), strict=True)
    )
    assert_close(other, one, "same maths", "float32")
    before = late.copy()
    models[1].predict(late)
    np.testing.assert_array_equal(late, before)  # the data of the caller stays as it is


def test_whole_numbers_as_times() -> None:
    x = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    output = nn.Sequential([nn.GRUD(3, time_feature=-1)], seed=0)(x)
    np.testing.assert_array_equal(output, nn.Sequential([nn.GRUD(3, time_feature=2)], seed=0)(x.astype(float)))


def test_a_saved_model_gives_the_same_bits(tmp_path: Path) -> None:
    x = irregular("float32")
    model = built(False, nn.Dense(2), x=x, dtype="float32", reset_after=True, activation="softsign")
    grus.save(model, tmp_path / "model")
    twin = grus.load(tmp_path / "model")
    np.testing.assert_array_equal(twin.predict(x), model.predict(x))
    assert twin.layers[0].sizes == model.layers[0].sizes
    assert repr(twin) == repr(model)
    assert "GRUD(5, time_feature=1, reset_after=True)" in repr(model)
    assert "grud_1" in model.summary()


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    x, y = irregular("float32", shape=(20, 6)), np.arange(20.0)

    def run(epochs: int, **settings: Any) -> np.ndarray:
        model = nn.Sequential([nn.GRUD(3, time_feature=1), nn.Dense(1)], seed=0)
        model.fit(x, y, loss="mse", epochs=epochs, validation_fraction=0.2, seed=1, **settings)
        return model.flat.copy()

    kept = {"checkpoint": tmp_path / "c", "resume": True}
    run(2, **kept)
    np.testing.assert_array_equal(run(5, **kept), run(5))


def test_it_learns_what_mean_imputation_can_not() -> None:
    """The last value, of which 60 % of the steps do not tell: the last one that was seen is most of it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 12, 1)).cumsum(axis=1)
    y = x[:, -1, 0].copy()
    x[rng.random(x.shape) < 0.6] = np.nan
    losses = []
    for layer, used in ((nn.GRUD(8), x), (nn.GRU(8), np.nan_to_num(x))):
        model = nn.Sequential([layer, nn.Dense(1)], seed=0)
        model.fit(used[:150], y[:150], loss="mse", learning_rate=0.02, epochs=25, seed=0)
        losses.append(model.evaluate(used[150:], y[150:], loss="mse")["loss"])
    assert losses[0] < 0.7 * losses[1]
