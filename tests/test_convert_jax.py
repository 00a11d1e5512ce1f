"""``grus.jax`` against Equinox and Haiku themselves: they run what it gives, and grus what they made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grus.conversion import ConversionError, Report
from jax_runs import GRID, equal, name_of, precision, random_call, random_gru, same
from library_runs import run_equinox, run_haiku

pytest.importorskip("jax", reason="could not import 'jax', which these tests compare with")
pytest.importorskip("equinox", reason="could not import 'equinox', which these tests compare with")
pytest.importorskip("haiku", reason="could not import 'haiku', which these tests compare with")

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp

from grus.jax import from_jax, to_jax

AFTER = [options for options in GRID if options["reset_after"]]
BEFORE = [options for options in GRID if not options["reset_after"]]
Array = np.ndarray[Any, np.dtype[Any]]


# ---------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("options", AFTER, ids=name_of)
def test_equinox_runs_what_grus_gives_and_back(options: dict[str, Any]) -> None:
    gru = random_gru(**options)
    with precision(options["dtype"]):
        report = Report()
        cells = to_jax(gru, api="equinox", report=report)
        same(gru, lambda x, h0: run_equinox(cells, x, h0, gru.directions))
        twin = from_jax(cells)
        equal(gru, twin)
    assert report.difference < 1e-6
    assert ("their sum is kept" in " ".join(report.notes)) is options["bias"]
    assert twin.bias is options["bias"]


@pytest.mark.parametrize("options", BEFORE, ids=name_of)
def test_haiku_runs_what_grus_gives_and_back(options: dict[str, Any]) -> None:
    gru = random_gru(**options)
    with precision(options["dtype"]):
        report = Report()
        params = to_jax(gru, api="haiku", report=report)
        same(gru, lambda x, h0: run_haiku(params, x, h0, gru.directions))
        equal(gru, from_jax(params))
    assert report.difference < 1e-6
    assert ("zeros" in " ".join(report.notes)) is not options["bias"]


@pytest.mark.parametrize("options", GRID, ids=name_of)
def test_the_other_formulation_is_refused(options: dict[str, Any]) -> None:
    api, theirs = ("haiku", "before") if options["reset_after"] else ("equinox", "after")
    with pytest.raises(ConversionError, match=rf"is the formulation '{theirs}' and this GRU is"):
        to_jax(random_gru(**options), api=api)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_cells_of_equinox(use_bias: bool, dtype: str) -> None:
    with precision(dtype):
        keys = jax.random.split(jax.random.key(0), 4)
        cells = [
            (eqx.nn.GRUCell(size, 5, use_bias, key=a), eqx.nn.GRUCell(size, 5, use_bias, key=b))
            for size, (a, b) in zip((3, 10), keys.reshape(2, 2), strict=True)
        ]
        report = Report()
        gru = from_jax(cells, report=report)
        same(gru, lambda x, h0: run_equinox(cells, x, h0, gru.directions))
    assert (gru.dtype, gru.bias) == (dtype, use_bias)
    assert report.found["biases"] == ("one and b_hn" if use_bias else "none")
    assert report.found["update gate"] == "z multiplies the previous state"


def deep(x: Any, h0: Any) -> Any:
    cores = [hk.GRU(5, b_init=hk.initializers.RandomNormal()) for _ in range(2)]
    output, states = hk.dynamic_unroll(hk.DeepRNN(cores), x.swapaxes(0, 1), tuple(h0))
    return output.swapaxes(0, 1), jnp.stack(states)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_random_deep_rnn_of_haiku(dtype: str) -> None:
    with precision(dtype):
        model = hk.without_apply_rng(hk.transform(deep))
        params = model.init(jax.random.key(0), jnp.zeros((2, 4, 3), dtype), jnp.zeros((2, 2, 5), dtype))
        report = Report()
        gru = from_jax(params, report=report)
        same(gru, lambda x, h0: model.apply(params, x, jnp.asarray(h0)))
        mine = to_jax(gru, api="haiku")
        same(gru, lambda x, h0: model.apply(mine, x, jnp.asarray(h0)))
    assert jax.tree.structure(mine) == jax.tree.structure(params)
    assert gru.dtype == dtype
    assert report.found["update gate"] == "1 - z multiplies the previous state"
    assert report.found["formulation"] == "reset before the recurrent product"
    assert report.difference < (1e-12 if dtype == "float64" else 1e-6)


def test_an_equinox_cell_steps_at_once() -> None:
    gru = random_gru()
    x, h0 = random_call(gru, steps=1)
    h = jax.vmap(to_jax(gru))(x[:, 0], h0[0])
    assert np.abs(h - gru.step(x[:, 0], h0)[0]).max() < 1e-6


def test_nothing_shares_memory() -> None:
    gru = random_gru(input_size=64, hidden_size=64)
    cell = to_jax(gru)
    before = np.array(cell.weight_hh)
    gru.flat[...] = 0
    assert (cell.weight_hh == before).all()


# --------------------------------------------------------------------------------- how others nest and name them


def test_lists_and_names_of_haiku() -> None:
    gru = random_gru(num_layers=2, reset_after=False)
    first, second = to_jax(gru, api="haiku").values()
    named = {"net/~/gru_1": second, "net/~/gru": first}
    for source in ([first, second], [(first,), (second,)], named, {"gru": [first, second]}):
        equal(gru, from_jax(source))
    single = random_gru(reset_after=False)
    equal(single, from_jax(to_jax(single, api="haiku")["gru"]))


@pytest.mark.parametrize("layers", [1, 2])
def test_pairs_of_numbered_grus(layers: int) -> None:
    gru = random_gru(num_layers=layers, bidirectional=True, input_size=5, reset_after=False)
    params = to_jax(gru, api="haiku")
    if layers == 1:
        with pytest.raises(
            ConversionError, match=r"two cells that read 5 numbers and have 5 units: two layers, or"
        ):
            from_jax(params)
    equal(gru, from_jax(params, bidirectional=True if layers == 1 else None))


def test_cells_with_and_without_biases() -> None:
    cells = to_jax(random_gru(num_layers=2))
    cells[1] = to_jax(random_gru(input_size=5, bias=False))
    report = Report()
    gru = from_jax(cells, report=report)
    assert not gru.parameters["bias_ih_l1"].any()
    assert "some cells have biases: those of the others are zeros in grus" in report.notes
    same(gru, lambda x, h0: run_equinox(cells, x, h0, gru.directions))


# ------------------------------------------------------------------------------------------- float64 in JAX


@pytest.mark.parametrize(("api", "after"), [("equinox", True), ("haiku", False)])
def test_float64_needs_jax_to_hold_it(api: str, after: bool) -> None:
    gru = random_gru(dtype="float64", reset_after=after)
    with precision("float32"):
        with pytest.raises(ConversionError, match=r"JAX holds float32.*this GRU is float64.*pass allow_cast=True"):
            to_jax(gru, api=api)
        report = Report()
        assert from_jax(to_jax(gru, api=api, allow_cast=True, report=report)).dtype == "float32"
        assert not jax.config.jax_enable_x64
    assert "the weights were float64 and are rounded to float32" in report.notes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_users_setting_stays(dtype: str) -> None:
    with precision(dtype):
        from_jax(to_jax(random_gru()))
        assert jax.config.jax_enable_x64 is (dtype == "float64")
        assert to_jax(random_gru()).weight_ih.dtype == "float32"


# ------------------------------------------------------------------------------------- what is wrong is refused


def zeros(*shape: int) -> Array:
    return np.zeros(shape, "float32")


def haiku_params(**changes: Any) -> dict[str, Any]:
    """One GRU's, with some replaced, or left out where None."""
    params = {"w_i": zeros(3, 15), "w_h": zeros(5, 15), "b": zeros(15)} | changes
    return {key: each for key, each in params.items() if each is not None}


def changed_cell(name: str, array: Any) -> Any:
    return eqx.tree_at(lambda cell: getattr(cell, name), to_jax(random_gru()), array)


def skipping() -> Any:
    def model(x: Any) -> Any:
        core = hk.deep_rnn_with_skip_connections([hk.GRU(5), hk.GRU(5)])
        return hk.dynamic_unroll(core, x, core.initial_state(2))

    return hk.transform(model).init(jax.random.key(0), zeros(4, 2, 3))


WRONG = [
    (lambda: haiku_params(b=None), r"source must hold w_i, w_h, b as Haiku GRU has it; missing 'b'"),
    (lambda: haiku_params(w=zeros(1)), r"unknown 'w'"),
    (lambda: haiku_params(w_h=zeros(5, 20)), r"source\['w_h'\] must have shape \(5, 15\); got \(5, 20\)"),
    (lambda: haiku_params(w_i=zeros(3, 12)), r"source\['w_i'\] must have shape \(any, 15\); got \(3, 12\)"),
    (lambda: haiku_params(b=zeros(5)), r"source\['b'\] must have shape \(15\); got \(5\,\)"),
    (lambda: haiku_params(b=np.full(15, np.inf, "float32")), r"source\['b'\] holds NaN or infinity"),
    (lambda: {"gru": haiku_params(), "linear": {"w": zeros(5, 2)}}, r"nor its layers by number"),
    (lambda: {"gru": haiku_params(), "gru_2": haiku_params()}, r"numbers must run from 0 without a gap"),
    (lambda: {"gru_1": haiku_params()}, r"source holds gru_1: numbers must run from 0"),
    (lambda: {"a/gru": haiku_params(), "b/gru": haiku_params()}, r"nor its layers by number"),
    (lambda: {"lstm": {"w": zeros(8, 20), "b": zeros(20)}}, r"source\['lstm'\] holds w, b, which is neither"),
    (skipping, r"layer 1 reads 8 numbers, but the layer before it gives 5"),
    (lambda: [haiku_params(), haiku_params()], r"layer 1 reads 3 numbers.*a layer is missing"),
    (lambda: [haiku_params(), to_jax(random_gru())], r"source\[1\] must hold the cells of a GRU; got GRUCell"),
    (lambda: [haiku_params(), (haiku_params(),) * 2], r"layer 1 has 2 direction\(s\)"),
    (lambda: eqx.nn.LSTMCell(3, 5, key=jax.random.key(0)), r"source must hold the cells of a GRU; got LSTMCell"),
    (lambda: [to_jax(random_gru())] * 2, r"layer 1 reads 3 numbers.*a layer is missing"),
    (lambda: [], r"source must hold the cells of a GRU; got nothing"),
    (lambda: {}, r"source must hold the cells of a GRU; got nothing"),
    (lambda: None, r"source must hold the cells of a GRU; got NoneType"),
    (lambda: changed_cell("weight_hh", zeros(15, 4)), r"weight_hh must have shape \(12, 4\); got \(15, 4\)"),
    (lambda: changed_cell("weight_ih", zeros(12, 3)), r"weight_ih must have shape \(15, any\); got \(12, 3\)"),
    (lambda: changed_cell("bias", zeros(12)), r"source\.bias must have shape \(15\); got \(12,\)"),
    (lambda: changed_cell("bias_n", zeros(15)), r"source\.bias_n must have shape \(5\); got \(15,\)"),
    (lambda: changed_cell("bias_n", np.zeros(5)), r"must be of one dtype; got float32 and float64"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_sources(make: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        from_jax(make())


def test_a_cell_is_what_it_computes() -> None:
    """use_bias=False with the biases still there: Equinox adds none, nor does grus."""
    cell = to_jax(random_gru())
    object.__setattr__(cell, "use_bias", False)
    gru = from_jax(cell)
    assert not gru.bias
    same(gru, lambda x, h0: run_equinox(cell, x, h0, gru.directions))


@pytest.mark.parametrize("keys", [(slice(0, 5), slice(5, 10)), (slice(5, 10), slice(10, 15))])
def test_swapped_gates_make_another_function(keys: tuple[slice, slice], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the self-check is for: a converter that mixes up gates does not return."""
    from grus.conversion import haiku

    original = haiku._write

    def swapped(*args: Any) -> dict[str, Any]:
        cell = original(*args)
        bias, (first, second) = np.array(cell["b"]), keys
        bias[first], bias[second] = bias[second].copy(), bias[first].copy()
        return cell | {"b": jnp.asarray(bias)}

    monkeypatch.setattr(haiku, "_write", swapped)
    with pytest.raises(ConversionError, match="not the same function: Haiku GRU and grus differ by"):
        to_jax(random_gru(reset_after=False), api="haiku")


def test_the_other_polarity_is_another_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Haiku whose update gate kept the state, as everybody else's does, would not pass."""
    from dataclasses import replace

    from grus.conversion import haiku

    monkeypatch.setattr(haiku, "_OURS", replace(haiku._OURS, keeps="z"))
    params = haiku_params(w_i=np.random.default_rng(0).standard_normal((3, 15)).astype("float32"))
    with pytest.raises(ConversionError, match="not the same function: Haiku GRU and grus differ by"):
        from_jax(params)


@pytest.mark.parametrize(
    "option",
    [{"layer_norm": True}, {"learn_h0": True}, {"zoneout": 0.1}, {"clip": 3.0}, {"reverse": True}],
    ids=name_of,
)
def test_options_that_they_have_not(option: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match=rf"Equinox nn\.GRUCell has no {next(iter(option))}"):
        to_jax(random_gru(**option))


def test_other_activations_are_refused() -> None:
    with pytest.raises(ConversionError, match=r"Equinox nn\.GRUCell knows only tanh and sigmoid"):
        to_jax(random_gru(activation="relu"))


def test_dropouts_are_left_behind_with_a_note() -> None:
    report = Report()
    to_jax(random_gru(num_layers=2, dropout=0.2), report=report)
    assert "dropout=0.2: acts only in training and does not go to Equinox nn.GRUCell" in report.notes


def test_an_unknown_api() -> None:
    with pytest.raises(ValueError, match="api must be one of equinox, haiku; got 'flax'"):
        to_jax(random_gru(), api="flax")


@pytest.mark.parametrize("name", ["equinox", "haiku"])
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'needs {name}. Install it: pip install "grus\[jax\]"'):
        to_jax(random_gru(reset_after=name == "equinox", hidden_size=9), api=name)
