"""Training that keeps the states of every k-th step alone: the same gradients from less memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import nn
from grus._gradcheck import complex_step
from helpers import assert_close, steps_case
from native_cases import ISAS
from tolerances import relative

KINDS = ("plain", "lengths", "mask", "reset", "all")
ENGINES = ["reference", *(["native"] if ISAS else [])]
Results = dict[str, np.ndarray]


def random_gru(*sizes: int, **options: Any) -> grus.GRU:
    """A float64 GRU (unless told) whose biases are random too."""
    gru = grus.GRU(*sizes, **{"dtype": "float64", "seed": 1, **options})
    gru.flat[...] = np.random.default_rng(2).standard_normal(gru.flat.size) * 0.7
    return gru


def case(gru: grus.GRU, kind: str, steps: int = 11) -> dict[str, Any]:
    """x, h0 and the options of a call, for three rows."""
    rng, states = np.random.default_rng(3), (gru.num_layers * gru.directions, 3, gru.hidden_size)
    given = {"x": rng.standard_normal((3, steps, gru.input_size)), "h0": rng.standard_normal(states)}
    options = steps_case(kind, rng, 3, steps)
    if "reset" in options:
        given["reset_state"] = rng.standard_normal(states)
    return {name: value.astype(gru.dtype) for name, value in given.items()} | options


def everything(gru: grus.GRU, given: dict[str, Any], **options: Any) -> Results:
    """Output, h_n and every gradient, of a loss of both."""
    output, h_n, tape = gru.forward(**given)
    rng = np.random.default_rng(4)
    d_h_n = rng.standard_normal(h_n.shape).astype(gru.dtype)
    d = gru.backward(tape, rng.standard_normal(output.shape).astype(gru.dtype), d_h_n, **options)
    found = {"output": output, "h_n": h_n, "x": d.x, "h0": d.h0, "parameters": d.parameters.flat}
    return found if d.reset_state is None else found | {"reset_state": d.reset_state}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [1, 2, 9])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gradients_by_complex_steps(reset_after: bool, every: int, kind: str) -> None:
    gru = random_gru(2, 3, 2, reset_after=reset_after, checkpoint_every=every)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 2))
    errors = grus.gradcheck(gru, x, rng=rng, **steps_case(kind, rng, 3, 5))
    assert max(errors.values()) <= relative("complex step"), errors


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("save", ["gates", "outputs"])
def test_the_same_as_without(save: str, kind: str, dtype: str, engine: str) -> None:
    whole = random_gru(3, 5, 2, dtype=dtype, save=save)
    chunked = random_gru(3, 5, 2, dtype=dtype, save=save, checkpoint_every=4)
    given = case(whole, kind)
    with grus.use_engine(engine):
        expected, found = everything(whole, given), everything(chunked, given)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert_close(found[name], value, "same maths", dtype, name)


@pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")
@pytest.mark.parametrize("every", [1, 3, 4, 11])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_but_for_sums_over_the_chunks(kind: str, dtype: str, every: int) -> None:
    given = case(random_gru(3, 5, 2, dtype=dtype), kind)
    with grus.use_engine("native"):
        expected = everything(random_gru(3, 5, 2, dtype=dtype), given)
        found = everything(random_gru(3, 5, 2, dtype=dtype, checkpoint_every=every), given)
    for name in ("output", "h_n", "x", "h0"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_clipped_gradient_is_clipped_as_often(engine: str) -> None:
    results = []
    for every in (None, 4):
        gru = random_gru(3, 5, 2, checkpoint_every=every)
        gru.formulation = gru.formulation._replace(gradient_clip=0.5)
        with grus.use_engine(engine):
            results.append(everything(gru, case(gru, "all")))
    unlimited = everything(random_gru(3, 5, 2), case(random_gru(3, 5, 2), "all"))
    assert np.abs(results[0]["x"] - unlimited["x"]).max() > 0.1
    for name, value in results[0].items():
        assert_close(results[1][name], value, "same maths", name=name)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3)])
def test_nothing_to_run(shape: tuple[int, ...]) -> None:
    expected, found = (
        everything(random_gru(3, 5, checkpoint_every=every), {"x": np.zeros(shape)}) for every in (None, 2)
    )
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# -------------------------------------------------------------------------------------------- without the output


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_output(kind: str) -> None:
    gru = random_gru(3, 5, 2, checkpoint_every=4)
    given = case(gru, kind)
    d_h_n = np.random.default_rng(5).standard_normal((2, 3, 5))
    _, h_n, tape = gru.forward(**given)
    expected = gru.backward(tape, d_h_n=d_h_n)
    output, alone, tape = gru.forward(**given, return_output=False)
    found = gru.backward(tape, d_h_n=d_h_n)
    assert output.shape == (3, 0, 5)
    np.testing.assert_array_equal(alone, h_n)
    np.testing.assert_array_equal(found.parameters.flat, expected.parameters.flat)
    for name in ("x", "h0", "reset_state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_without_the_output_in_other_layouts() -> None:
    x = np.random.default_rng(0).standard_normal((6, 3, 2))
    time_first = random_gru(2, 3, batch_first=False, checkpoint_every=4)
    output, h_n, tape = time_first.forward(x, return_output=False)
    assert output.shape == (0, 3, 3)
    assert time_first.backward(tape, output, h_n).x.shape == x.shape
    alone = random_gru(2, 3, checkpoint_every=4)
    output, own_h_n, tape = alone.forward(x[:, 1], return_output=False)
    assert output.shape == (0, 3)
    np.testing.assert_allclose(own_h_n, h_n[:, 1], rtol=1e-13)
    assert alone.backward(tape, None, own_h_n).x.shape == (6, 2)


def test_a_gradient_of_an_output_that_there_is_not() -> None:
    gru = random_gru(2, 3, checkpoint_every=4)
    *_, tape = gru.forward(np.zeros((2, 6, 2)), return_output=False)
    with pytest.raises(ValueError, match=r"d_output must have shape \(2, 0, 3\) because output has that shape"):
        gru.backward(tape, np.zeros((2, 6, 3)))


# ------------------------------------------------------------------------------------------------------ randomness


def test_dropout_is_the_same_when_a_chunk_runs_again() -> None:
    """The gradients are those of the very function that forward computed, found by steps of its inputs."""
    gru = random_gru(2, 3, 3, dropout=0.5, checkpoint_every=2)
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, 5, 2)), rng.standard_normal((2, 5, 3))
    used = np.random.default_rng(7)
    *_, tape = gru.forward(x, rng=used)
    used.random(100)  # what its owner draws afterwards changes nothing
    found = gru.backward(tape, weights)
    step = grus.GRU.from_config(gru.config() | {"dtype": "complex128"})
    step.flat[...] = gru.flat
    stepped = x.astype(complex)

    def loss() -> complex:
        return complex((weights * step.forward(stepped, rng=7).output).sum())

    assert_close(found.x, complex_step(loss, stepped), "complex step", name="x")
    for name, value in step.parameters.items():
        assert_close(found.parameters[name], complex_step(loss, value), "complex step", name=name)


def test_dropout_differs_between_chunks_and_follows_the_seed() -> None:
    gru = random_gru(2, 50, 2, dropout=0.5, checkpoint_every=3)
    for layer in range(2):  # without memory, and of the same input, steps differ by their dropout alone
        gru.parameters[f"weight_hh_l{layer}"][...] = 0
        gru.parameters[f"bias_ih_l{layer}"][50:100] = -1000
    first, again = (gru.forward(np.ones((1, 6, 2)), rng=0).output for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.ptp(gru(np.ones((1, 6, 2))).output, axis=1).max() == 0
    assert all(np.abs(first[:, t + 3] - first[:, t]).max() > 0.1 for t in range(3))


# ---------------------------------------------------------------------------------------------------------- memory


def peak(gru: grus.GRU, x: np.ndarray, **options: Any) -> int:
    """The most memory in use between forward and the end of backward, in bytes."""
    tracemalloc.start()
    try:
        _, h_n, tape = gru.forward(x, **options)
        gru.backward(tape, d_h_n=np.ones_like(h_n))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("engine", ENGINES)
def test_memory(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grus._memory._LARGE", 2**60)  # tracemalloc sees what NumPy allocates
    T, B, H = 1024, 2, 32
    x = np.random.default_rng(0).standard_normal((B, T, 1), dtype=np.float32)
    with grus.use_engine(engine):
        whole = peak(grus.GRU(1, H, seed=0), x)
        chunked = peak(grus.GRU(1, H, seed=0, checkpoint_every=32), x, return_output=False)
    states = 4 * T * B * H  # the bytes of all states
    assert whole > 5 * states
    assert chunked < 1.5 * states
    assert chunked < whole / 4


# --------------------------------------------------------------------------------------------- as every other tape


def test_a_tape_is_used_once() -> None:
    gru = random_gru(2, 3, checkpoint_every=2)
    *_, tape = gru.forward(np.zeros((2, 6, 2)))
    gru.backward(tape)
    with pytest.raises(RuntimeError, match="this tape was used before"):
        gru.backward(tape)


def test_another_grus_tape() -> None:
    gru = random_gru(2, 3, checkpoint_every=2)
    with pytest.raises(ValueError, match="got that of another GRU"):
        random_gru(2, 3, checkpoint_every=2).backward(gru.forward(np.zeros((2, 6, 2))).tape)


def test_gradients_are_placed_on_a_buffer_and_not_added_to_it() -> None:
    gru = random_gru(2, 3, 2, checkpoint_every=2)
    given = case(gru, "all")
    expected, out = everything(gru, given)["parameters"], np.full(gru.flat.size, np.nan)
    found = everything(gru, given, out=out)["parameters"]
    assert found is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_sample(kind: str) -> None:
    gru = random_gru(2, 3, 2, checkpoint_every=4)
    given = case(gru, kind)
    together, apart = everything(gru, given), everything(gru, given, per_sample=True)
    assert apart["parameters"].shape == (3, gru.flat.size)
    apart["parameters"] = apart["parameters"].sum(axis=0)
    for name, value in together.items():
        assert_close(apart[name], value, "same maths", name=name)


def test_a_call_is_as_without() -> None:
    gru = random_gru(2, 3, checkpoint_every=2)
    x = np.random.default_rng(0).standard_normal((2, 5, 2))
    np.testing.assert_array_equal(gru(x).output, random_gru(2, 3)(x).output)


def test_the_option_is_kept(tmp_path: Path) -> None:
    gru = random_gru(2, 3, checkpoint_every=2)
    config = json.loads(json.dumps(gru.config()))
    assert config["checkpoint_every"] == 2
    assert grus.GRU.from_config(config).checkpoint_every == 2
    assert "checkpoint_every=2" in repr(gru)
    grus.save(gru, tmp_path / "m")
    assert grus.load(tmp_path / "m").checkpoint_every == 2


@pytest.mark.parametrize("sequences", [True, False])
def test_in_a_model(sequences: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 7, 2)), rng.standard_normal((4, 7, 1) if sequences else (4, 1))
    weights = []
    for every in (None, 3):
        core = nn.GRU(3, sequences=sequences, checkpoint_every=every)
        model = nn.Sequential([core, nn.Dense(1)], seed=0, dtype="float64")
        model.fit(x, y, loss="mse", epochs=2, seed=0)
        weights.append(np.concatenate([layer.parameters.flat for layer in model.layers]))
    assert_close(weights[1], weights[0], "same maths")
