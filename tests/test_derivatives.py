"""Derivatives beyond the gradient: in a direction, of second order, and of each sample apart."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import grus
from grus import _per_sample, _stack
from grus._formulation import formulated
from grus._layout import Layout
from grus.activations import ELEMENTWISE
from helpers import assert_close, steps_case
from native_cases import ISAS
from tolerances import relative

KINDS = ("plain", "lengths", "mask", "reset", "all")
ENGINES = ["reference", *(["native"] if ISAS else [])]
DEPTHS = list(itertools.product((True, False), (1, 2), (False, True)))  # reset_after, layers, bidirectional
B, T, I, H = 3, 5, 2, 3


def random_gru(layers: int = 1, **options: Any) -> grus.GRU:
    """A float64 GRU (unless told) whose biases are random too."""
    gru = grus.GRU(I, H, layers, **{"dtype": "float64", "seed": 1, **options})
    gru.flat[...] = np.random.default_rng(2).standard_normal(gru.flat.size) * 0.7
    return gru


def case(gru: grus.GRU, kind: str = "all") -> dict[str, Any]:
    """x, h0 and the options of a call."""
    rng, states = np.random.default_rng(3), (gru.num_layers * gru.directions, B, H)
    given = {"x": rng.standard_normal((B, T, I)), "h0": rng.standard_normal(states)}
    options = steps_case(kind, rng, B, T)
    if "reset" in options:
        given["reset_state"] = rng.standard_normal(states)
    return {name: value.astype(gru.dtype) for name, value in given.items()} | options


def direction(gru: grus.GRU, given: dict[str, Any], seed: int) -> dict[str, Any]:
    """A random one, of everything that enters."""
    rng = np.random.default_rng(seed)
    names = {"dx": "x", "dh0": "h0", "d_reset_state": "reset_state"}
    v: dict[str, Any] = {
        name: rng.standard_normal(given[of].shape).astype(gru.dtype) for name, of in names.items() if of in given
    }
    flat = rng.standard_normal(gru.flat.size).astype(gru.dtype)
    return v | {"dparameters": gru.parameters.like(flat)}


def inner(gradients: grus.Gradients, v: dict[str, Any]) -> float:
    """The inner product of gradients and a direction."""
    total = float((gradients.x * v["dx"]).sum() + (gradients.h0 * v["dh0"]).sum())
    if gradients.reset_state is not None:
        total += float((gradients.reset_state * v["d_reset_state"]).sum())
    return total + float(gradients.parameters.flat @ v["dparameters"].flat)


def moved(gru: grus.GRU, given: dict[str, Any], v: dict[str, Any], by: float) -> tuple[grus.GRU, dict[str, Any]]:
    """The GRU and what it is given, a step away."""
    other = grus.GRU.from_config(gru.config())
    other.flat[...] = gru.flat + by * v["dparameters"].flat
    names = {"x": "dx", "h0": "dh0", "reset_state": "d_reset_state"}
    return other, given | {name: given[name] + by * v[of] for name, of in names.items() if of in v}


def centrally(function: Any, step: float = 6e-6) -> np.ndarray:
    """The derivative of a function of one number at 0."""
    return np.asarray((function(step) - function(-step)) / (2 * step))


FORMULATIONS = {
    "candidate": {"formulation": "candidate"},
    "clip": {"clip": 1.0},
    "clip before": {"formulation": "before", "clip": 1.0},
    "two gates": {"gate_activation": ("softsign", "sigmoid")},
}


def formulated_gru(name: str) -> grus.GRU:
    """A GRU of two layers after another formulation."""
    gru = random_gru(2)
    given = {"formulation": None, "reset_after": True, "activation": "tanh", "gate_activation": "sigmoid"}
    given |= FORMULATIONS[name]
    given["reset_after"] = given["formulation"] != "before"
    gru.formulation = formulated(**given)
    return gru


# -------------------------------------------------------------------------------------------- in a direction: jvp


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset_after", "layers", "bidirectional"), DEPTHS)
def test_forwards_is_the_adjoint_of_backwards(
    reset_after: bool, layers: int, bidirectional: bool, kind: str
) -> None:
    """<w, J v> = <J^T w, v>: two ways to one number, which have no line of code in common."""
    gru = random_gru(layers, reset_after=reset_after, bidirectional=bidirectional)
    given, rng = case(gru, kind), np.random.default_rng(5)
    v = direction(gru, given, 4)
    primal, tangent = gru.jvp(**given, **v)
    d_output, d_h_n = (rng.standard_normal(a.shape) for a in primal)
    gradients = gru.backward(gru.forward(**given).tape, d_output, d_h_n)
    forwards = (d_output * tangent.output).sum() + (d_h_n * tangent.h_n).sum()
    assert abs(forwards) > 0.1
    assert_close(forwards, inner(gradients, v), "complex step")


@pytest.mark.parametrize("kind", KINDS)
def test_against_central_differences(kind: str) -> None:
    gru = random_gru(2, bidirectional=True)
    given = case(gru, kind)
    v = direction(gru, given, 4)
    _, tangent = gru.jvp(**given, **v)
    for i, name in enumerate(("output", "h_n")):

        def run(by: float, i: int = i) -> np.ndarray:
            other, its = moved(gru, given, v, by)
            return other(**its)[i]

        assert_close(tangent[i], centrally(run), "central differences", name=name)


@pytest.mark.parametrize("activation", ELEMENTWISE)
@pytest.mark.parametrize("role", ["new", "reset", "update"])
def test_every_activation(activation: str, role: str) -> None:
    gates = {"reset": (activation, "sigmoid"), "update": ("sigmoid", activation)}
    options = {"activation": activation} if role == "new" else {"gate_activation": gates[role]}
    gru = random_gru(**options)
    given = case(gru)
    v = direction(gru, given, 4)
    _, tangent = gru.jvp(**given, **v)
    d_output = np.random.default_rng(5).standard_normal(tangent.output.shape)
    gradients = gru.backward(gru.forward(**given).tape, d_output)
    assert_close((d_output * tangent.output).sum(), inner(gradients, v), "complex step")


@pytest.mark.parametrize("name", FORMULATIONS)
def test_every_formulation(name: str) -> None:
    gru = formulated_gru(name)
    given = case(gru)
    v = direction(gru, given, 4)
    _, tangent = gru.jvp(**given, **v)
    d_output = np.random.default_rng(5).standard_normal(tangent.output.shape)
    gradients = gru.backward(gru.forward(**given).tape, d_output)
    assert_close((d_output * tangent.output).sum(), inner(gradients, v), "complex step")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_primal_is_the_call(dtype: str, engine: str) -> None:
    gru = random_gru(2, dtype=dtype, dropout=0.5)  # dropout is off, as in a call
    given = case(gru)
    with grus.use_engine(engine):
        primal, tangent = gru.jvp(**given, **direction(gru, given, 4))
        expected = gru(**given)
    for found, own, change in zip(primal, expected, tangent, strict=True):
        np.testing.assert_array_equal(found, own)
        assert change.dtype == found.dtype
        assert change.shape == found.shape
        assert np.isrealobj(change)


def test_tangents_in_float32_are_those_of_float64_rounded() -> None:
    narrow, wide = random_gru(2, dtype="float32"), random_gru(2)
    wide.flat[...] = narrow.flat
    given = case(narrow)
    v = direction(narrow, given, 4)
    wide_given = {name: a.astype(float) if a.dtype == np.float32 else a for name, a in given.items()}
    wide_v = {name: a.astype(float) for name, a in v.items() if name != "dparameters"}
    wide_v["dparameters"] = {name: a.astype(float) for name, a in v["dparameters"].items()}
    for found, exact in zip(narrow.jvp(**given, **v)[1], wide.jvp(**wide_given, **wide_v)[1], strict=True):
        np.testing.assert_array_equal(found, exact.astype(np.float32))


@pytest.mark.parametrize("scale", [1e-250, 1e-9, 1e9, 1e250])
def test_the_size_of_a_direction_does_not_matter(scale: float) -> None:
    gru = random_gru()
    given = case(gru)
    v = direction(gru, given, 4)
    scaled = {name: a * scale for name, a in v.items() if name != "dparameters"}
    scaled["dparameters"] = gru.parameters.like(v["dparameters"].flat * scale)
    for found, own in zip(gru.jvp(**given, **scaled)[1], gru.jvp(**given, **v)[1], strict=True):
        assert_close(found / scale, own, "same maths")


def test_directions_of_some_things_add_up() -> None:
    gru = random_gru(2)
    given = case(gru, "reset")
    v = direction(gru, given, 4)
    named = dict(v.pop("dparameters"))
    parts = [{name: a} for name, a in v.items()] + [{"dparameters": {name: a}} for name, a in named.items()]
    total = sum(gru.jvp(**given, **part)[1].output for part in parts)
    assert all(np.abs(gru.jvp(**given, **part)[1].output).max() > 0.001 for part in parts)
    assert_close(total, gru.jvp(**given, **v, dparameters=named)[1].output, "same maths")


def test_no_direction_is_no_change() -> None:
    gru = random_gru()
    tangent = gru.jvp(**case(gru))[1]
    assert not tangent.output.any()
    assert not tangent.h_n.any()


def test_nan_in_a_row_stays_there() -> None:
    gru = random_gru(2)
    given = case(gru, "plain")
    v = direction(gru, given, 4)
    clean = gru.jvp(**given, **v)[1]
    given["x"][1, 2] = v["dx"][1, 0] = np.nan
    found = gru.jvp(**given, **v)[1]
    assert np.isnan(found.output[1]).all()
    for row in (0, 2):
        assert_close(found.output[row], clean.output[row], "same maths")


def test_jvp_in_other_layouts() -> None:
    gru = random_gru(2, bidirectional=True)
    time_first = random_gru(2, bidirectional=True, batch_first=False)
    given, rng = case(gru, "lengths"), np.random.default_rng(5)
    dx, dh0 = rng.standard_normal(given["x"].shape), rng.standard_normal(given["h0"].shape)
    expected = gru.jvp(**given, dx=dx, dh0=dh0)[1]
    turned = given | {"x": given["x"].swapaxes(0, 1)}
    found = time_first.jvp(**turned, dx=dx.swapaxes(0, 1), dh0=dh0)[1]
    assert_close(found.output.swapaxes(0, 1), expected.output, "same maths")
    alone = gru.jvp(
        given["x"][2], given["h0"][:, 2], lengths=given["lengths"][2], dx=dx[2], dh0=dh0[:, 2]
    )[1]  # fmt: skip
    assert_close(alone.output, expected.output[2], "same maths")
    assert_close(alone.h_n, expected.h_n[:, 2], "same maths")


# ------------------------------------------------------------------------------------------ of second order: hvp


def loss_gradient(output: np.ndarray, h_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sum(output^3 / 3) + sum(exp(h_n)) + sum(output[:, :, 0]) * sum(h_n) / 10: curved in every direction."""
    d_output = output**2
    d_output[..., 0] += h_n.sum() / 10
    return d_output, np.exp(h_n) + output[..., 0].sum() / 10


def gradient(gru: grus.GRU, given: dict[str, Any]) -> grus.Gradients:
    output, h_n, tape = gru.forward(**given)
    return gru.backward(tape, *loss_gradient(np.array(output), h_n))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset_after", "layers", "bidirectional"), DEPTHS)
def test_hvp_against_differences_of_gradients(
    reset_after: bool, layers: int, bidirectional: bool, kind: str
) -> None:
    gru = random_gru(layers, reset_after=reset_after, bidirectional=bidirectional)
    given = case(gru, kind)
    v = direction(gru, given, 4)
    found = gru.hvp(**given, **v, loss_gradient=loss_gradient)
    for name, value in (found._asdict() | dict(found.parameters)).items():
        if name == "parameters" or value is None:
            continue

        def run(by: float, name: str = name) -> np.ndarray:
            g = gradient(*moved(gru, given, v, by))
            return g.parameters[name] if name in g.parameters else getattr(g, name)

        assert np.abs(value).max() > 1e-3, name
        assert_close(value, centrally(run), "central differences", name=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset_after", "layers", "bidirectional"), DEPTHS)
def test_the_hessian_is_symmetric(reset_after: bool, layers: int, bidirectional: bool, kind: str) -> None:
    gru = random_gru(layers, reset_after=reset_after, bidirectional=bidirectional)
    given = case(gru, kind)
    u, v = direction(gru, given, 4), direction(gru, given, 5)
    there = inner(gru.hvp(**given, **v, loss_gradient=loss_gradient), u)
    back = inner(gru.hvp(**given, **u, loss_gradient=loss_gradient), v)
    assert abs(there) > 0.01
    assert_close(there, back, "complex step")


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softsign", "elu"])  # the curved ones
def test_hvp_through_every_activation(activation: str) -> None:
    gru = random_gru(activation=activation, gate_activation=activation)
    given = case(gru)
    u, v = direction(gru, given, 4), direction(gru, given, 5)
    found = inner(gru.hvp(**given, **v, loss_gradient=loss_gradient), u)

    def run(by: float) -> float:
        return inner(gradient(*moved(gru, given, v, by)), u)

    assert_close(found, centrally(run), "central differences")
    assert_close(found, inner(gru.hvp(**given, **u, loss_gradient=loss_gradient), v), "complex step")


@pytest.mark.parametrize("name", FORMULATIONS)
def test_the_hessian_of_every_formulation_is_symmetric(name: str) -> None:
    gru = formulated_gru(name)
    given = case(gru)
    u, v = direction(gru, given, 4), direction(gru, given, 5)
    there = inner(gru.hvp(**given, **v, loss_gradient=loss_gradient), u)
    back = inner(gru.hvp(**given, **u, loss_gradient=loss_gradient), v)
    assert abs(there) > 0.01
    assert_close(there, back, "complex step")


def test_a_linear_loss_has_the_curvature_of_the_gru() -> None:
    gru = random_gru()
    given = case(gru)
    u, v = direction(gru, given, 4), direction(gru, given, 5)
    weights = np.random.default_rng(6).standard_normal((B, T, H))

    def constant(output: np.ndarray, h_n: np.ndarray) -> tuple[np.ndarray, None]:
        return weights.astype(complex), None

    def run(by: float) -> float:
        other, its = moved(gru, given, v, by)
        return inner(other.backward(other.forward(**its).tape, weights), u)

    found = inner(gru.hvp(**given, **v, loss_gradient=constant), u)
    assert_close(found, centrally(run), "central differences")


def test_hvp_with_dropout_is_that_of_the_seed() -> None:
    gru = random_gru(3, dropout=0.4)
    given = case(gru)
    u, v = direction(gru, given, 4), direction(gru, given, 5)
    found = inner(gru.hvp(**given, **v, loss_gradient=loss_gradient, rng=7), u)

    def run(by: float) -> float:
        return inner(gradient(*moved(gru, given | {"rng": 7}, v, by)), u)

    assert_close(found, centrally(run), "central differences")
    assert found != inner(gru.hvp(**given, **v, loss_gradient=loss_gradient, rng=8), u)


def test_hvp_with_checkpoints() -> None:
    whole, chunked = random_gru(2), random_gru(2, checkpoint_every=2)
    given = case(whole)
    v = direction(whole, given, 4)
    expected = whole.hvp(**given, **v, loss_gradient=loss_gradient)
    found = chunked.hvp(**given, **v, loss_gradient=loss_gradient)
    for name in ("x", "h0", "reset_state"):
        assert_close(getattr(found, name), getattr(expected, name), "same maths", name=name)
    assert_close(found.parameters.flat, expected.parameters.flat, "same maths")


def test_hvp_in_float32() -> None:
    narrow, wide = random_gru(dtype="float32"), random_gru()
    wide.flat[...] = narrow.flat
    x = case(narrow, "plain")["x"]
    dx = np.random.default_rng(4).standard_normal(x.shape, dtype=np.float32)
    found = narrow.hvp(x, dx=dx, loss_gradient=loss_gradient)
    exact = wide.hvp(x.astype(float), dx=dx.astype(float), loss_gradient=loss_gradient)
    assert found.x.dtype == found.h0.dtype == found.parameters.flat.dtype == np.float32
    np.testing.assert_array_equal(found.x, exact.x.astype(np.float32))
    np.testing.assert_array_equal(found.parameters.flat, exact.parameters.flat.astype(np.float32))
    assert found.reset_state is None


def test_hvp_of_one_sequence() -> None:
    gru = random_gru(2)
    given = case(gru, "plain")
    dx = np.random.default_rng(4).standard_normal((B, T, I))

    def cube(output: np.ndarray, h_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return output**2, h_n**2

    together = gru.hvp(given["x"], given["h0"], dx=dx, loss_gradient=cube)
    alone = [gru.hvp(given["x"][b], given["h0"][:, b], dx=dx[b], loss_gradient=cube) for b in range(B)]
    assert_close(np.stack([each.x for each in alone]), together.x, "same maths")
    assert_close(sum(each.parameters.flat for each in alone), together.parameters.flat, "same maths")


def test_derivatives_change_nothing() -> None:
    gru = random_gru(2)
    given = case(gru)
    v = direction(gru, given, 4)
    before = gru.flat.copy(), {name: np.array(a) for name, a in given.items()}
    gru.jvp(**given, **v)
    gru.hvp(**given, **v, loss_gradient=loss_gradient)
    np.testing.assert_array_equal(gru.flat, before[0])
    for name, a in given.items():
        np.testing.assert_array_equal(a, before[1][name])
    assert gru.dtype == np.float64


# ------------------------------------------------------------------------------------------- of each sample apart


def row_of(given: dict[str, Any], b: int) -> dict[str, Any]:
    """One row of a batch, as a batch of one."""
    row = slice(b, b + 1)
    return {name: a[:, row] if name in ("h0", "reset_state") else a[row] for name, a in given.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("reset_after", "layers", "bidirectional"), DEPTHS)
def test_a_samples_gradient_is_that_of_a_batch_of_one(
    reset_after: bool, layers: int, bidirectional: bool, kind: str, engine: str
) -> None:
    gru = random_gru(layers, reset_after=reset_after, bidirectional=bidirectional)
    given, rng = case(gru, kind), np.random.default_rng(5)
    with grus.use_engine(engine):
        output, h_n, tape = gru.forward(**given)
        d_output, d_h_n = rng.standard_normal(output.shape), rng.standard_normal(h_n.shape)
        found = gru.backward(tape, d_output, d_h_n, per_sample=True)
        together = gru.backward(gru.forward(**given).tape, d_output, d_h_n)
        for b in range(B):
            *_, tape = gru.forward(**row_of(given, b))
            alone = gru.backward(tape, d_output[b : b + 1], d_h_n[:, b : b + 1])
            for name, value in alone.parameters.items():
                assert_close(found.parameters[name][b], value, "same maths", name=name)
    assert_close(found.parameters.flat.sum(axis=0), together.parameters.flat, "same maths")
    for name in ("x", "h0", "reset_state"):
        value = getattr(together, name)
        assert (value is None) == (getattr(found, name) is None)
        if value is not None:
            assert_close(getattr(found, name), value, "same maths", name=name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_add_up_with_dropout_and_saved_outputs(dtype: str, engine: str) -> None:
    gru = random_gru(3, dtype=dtype, dropout=0.4, save="outputs")
    given = case(gru)
    with grus.use_engine(engine):
        output, _, tape = gru.forward(**given, rng=0)
        d_output = np.random.default_rng(5).standard_normal(output.shape).astype(dtype)
        found = gru.backward(tape, d_output, per_sample=True)
        together = gru.backward(gru.forward(**given, rng=0).tape, d_output)
    assert found.parameters.flat.dtype == dtype
    assert_close(found.parameters.flat.sum(axis=0), together.parameters.flat, "same maths", dtype)
    assert_close(found.x, together.x, "same maths", dtype)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("per_row", [True, False])
def test_samples_have_their_own_masks_and_decay(per_row: bool, engine: str) -> None:
    """All that a layer can be given, and what is the same for every row too."""
    rng, gru = np.random.default_rng(0), random_gru()
    rows = B if per_row else 1
    steps = {"decay": rng.random((T, B, H)), "zoneout": rng.random((T, rows, H)) / 2}
    steps |= {name: rng.random((T, B)) < 0.6 for name in ("mask", "reset")}
    masks = {name: rng.random((rows, 3 * H)) for name in ("recurrent_mask", "input_mask")}
    states = {"h0": rng.standard_normal((B, H)), "reset_state": rng.standard_normal((B, H))}
    x, params = rng.standard_normal((T, B, I)), grus.GRUParams(*gru.parameters.values())
    d_output, d_h_n = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))
    gradients = _per_sample.SampleParameters(gru.parameters.shapes, gru.dtype, np.empty((B, gru.flat.size)))
    with grus.use_engine(engine):
        *_, tape = grus.gru_forward(x, params=params, **states, **steps, **masks)
        whole = _stack.Tape(Layout(False, True, T, B), gru.parameters, [tape], [None])
        found = _per_sample.samples_backward(gru._stack(), whole, d_output, d_h_n[None], gradients)
        for b in range(B):
            row = slice(b, b + 1)
            own = {name: a[:, row] if a.shape[1] == B else a for name, a in steps.items()}
            own |= {name: a[row] if len(a) == B else a for name, a in (masks | states).items()}
            *_, tape = grus.gru_forward(x[:, row], params=params, **own)
            alone = grus.gru_backward(tape, d_output[:, row], d_h_n[row])
            for value, name in zip(alone.params, gru.parameters, strict=False):
                assert_close(gradients[name][b], value, "same maths", name=name)
            assert_close(found.x[:, row], alone.x, "same maths")
            assert_close(found.h0[0, row], alone.h0, "same maths")
            assert_close(found.reset_state[0, row], alone.reset_state, "same maths")


def test_samples_by_name_are_views_of_one_buffer() -> None:
    gru = random_gru(2)
    out = np.full((B, gru.flat.size), np.nan)
    output, _, tape = gru.forward(**case(gru))
    parameters = gru.backward(tape, output, per_sample=True, out=out).parameters
    assert parameters.flat is out
    assert np.isfinite(out).all()
    assert list(parameters) == list(gru.parameters)
    for name, value in parameters.items():
        assert value.shape == (B, *gru.parameters[name].shape)
        assert np.shares_memory(value, out)
    joined = np.concatenate([value.reshape(B, -1) for value in parameters.values()], axis=1)
    np.testing.assert_array_equal(joined, out)


def test_a_sample_without_a_batch_axis() -> None:
    gru = random_gru()
    x = case(gru, "plain")["x"][0]
    output, _, tape = gru.forward(x)
    found = gru.backward(tape, output, per_sample=True)
    expected = gru.backward(gru.forward(x).tape, output)
    assert found.x.shape == x.shape
    assert_close(found.parameters.flat, expected.parameters.flat[None], "same maths")


@pytest.mark.parametrize(("rows", "steps"), [(0, 4), (4, 0)])
def test_no_samples(rows: int, steps: int) -> None:
    gru = random_gru(2)
    output, _, tape = gru.forward(np.zeros((rows, steps, I)))
    found = gru.backward(tape, output, per_sample=True)
    np.testing.assert_array_equal(found.parameters.flat, np.zeros((rows, gru.flat.size)))
    assert found.x.shape == (rows, steps, I)


def test_a_tape_is_used_once_for_samples_too() -> None:
    gru = random_gru()
    for first, second in itertools.product((True, False), repeat=2):
        *_, tape = gru.forward(**case(gru))
        gru.backward(tape, per_sample=first)
        with pytest.raises(RuntimeError, match="this tape was used before"):
            gru.backward(tape, per_sample=second)


def test_the_bound_tells_a_wrong_answer_from_a_right_one() -> None:
    """What is compared above by relative errors differs by far more where one row is left out."""
    gru = random_gru()
    output, _, tape = gru.forward(**case(gru))
    flat = gru.backward(tape, output, per_sample=True).parameters.flat
    assert np.linalg.norm(flat[0]) > 1e6 * relative("same maths") * np.linalg.norm(flat.sum(axis=0))
