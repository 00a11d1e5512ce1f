"""``grus.GRU(reverse=True)``: the second half of a bidirectional GRU, in value and in every gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import nn
from helpers import assert_close
from option_cases import CALLS, call, random_gru

Array = np.ndarray[Any, np.dtype[Any]]
ENGINES = ("reference", "native")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "before": {"formulation": "before"},
    "candidate": {"formulation": "candidate"},
    "no bias": {"bias": False},
    "outputs": {"save": "outputs"},
    "time first": {"batch_first": False},
    "truncate": {"truncate": 2},
    "gradient_clip": {"gradient_clip": 0.3},
    "learn_h0": {"learn_h0": True, "layer_norm": True, "blocks": 2},
}


def pair(**options: Any) -> tuple[grus.GRU, grus.GRU]:
    """A reverse GRU, and a bidirectional one whose second direction has its weights."""
    both, one = random_gru(3, 4, bidirectional=True, **options), grus.GRU(3, 4, reverse=True, **options)
    weights = both.state_dict()
    one.load_state_dict({name: weights[f"{name}_reverse"] for name in one.parameters})
    return one, both


def case(kind: str, gru: grus.GRU, seed: int = 3) -> dict[str, Any]:
    """Random x and call keywords of one kind, for a batch of 3 sequences of 4 steps; states for two directions."""
    rng = np.random.default_rng(seed)
    given = call(kind, rng, gru) | {"x": rng.standard_normal((3, 4, 3)).astype(gru.dtype)}
    if not gru.batch_first:
        turned = {name: given[name].swapaxes(0, 1) for name in ("x", "mask", "reset", "decay") if name in given}
        given |= turned
    if not gru.learn_h0:
        given["h0"] = rng.standard_normal((2, 3, 4)).astype(gru.dtype)
    return given


def second(given: dict[str, Any]) -> dict[str, Any]:
    """The same with the second direction's states alone."""
    return given | {name: given[name][1:] for name in ("h0", "reset_state") if name in given}


def run(gru: grus.GRU, given: dict[str, Any], per_sample: bool = False) -> dict[str, Array]:
    """Output, h_n and every gradient, of a random loss on the last H outputs and the last state."""
    output, h_n, tape = gru.forward(**given)
    rng = np.random.default_rng(7)
    d_output, d_h_n = np.zeros_like(output), np.zeros_like(h_n)
    d_output[..., -4:], d_h_n[-1:] = rng.standard_normal((*output.shape[:2], 4)), rng.standard_normal((1, 3, 4))
    d = gru.backward(tape, d_output, d_h_n, per_sample=per_sample)
    found = {"output": output[..., -4:], "h_n": h_n[-1:], "dx": d.x, "dh0": d.h0[-1:]}
    if d.reset_state is not None:
        found["d_reset_state"] = d.reset_state[-1:]
    if d.decay is not None:
        found["d_decay"] = d.decay
    return found | {f"d_{name}": a for name, a in d.parameters.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("option", OPTIONS)
def test_it_is_the_second_half_of_a_bidirectional_gru(option: str, kind: str, engine: str) -> None:
    one, both = pair(dtype="float64", **OPTIONS[option])
    given = case(kind, both)
    with grus.use_engine(engine):
        found, expected = run(one, second(given)), run(both, given)
        inference = one(**second(given))
    for name, value in found.items():
        of_both = expected[f"{name}_reverse" if name[2:] in one.parameters else name]
        assert_close(value, of_both, "same maths", name=name)
        assert np.any(value != 0), name
    np.testing.assert_array_equal(inference.output, found["output"])
    np.testing.assert_array_equal(inference.h_n, found["h_n"])


@pytest.mark.parametrize("engine", ENGINES)
def test_every_layer_reads_from_the_end(engine: str) -> None:
    """Without lengths: what a GRU makes of the sequence turned round, turned round."""
    gru = random_gru(3, 4, 3, reverse=True)
    forwards = grus.GRU.from_config(gru.config() | {"reverse": False})
    forwards.load_state_dict(gru.state_dict())
    rng = np.random.default_rng(0)
    x, h0 = rng.standard_normal((2, 5, 3)), rng.standard_normal((3, 2, 4))
    with grus.use_engine(engine):
        output, h_n = gru(x, h0)
        turned = forwards(x[:, ::-1], h0)
    np.testing.assert_array_equal(output, turned.output[:, ::-1])
    np.testing.assert_array_equal(h_n, turned.h_n)
    np.testing.assert_array_equal(output[:, 0], h_n[-1])
    assert np.abs(output - forwards(x, h0).output).max() > 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_against_complex_steps(engine: str) -> None:
    rng = np.random.default_rng(0)
    for options in ({}, {"truncate": 2}, {"recurrent_dropout": 0.3, "zoneout": 0.2, "dropout": 0.3}):
        gru = random_gru(3, 4, 2, reverse=True, **options)
        steps = call("all", rng, gru)
        with grus.use_engine(engine):
            errors = grus.gradcheck(gru, rng.standard_normal((3, 4, 3)), rng=1, **steps)
        assert max(errors.values()) < 1e-12, errors


@pytest.mark.parametrize("kind", CALLS)
def test_gradients_of_each_sequence(kind: str) -> None:
    one, both = pair(dtype="float64")
    given = second(case(kind, both))
    apart, together = run(one, given, per_sample=True), run(one, given)
    for name, value in together.items():
        summed = apart[name].sum(axis=0) if name[2:] in one.parameters else apart[name]
        assert_close(summed, value, "same maths", name=name)


def test_trace() -> None:
    one, both = pair(dtype="float64")
    given = case("lengths", both)
    for found, expected in zip(one.trace(**second(given)), both.trace(**given), strict=True):
        assert_close(found[0], expected[1], "same maths")


def test_jvp_and_hvp() -> None:
    one, both = pair(dtype="float64")
    given = case("mask", both) | case("lengths", both)
    direction = {"dx": np.random.default_rng(1).standard_normal((3, 4, 3))}
    (_, found), (_, expected) = one.jvp(**second(given), **direction), both.jvp(**given, **direction)
    assert_close(found.output, expected.output[..., 4:], "same maths")
    assert_close(found.h_n, expected.h_n[1:], "same maths")

    def half(output: Array, h_n: Array) -> tuple[Array, None]:
        d = np.zeros_like(output)
        d[..., -4:] = output[..., -4:] ** 2
        return d, None

    hessian, of_both = (
        gru.hvp(**its, loss_gradient=half, **direction) for gru, its in ((one, second(given)), (both, given))
    )
    assert_close(hessian.x, of_both.x, "same maths")
    for name, value in hessian.parameters.items():
        assert_close(value, of_both.parameters[f"{name}_reverse"], "same maths", name=name)


def test_steps_go_from_the_last_to_the_first() -> None:
    gru = random_gru(3, 4, 2, reverse=True)
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    h = None
    for t in reversed(range(5)):
        h = gru.step(x[:, t], h)
        assert_close(h[-1], gru(x).output[:, t], "same maths", name=f"step {t}")
    assert_close(h, gru(x).h_n, "same maths")


def test_a_rest_state_stays() -> None:
    gru = grus.GRU(3, 4, 2, reverse=True, dtype="float64", seed=0)
    x0 = np.random.default_rng(0).standard_normal((2, 3))
    rest = gru.rest_state(x0)
    output, h_n = gru(np.repeat(x0[:, None], 5, axis=1), rest)
    np.testing.assert_allclose(h_n, rest, atol=1e-12)
    np.testing.assert_allclose(output, np.repeat(rest[-1][:, None], 5, axis=1), atol=1e-12)


def test_configuration_and_file(tmp_path: Path) -> None:
    gru, x = random_gru(3, 4, 2, reverse=True), np.random.default_rng(0).standard_normal((2, 5, 3))
    assert repr(gru).startswith("GRU(3, 4, num_layers=2, reverse=True) float64")
    assert list(gru.parameters) == list(grus.GRU(3, 4, 2).parameters)
    other = grus.GRU.from_config(json.loads(json.dumps(gru.config())))
    other.load_state_dict(gru.state_dict())
    grus.save(gru, tmp_path / "gru.safetensors")
    for each in (other, grus.load(tmp_path / "gru.safetensors")):
        assert each.reverse is True
        np.testing.assert_array_equal(each(x).output, gru(x).output)


@pytest.mark.parametrize("sequences", [False, True])
def test_in_a_model(tmp_path: Path, sequences: bool) -> None:
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((t, 3)) for t in (5, 2, 7)]
    layers = [nn.GRU(4, sequences=sequences, reverse=True), *([nn.Pool("mean")] if sequences else [])]
    model = nn.Sequential([*layers, nn.Dense(1)], dtype="float64", seed=0)
    model.fit(x, rng.standard_normal(3), loss="mse", epochs=2, seed=0)
    core = model.layers[0].core
    states = [core(each[None]) for each in x]
    rows = [output.mean(axis=1)[0] if sequences else h_n[-1, 0] for output, h_n in states]
    expected = np.stack(rows) @ model.layers[-1].parameters["weight"].T + model.layers[-1].parameters["bias"]
    assert_close(model(x), expected, "same maths")
    grus.save(model, tmp_path / "model.safetensors")
    loaded = grus.load(tmp_path / "model.safetensors")
    assert "reverse=True" in repr(loaded)
    np.testing.assert_array_equal(loaded(x), model(x))


def test_a_model_of_it_takes_no_chunks() -> None:
    model = nn.Sequential([nn.GRU(4, reverse=True), nn.Dense(1)], seed=0)
    with pytest.raises(ValueError, match=r"\(gru_1\): it begins at each sequence's end\. Use reverse=False\."):
        model.fit(np.ones((4, 6, 2)), np.arange(4.0), loss="mse", chunk=3, seed=0)
