"""Every option of ``grus.GRU``: exact gradients alone and together, and what each of them means.

Longer than 300 lines because each option has its section here.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import grus
from grus.functional import GRUParams
from helpers import assert_close
from native_cases import ISAS
from option_cases import CALLS, DROPPED, OPTIONS, RANDOM, call, random_gru, random_options
from tolerances import relative

Array = np.ndarray[Any, np.dtype[Any]]
ENGINES = ["reference", *(["native"] if ISAS else [])]
DEEP = {"num_layers": 2, "bidirectional": True}


def data(gru: grus.GRU, batch: int = 3, steps: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Random x and h0."""
    rng = np.random.default_rng(seed)
    states = (gru.num_layers * gru.directions, batch, gru.hidden_size)
    return tuple(rng.standard_normal(s).astype(gru.dtype) for s in ((batch, steps, gru.input_size), states))  # type: ignore[return-value]


def gradients(gru: grus.GRU, tape: Any, output: Array, h_n: Array, **how: Any) -> dict[str, Array]:
    """Every gradient by name, of a random loss of output and h_n."""
    rng = np.random.default_rng(9)
    d_output, d_h_n = (rng.standard_normal(a.shape).astype(gru.dtype) for a in (output, h_n))
    d = gru.backward(tape, d_output, d_h_n, **how)
    found = {"x": d.x, "h0": d.h0, "reset_state": d.reset_state, "decay": d.decay, **d.parameters}
    return {name: value for name, value in found.items() if value is not None}


def everything(gru: grus.GRU, x: Array, h0: Array | None = None, **given: Any) -> dict[str, Array]:
    """Output, h_n and every gradient by name."""
    output, h_n, tape = gru.forward(x, h0, **given)
    return {"output": output, "h_n": h_n, **gradients(gru, tape, output, h_n)}


def assert_all_close(found: dict[str, Array], expected: dict[str, Array], dtype: str = "float64") -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, "same maths, any shape", dtype, name)


def assert_bits(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# -------------------------------------------------------------------------------------------------- gradients


def assert_exact(options: dict[str, Any], kind: str, seed: int = 0, num_layers: int = 2) -> None:
    gru = random_gru(2, 4, num_layers, bidirectional=True, **options)
    rng = np.random.default_rng(seed)
    given = call(kind, rng, gru, 3, 3)
    errors = grus.gradcheck(gru, rng.standard_normal((3, 3, 2)), rng=seed, **given)
    expected = {"x", *gru.parameters} | {name for name in ("decay", "reset_state") if name in given}
    assert errors.keys() == expected | (set() if gru.learn_h0 else {"h0"})
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= relative("complex step"), f"{worst}: {errors[worst]:.2e}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_of_an_option(name: str, engine: str) -> None:
    with grus.use_engine(engine):
        assert_exact(OPTIONS[name], "all")


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_of_an_option_with_two_others(name: str) -> None:
    seed = list(OPTIONS).index(name)
    assert_exact(random_options(np.random.default_rng(seed), 3, name), CALLS[seed % len(CALLS)], seed)


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("options", [{}, {"truncate": 1}, {"truncate": 0}, {"learn_h0": True}])
def test_gradients_of_the_ways_to_use_sequences(options: dict[str, Any], kind: str) -> None:
    assert_exact(options, kind, num_layers=1)


def directional_errors(gru: grus.GRU, seed: int, kind: str) -> dict[str, float]:
    """Of each input and parameter: how far its gradient along a random direction is from a complex step."""
    rng = np.random.default_rng(seed)
    x, h0 = data(gru, 2, 3, seed)
    given = {"x": x, "h0": h0, **call(kind, rng, gru, 2, 3)}
    found = everything(gru, **given, rng=seed)
    weights = np.random.default_rng(9)
    d_output, d_h_n = (weights.standard_normal(found[name].shape) for name in ("output", "h_n"))
    twin = grus.GRU.from_config(gru.config() | {"dtype": "complex128"})
    twin.flat[...] = gru.flat
    wide = {name: a.astype(complex) if np.asarray(a).dtype.kind == "f" else a for name, a in given.items()}
    errors = {}
    for name, array in (wide | dict(twin.parameters)).items():
        if array.dtype != complex:
            continue
        direction, before = rng.standard_normal(array.shape), array.copy()
        array += 1e-30j * direction
        output, h_n, _ = twin.forward(**wide, rng=seed)
        exact = complex((d_output * output).sum() + (d_h_n * h_n).sum()).imag / 1e-30
        array[...] = before
        scale = np.linalg.norm(found[name]) * np.linalg.norm(direction) or 1.0
        errors[name] = abs((found[name] * direction).sum() - exact) / scale
    return errors


def test_gradients_of_any_options_together() -> None:
    """200 draws of 1 to 8 options, on both engines in turn; truncated gradients are no derivatives."""
    for number in range(200):
        rng = np.random.default_rng([7, number])
        options = random_options(rng, int(rng.integers(1, 9)))
        options.pop("truncate", None)
        depth = {"num_layers": int(rng.integers(1, 3)), "bidirectional": bool(rng.integers(2))}
        with grus.use_engine(ENGINES[number % len(ENGINES)]):
            gru = random_gru(2, 4, **depth, **options)
            errors = directional_errors(gru, number, CALLS[number % len(CALLS)])
        worst = max(errors, key=errors.__getitem__)
        assert errors[worst] <= relative("complex step"), f"draw {number}, {options}: {worst} {errors[worst]:.1e}"


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "bias"])
def test_no_gradient_is_zero(name: str) -> None:
    gru = random_gru(2, 4, **DEEP, **OPTIONS[name])
    given = call("all", np.random.default_rng(0), gru, 6, 8)
    for what, value in everything(gru, *data(gru, 6, 8), **given, rng=0).items():
        h0_was_given = what.startswith("h0_")
        assert h0_was_given or np.count_nonzero(value) > 0, what


# ------------------------------------------------------------------------------------------- what is random


@pytest.mark.parametrize("name", DROPPED)
def test_dropouts_are_off_outside_training(name: str) -> None:
    gru, without = random_gru(2, 4, **DEEP, **{name: 0.5}), random_gru(2, 4, **DEEP)
    x, h0 = data(gru)
    np.testing.assert_array_equal(gru(x, h0).output, without(x, h0).output)
    assert not np.allclose(gru.forward(x, h0, rng=0).output, without(x, h0).output)


@pytest.mark.parametrize("name", RANDOM)
def test_a_rate_of_zero_is_exactly_nothing(name: str) -> None:
    gru, without = random_gru(2, 4, **DEEP, **{name: 0.0}), random_gru(2, 4, **DEEP)
    assert_bits(everything(gru, *data(gru), rng=0), everything(without, *data(gru)))


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides(name: str) -> None:
    gru = random_gru(2, 4, **DEEP, **{name: 0.5})
    x, h0 = data(gru)
    first = everything(gru, x, h0, rng=7)
    assert_bits(everything(gru, x, h0, rng=7), first)
    generator = np.random.default_rng(7)
    np.testing.assert_array_equal(gru.forward(x, h0, rng=generator).output, first["output"])
    assert not np.array_equal(gru.forward(x, h0, rng=generator).output, first["output"])


@pytest.mark.skipif(len(ENGINES) < 2, reason="no compiled kernels for this processor")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_engines_draw_the_same(dtype: str) -> None:
    gru = random_gru(3, 4, **DEEP, dtype=dtype, **dict.fromkeys(RANDOM, 0.3))
    results = []
    for engine in ENGINES:
        with grus.use_engine(engine):
            results.append(everything(gru, *data(gru, 5, 9), rng=3))
    assert_all_close(results[1], results[0], dtype)


def test_every_dtype_and_layout_draws_the_same() -> None:
    rates = dict.fromkeys(RANDOM, 0.3)
    gru, narrow = random_gru(3, 4, **DEEP, **rates), random_gru(3, 4, **DEEP, **rates, dtype="float32")
    turned = random_gru(3, 4, **DEEP, **rates, batch_first=False)
    x, h0 = data(gru)
    expected = gru.forward(x, h0, rng=3).output
    found = narrow.forward(x.astype("float32"), h0.astype("float32"), rng=3).output
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert_close(turned.forward(x.swapaxes(0, 1), h0, rng=3).output.swapaxes(0, 1), expected, "same maths")


def test_the_masks_are_those_that_the_function_takes() -> None:
    """One layer: the same masks at every step, the dropped weights' gradients exactly 0."""
    gru = random_gru(3, 6, input_dropout=0.3, recurrent_dropout=0.4, weight_dropout=0.5)
    x, h0 = data(gru, 12, 7)
    output, _, tape = gru.forward(x, h0, rng=0)
    (fixed,) = tape.given.fixed
    for mask, rate, shape in (
        (fixed.input, 0.3, (12, 18)),
        (fixed.recurrent, 0.4, (12, 18)),
        (fixed.weight, 0.5, (18, 6)),
    ):
        assert mask.shape == shape
        np.testing.assert_allclose(np.unique(mask), [0, 1 / (1 - rate)])
        r, z, n = np.split(mask, 3, axis=-1 if shape[0] == 12 else 0)
        assert not np.array_equal(r, z)
        assert not np.array_equal(z, n)
    params = GRUParams(*gru.parameters.values())
    dropped = params._replace(weight_hh=params.weight_hh * fixed.weight)
    masks = {"input_mask": fixed.input, "recurrent_mask": fixed.recurrent}
    expected, _, _ = grus.gru_forward(x.swapaxes(0, 1), h0[0], dropped, **masks)
    assert_close(output.swapaxes(0, 1), expected, "same maths")
    d = gru.backward(tape, output)
    np.testing.assert_array_equal(d.parameters["weight_hh_l0"] == 0, fixed.weight == 0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_layer_and_direction_has_masks_of_its_own(bidirectional: bool) -> None:
    gru = random_gru(3, 8, num_layers=2, bidirectional=bidirectional, recurrent_dropout=0.5)
    x, h0 = data(gru)
    masks = [fixed.recurrent for fixed in gru.forward(x, h0, rng=0).tape.given.fixed]
    assert len({mask.tobytes() for mask in masks}) == len(masks) == 2 * gru.directions


@pytest.mark.parametrize("name", ["input_dropout", "recurrent_dropout", "weight_dropout"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_has_mean_one(rate: float, name: str) -> None:
    gru = random_gru(3, 40, **{name: rate})
    fixed = [gru.forward(*data(gru, 20, 1), rng=seed).tape.given.fixed[0] for seed in range(20)]
    masks = np.concatenate([next(mask for mask in each if mask is not None).ravel() for each in fixed])
    # 1/(1-p) with probability 1-p, else 0: mean 1, variance p/(1-p). Five standard errors.
    assert abs(masks.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / masks.size)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_zoneout_keeps_states_at_its_rate(rate: float) -> None:
    gru = random_gru(3, 8, zoneout=rate)
    x, h0 = data(gru, 20, 50)
    output = gru.forward(x, h0, rng=0).output
    before = np.concatenate([h0[0][:, None], output[:, :-1]], axis=1)
    kept = np.isclose(output, before, rtol=1e-12, atol=1e-13)  # h + 1 * (h' - h) is rounded
    assert abs(kept.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / kept.size)
    assert not np.array_equal(kept[:, 0], kept[:, 1])  # drawn at every step
    plain = random_gru(3, 8)
    for t in (0, 17):  # what is not kept is what the plain step makes
        stepped = plain.step(x[:, t], before[:, t][None])[0]
        np.testing.assert_allclose(output[:, t][~kept[:, t]], stepped[~kept[:, t]], rtol=1e-12)


def test_zoneout_outside_training_is_its_expectation() -> None:
    gru, plain = random_gru(3, 4, zoneout=0.3), random_gru(3, 4)
    x, h0 = data(gru)
    h = h0
    for t in range(x.shape[1]):
        h = 0.3 * h + 0.7 * plain.step(x[:, t], h)
        assert_close(gru(x, h0).output[:, t], h[0], "same maths")


# ------------------------------------------------------------------------------------- states that are learned


def learned(gru: grus.GRU, batch: int) -> Array:
    names = [name for name in gru.parameters if name.startswith("h0")]
    return np.stack([np.tile(gru.parameters[name], (batch, 1)) for name in names])


@pytest.mark.parametrize("kind", ["plain", "reset"])
def test_learned_states_stand_where_states_are_omitted(kind: str) -> None:
    gru, plain = random_gru(2, 4, **DEEP, learn_h0=True), random_gru(2, 4, **DEEP)
    for name in plain.parameters:
        plain.parameters[name][...] = gru.parameters[name]
    x, h0 = data(gru)
    start, given = learned(gru, 3), call(kind, np.random.default_rng(0), gru)
    begin = {"reset_state": start} if given else {}
    found, expected = everything(gru, x, **given), everything(plain, x, start, **given, **begin)
    sums = expected["h0"].sum(axis=1) + (expected["reset_state"].sum(axis=1) if given else 0)
    for i, name in enumerate(name for name in gru.parameters if name.startswith("h0")):
        assert_close(found.pop(name), sums[i], "same maths", name=name)
    assert_all_close(found, expected)
    found, expected = everything(gru, x, h0, **given), everything(plain, x, h0, **given, **begin)
    for i, name in enumerate(name for name in gru.parameters if name.startswith("h0")):
        total = expected["reset_state"][i].sum(axis=0) if given else np.zeros(4)
        assert_close(found.pop(name), total, "same maths", name=name)
    assert_all_close(found, expected)


def test_unused_learned_states_clear_a_buffer_that_is_given() -> None:
    gru = random_gru(2, 4, learn_h0=True)
    out = np.full(gru.flat.size, np.nan)
    output, _, tape = gru.forward(*data(gru))
    gru.backward(tape, output, out=out)
    assert np.isfinite(out).all()


def test_learned_states_of_one_sequence_and_of_a_stream() -> None:
    gru = random_gru(2, 4, num_layers=2, learn_h0=True)
    x, _ = data(gru)
    whole = gru(x)
    assert_close(gru(x[0]).output, whole.output[0], "same maths")
    stream = gru.stream(3)
    np.testing.assert_array_equal(stream.state, learned(gru, 3))
    outputs = [stream.step(np.ascontiguousarray(x[:, t])).copy() for t in range(4)]
    assert_close(np.stack(outputs, axis=1), whole.output, "same maths")
    stream.reset(rows=[1])
    np.testing.assert_array_equal(stream.state[:, 1], learned(gru, 1)[:, 0])


# ------------------------------------------------------------------------------------------------------- decay


@pytest.mark.parametrize("last", [4, 1])
def test_a_decay_has_the_layout_of_x(last: int) -> None:
    gru, turned = random_gru(2, 4, **DEEP), random_gru(2, 4, **DEEP, batch_first=False)
    x, h0 = data(gru)
    decay = np.random.default_rng(5).random((3, 4, last))
    whole = everything(gru, x, h0, decay=decay)
    assert whole["decay"].shape == decay.shape
    output, _, tape = turned.forward(x.swapaxes(0, 1), h0, decay=decay.swapaxes(0, 1))
    assert_close(output.swapaxes(0, 1), whole["output"], "same maths")
    assert turned.backward(tape, output).decay.shape == (4, 3, last)
    one, _, tape = gru.forward(x[0], h0[:, 0], decay=decay[0])
    assert_close(one, whole["output"][0], "same maths")
    assert gru.backward(tape, one).decay.shape == (4, last)


def test_a_decay_of_zero_forgets_and_of_one_does_nothing() -> None:
    gru = random_gru(2, 4, **DEEP)
    x, h0 = data(gru)
    assert_close(gru(x, h0, decay=np.ones((3, 4, 1))).output, gru(x, h0).output, "same maths")
    forgotten = gru(x, h0, decay=np.zeros((3, 4, 1))).output
    alone = [gru(x[:, t : t + 1]).output for t in range(4)]
    assert_close(forgotten, np.concatenate(alone, axis=1), "same maths")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_decay_holds_in_padding_is_never_used(engine: str) -> None:
    gru = random_gru(2, 4, **DEEP)
    x, h0 = data(gru)
    decay, lengths = np.random.default_rng(5).random((3, 4, 4)), np.array([4, 0, 2])
    wild = np.where((np.arange(4) < lengths[:, None])[..., None], decay, np.nan)
    with grus.use_engine(engine):
        assert_bits(
            everything(gru, x, h0, decay=wild, lengths=lengths),
            everything(gru, x, h0, decay=decay, lengths=lengths),
        )


# -------------------------------------------------------------------------------------------- one step at a time

INFERENCE = [{}, *({name: value} for options in OPTIONS.values() for name, value in options.items())]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", INFERENCE, ids=str)
def test_steps_equal_a_call(options: dict[str, Any], batch_first: bool) -> None:
    gru = random_gru(2, 4, num_layers=2, batch_first=batch_first, **options)
    x, _ = data(gru)
    decay = np.random.default_rng(5).random((3, 4, 4))
    turn = (lambda a: a) if batch_first else (lambda a: a.swapaxes(0, 1))
    h, one = None, None
    for t in range(4):
        h = gru.step(x[:, t], h, decay=decay[:, t])
        one = gru.step(x[1, t], one, decay=decay[1, t])
    whole = gru(turn(x), decay=turn(decay))
    assert_close(h, whole.h_n, "same maths")
    assert_close(one, whole.h_n[:, 1], "same maths")
    traced = gru.trace(turn(x), decay=turn(decay)).h[-1]
    assert_close(traced, whole.output, "same maths")


# ----------------------------------------------------------------------------------- gradients that are cut short


def test_a_clipped_gradient_is_that_of_steps_with_a_cut_between_them() -> None:
    limit = 0.2
    gru, plain = random_gru(2, 4, gradient_clip=limit), random_gru(2, 4)
    x, h0 = data(gru, 3, 6)
    d_output = np.random.default_rng(1).standard_normal((3, 6, 4))
    output, _, tape = gru.forward(x, h0)
    found = gru.backward(tape, d_output)
    before_all, dh, total, cuts = [h0, *(output[:, t][None] for t in range(5))], np.zeros_like(h0), 0, 0
    for t in reversed(range(6)):
        _, _, one = plain.forward(x[:, t : t + 1], before_all[t])
        d = plain.backward(one, d_h_n=dh + d_output[:, t])
        assert_close(found.x[:, t], d.x[:, 0], "same maths", name=f"x at {t}")
        total, dh, cuts = total + d.parameters.flat, np.clip(d.h0, -limit, limit), cuts + (abs(d.h0) > limit).sum()
    assert 10 < cuts < 60  # of 72
    assert_close(found.h0, dh, "same maths")
    assert_close(found.parameters.flat, total, "same maths")


@pytest.mark.parametrize("options", [{"truncate": 99}, {"gradient_clip": 1e9}])
def test_limits_that_are_never_reached_change_nothing(options: dict[str, Any]) -> None:
    gru, plain = random_gru(2, 4, **DEEP, **options), random_gru(2, 4, **DEEP)
    given = call("all", np.random.default_rng(0), gru)
    assert_all_close(everything(gru, *data(gru), **given), everything(plain, *data(gru), **given))


# --------------------------------------------------------------------------- with checkpoints and sample by sample


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("truncate", "dropout", "zoneout")])
def test_checkpoints_and_samples_give_the_same(name: str) -> None:
    """All but what is drawn step by step, which other chunks draw in another order."""
    whole, chunked = (random_gru(2, 4, 2, **OPTIONS[name], **more) for more in ({}, {"checkpoint_every": 3}))
    x, h0 = data(whole, 3, 8)
    for kind in ("decay", "all"):
        given = call(kind, np.random.default_rng(0), whole, 3, 8)
        for state in (h0, None):
            expected = everything(whole, x, state, **given, rng=1)
            assert_all_close(everything(chunked, x, state, **given, rng=1), expected)
            output, h_n, tape = whole.forward(x, state, **given, rng=1)
            apart = gradients(whole, tape, output, h_n, per_sample=True)
            for what in whole.parameters:
                assert_close(apart[what].sum(axis=0), expected[what], "same maths, any shape", name=what)
            assert_close(apart["decay"], expected["decay"], "same maths, any shape")


@pytest.mark.parametrize("name", ["dropout", "zoneout", "recurrent_dropout"])
def test_checkpointed_gradients_of_what_is_random(name: str) -> None:
    gru = random_gru(2, 3, 2, **{name: 0.4}, checkpoint_every=2)
    errors = grus.gradcheck(gru, data(gru, 2, 5)[0])
    assert max(errors.values()) <= relative("complex step"), errors


# --------------------------------------------------------------------------------------------- other formulations


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def test_candidate_is_the_cell_of_dreamerv3() -> None:
    """update = sigmoid(update - 1); h = update * tanh(sigmoid(reset) * cand) + (1 - update) * h."""
    rng = np.random.default_rng(0)
    W_x, W_h, b = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 5))
    x, h0 = rng.standard_normal((4, 6, 2)), rng.standard_normal((4, 5))
    h = h0
    for t in range(6):
        reset, cand, update = (x[:, t] @ W_x[i].T + h @ W_h[i].T + b[i] for i in range(3))
        reset, update = sigmoid(reset), sigmoid(update - 1)
        h = update * np.tanh(reset * cand) + (1 - update) * h
    gru = grus.GRU(2, 5, formulation="candidate", update_bias=1, dtype="float64")
    np.testing.assert_array_equal(gru.parameters["bias_ih_l0"][5:10], 1)
    gru.parameters["weight_ih_l0"] = np.concatenate([W_x[0], -W_x[2], W_x[1]])
    gru.parameters["weight_hh_l0"] = np.concatenate([W_h[0], -W_h[2], W_h[1]])
    gru.parameters["bias_hh_l0"] = np.concatenate([b[0], -b[2], b[1]])
    assert_close(gru(x, h0[None]).h_n[0], h, "same maths")


def test_blocks_are_a_block_diagonal_matrix() -> None:
    gru, full = random_gru(2, 6, blocks=3), random_gru(2, 6)
    for name, view in gru.parameters.items():
        if name != "weight_hh_l0":
            full.parameters[name] = view
    weight = np.zeros((3, 6, 6))
    own = gru.parameters["weight_hh_l0"].reshape(3, 3, 2, 2)
    for block in range(3):
        at = slice(2 * block, 2 * block + 2)
        weight[:, at, at] = own[:, block]
    full.parameters["weight_hh_l0"] = weight.reshape(18, 6)
    x, h0 = data(gru)
    assert_close(gru(x, h0).output, full(x, h0).output, "same maths")


def test_a_copy_keeps_every_option() -> None:
    gru = random_gru(2, 4, **DEEP, **random_options(np.random.default_rng(3), 6))
    x, h0 = data(gru)
    np.testing.assert_array_equal(
        copy.deepcopy(gru).forward(x, h0, rng=1).output, gru.forward(x, h0, rng=1).output
    )
