"""``grus.flax`` against Flax itself: linen and nnx run on what it gives, and grus on what they made."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import ConversionError, Report
from jax_runs import GRID, equal, name_of, precision, random_call, random_gru, same, without_recurrent_n
from library_runs import linen_layer, run_linen, run_nnx

pytest.importorskip("flax", reason="could not import 'flax', which these tests compare with")

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.core import freeze

from grus.flax import from_flax, to_flax

AFTER = [options for options in GRID if options["reset_after"]]
BEFORE = [options for options in GRID if not options["reset_after"]]
Array = np.ndarray[Any, np.dtype[Any]]
RUN = {"linen": run_linen, "nnx": run_nnx}


# ---------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("options", AFTER, ids=name_of)
def test_linen_runs_what_grus_gives_and_back(options: dict[str, Any]) -> None:
    gru = random_gru(**options)
    with precision(options["dtype"]):
        report = Report()
        params = to_flax(gru, api="linen", report=report)
        same(gru, lambda x, h0: run_linen(params, x, h0, gru.directions))
        equal(gru, from_flax(params))
    assert report.difference < 1e-6
    assert ("zeros" in " ".join(report.notes)) is not options["bias"]
    assert ("their sum is kept" in " ".join(report.notes)) is options["bias"]


@pytest.mark.parametrize("options", AFTER, ids=name_of)
def test_nnx_runs_what_grus_gives_and_back(options: dict[str, Any]) -> None:
    gru = without_recurrent_n(random_gru(**options))
    with precision(options["dtype"]):
        module = to_flax(gru, api="nnx")
        same(gru, lambda x, h0: run_nnx(module, x, h0, gru.directions))
        equal(gru, from_flax(module))
        equal(gru, from_flax(nnx.state(module)))


@pytest.mark.parametrize("options", [o for o in AFTER if o["bias"]], ids=name_of)
def test_nnx_has_no_recurrent_bias_in_the_new_gate(options: dict[str, Any]) -> None:
    with precision(options["dtype"]), pytest.raises(ConversionError, match="no recurrent bias in the new gate"):
        to_flax(random_gru(**options), api="nnx")


@pytest.mark.parametrize("api", ["linen", "nnx"])
@pytest.mark.parametrize("options", BEFORE, ids=name_of)
def test_before_is_refused(options: dict[str, Any], api: str) -> None:
    with pytest.raises(ConversionError, match=r"GRUCell is the formulation 'after' and this GRU is 'before'"):
        to_flax(random_gru(**options), api=api)


@pytest.mark.parametrize("api", ["linen", "nnx"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_models_of_flax(api: str, both: bool, dtype: str) -> None:
    """Not of our making: initialised by Flax, with random biases."""
    with precision(dtype):
        random = nn.initializers.normal(0.5)
        layer = linen_layer(5, both, bias_init=random, param_dtype=dtype)
        source = layer.init(jax.random.key(0), jnp.zeros((2, 4, 3), dtype))
        if api == "nnx":
            rngs = nnx.Rngs(0)
            cells = [nnx.GRUCell(3, 5, bias_init=random, param_dtype=dtype, rngs=rngs) for _ in range(1 + both)]
            source = nnx.Bidirectional(*map(nnx.RNN, cells)) if both else nnx.RNN(cells[0])
        report = Report()
        gru = from_flax(source, report=report)
        params = source if api == "nnx" else source["params"] if both else source["params"]["cell"]
        same(gru, lambda x, h0: RUN[api](params, x, h0, gru.directions))
    assert gru.dtype == dtype
    assert gru.bidirectional is both
    assert report.difference < (1e-12 if dtype == "float64" else 1e-6)
    assert report.found["layout"] == f"Flax {api} GRUCell"
    assert report.found["gate order"] == "r, z, n"


def test_a_model_applies_the_parameters_at_once() -> None:
    gru = random_gru(num_layers=2, bidirectional=True)
    layers = [nn.Bidirectional(nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5))) for _ in range(2)]
    x, _ = random_call(gru)
    params = to_flax(gru)
    assert np.abs(nn.Sequential(layers).apply({"params": params}, x) - gru(x)[0]).max() < 1e-6
    expected = nn.Sequential(layers).init(jax.random.key(0), x)["params"]
    assert jax.tree.structure(params) == jax.tree.structure(expected)


def test_a_cell_applies_its_parameters_and_nnx_updates_with_a_state() -> None:
    gru = without_recurrent_n(random_gru())
    x, h0 = random_call(gru, steps=1)
    expected = gru.step(x[:, 0], h0)[0]
    carry, output = nn.GRUCell(5).apply({"params": to_flax(gru)}, h0[0], x[:, 0])
    assert np.abs(carry - expected).max() < 1e-6
    assert (output == carry).all()
    cell = nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))
    nnx.update(cell, nnx.state(to_flax(gru, api="nnx")))
    assert np.abs(cell(jnp.asarray(h0[0]), jnp.asarray(x[:, 0]))[0] - expected).max() < 1e-6


def test_nothing_shares_memory() -> None:
    gru = random_gru(input_size=64, hidden_size=64)
    params = to_flax(gru)
    before = jax.tree.map(np.array, params)
    gru.flat[...] = 0
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, before))


# ------------------------------------------------------------------------------------ how others name them


class Compact(nn.Module):
    """Cells that are made in the call are numbered by Flax, whatever runs them."""

    both: bool
    layers: int = 2

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(self.layers):
            cells = [nn.GRUCell(5, bias_init=nn.initializers.normal()) for _ in range(1 + self.both)]
            x = nn.Bidirectional(*map(nn.RNN, cells))(x) if self.both else nn.RNN(cells[0])(x)
        return x


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("inputs", [3, 5])
@pytest.mark.parametrize("layers", [1, 2])
def test_cells_numbered_by_flax(both: bool, inputs: int, layers: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, inputs)).astype("float32")
    model = Compact(both, layers)
    variables = model.init(jax.random.key(0), x)
    ambiguous = inputs == 5 and layers * (1 + both) == 2
    gru = from_flax(variables, bidirectional=both if ambiguous else None)
    assert (gru.num_layers, gru.bidirectional) == (layers, both)
    assert np.abs(gru(x)[0] - model.apply(variables, x)).max() < 1e-6
    if ambiguous:
        with pytest.raises(
            ConversionError, match=r"two cells that read 5 numbers and have 5 units.*or bidirectional="
        ):
            from_flax(variables)


def test_layers_are_in_the_order_of_their_numbers() -> None:
    """JAX sorts names as text, layers_10 before layers_2."""
    gru = random_gru(num_layers=11)
    params = jax.tree.map(np.asarray, to_flax(gru))
    assert list(params)[2] == "layers_10"
    equal(gru, from_flax(params))


def test_wrappers_and_lists() -> None:
    gru = random_gru(num_layers=2, bidirectional=True)
    params = to_flax(gru)
    pairs = [tuple(layer[f"{side}_rnn"]["cell"] for side in ("forward", "backward")) for layer in params.values()]
    for source in (freeze({"params": params}), {"params": {"encoder": params}}, list(params.values()), pairs):
        equal(gru, from_flax(source))
    single = random_gru()
    for source in (to_flax(single), {"GRUCell_0": to_flax(single)}, [to_flax(single)], [(to_flax(single),)]):
        equal(single, from_flax(source))


def test_partitioned_parameters_are_unboxed() -> None:
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "units"))
    variables = nn.GRUCell(5, kernel_init=init).init(jax.random.key(0), jnp.zeros((2, 5)), jnp.zeros((2, 3)))
    assert repr(from_flax(variables)) == "GRU(3, 5) float32, 150 parameters"


def test_lists_and_tuples_of_modules() -> None:
    gru = without_recurrent_n(random_gru(num_layers=2, bidirectional=True))
    layers = list(to_flax(gru, api="nnx").layers)
    equal(gru, from_flax(layers))
    equal(gru, from_flax([(layer.forward_rnn, layer.backward_rnn.cell) for layer in layers]))
    equal(gru, from_flax({f"layers_{k}": layer for k, layer in enumerate(layers)}))


# --------------------------------------------------------------------------------- how modules run their cells


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=name_of)
def test_time_major(options: dict[str, Any]) -> None:
    gru = without_recurrent_n(random_gru(**options, batch_first=False))
    module = to_flax(gru, api="nnx")
    twin = from_flax(module)
    single = not options
    assert twin.batch_first is single  # a lone cell has no time axis
    if not single:
        same(gru, lambda x, h0: run_nnx(module, x, h0, gru.directions))
        equal_runs = twin(np.ones((7, 4, 3), "float32"))[0] - gru(np.ones((7, 4, 3), "float32"))[0]
        assert np.abs(equal_runs).max() < 1e-6


@pytest.mark.parametrize("layers", [1, 2])
def test_reverse(layers: int) -> None:
    gru = without_recurrent_n(random_gru(num_layers=layers, reverse=True))
    module = to_flax(gru, api="nnx")
    same(gru, lambda x, h0: run_nnx(module, x, h0, gru.directions))
    assert from_flax(module).reverse
    equal(gru, from_flax(module))


def test_reverse_is_not_in_parameters() -> None:
    with pytest.raises(ConversionError, match="Flax linen GRUCell has no reverse"):
        to_flax(random_gru(reverse=True))


def test_a_last_step_first_output_is_refused() -> None:
    rnn = nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)), reverse=True)
    with pytest.raises(ConversionError, match=r"keep_order=False.*last step first.*Set keep_order=True"):
        from_flax(rnn)


def test_layers_that_run_in_several_ways_are_refused() -> None:
    cells = [nnx.GRUCell(5, 5, rngs=nnx.Rngs(0)) for _ in range(2)]
    rnns = [nnx.RNN(cells[0]), nnx.RNN(cells[1], reverse=True, keep_order=True)]
    with pytest.raises(ConversionError, match=r"run in several ways \(time_major, reverse\)"):
        from_flax(nnx.Sequential(*rnns))


@pytest.mark.parametrize("merge", [jnp.add, lambda a, b: jnp.concatenate([b, a], -1)])
def test_another_merge_is_refused(merge: Any) -> None:
    rnns = [nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))) for _ in range(2)]
    with pytest.raises(
        ConversionError, match="must concatenate its directions, as grus does; its merge_fn differs"
    ):
        from_flax(nnx.Bidirectional(*rnns, merge_fn=merge))


def test_a_bidirectional_of_something_else_is_refused() -> None:
    cells = [nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)) for _ in range(2)]
    with pytest.raises(ConversionError, match=r"must have an nnx\.RNN as forward_rnn; got GRUCell"):
        from_flax(nnx.Bidirectional(*cells))


def test_a_cell_that_computes_in_half_precision_is_noted() -> None:
    report = Report()
    cell = nnx.GRUCell(3, 5, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    gru = from_flax(cell, report=report)
    assert gru.dtype == "float32"
    assert "computes in bfloat16; grus computes in its parameters' own dtype" in report.notes[0]
    assert cell.dtype == cell.dense_i.dtype == jnp.bfloat16


def test_half_floats_are_widened() -> None:
    orthogonal_has_no = {"recurrent_kernel_init": nn.initializers.normal(), "param_dtype": jnp.bfloat16}
    gru = from_flax(nnx.GRUCell(3, 5, **orthogonal_has_no, rngs=nnx.Rngs(0)))
    assert gru.dtype == "float32"
    params = jax.tree.map(lambda a: a.astype("float16"), to_flax(random_gru()))
    assert (from_flax(params).parameters["weight_ih_l0"][0] == np.asarray(params["ir"]["kernel"])[:, 0]).all()


# -------------------------------------------------------------------------------------------- activations


FUNCTIONS = {
    "relu": jax.nn.relu, "elu": jax.nn.elu, "softsign": jax.nn.soft_sign, "softplus": jax.nn.softplus,
    "identity": jax.nn.identity, "leaky_relu": jax.nn.leaky_relu,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_activations(name: str, api: str) -> None:
    gru = without_recurrent_n(random_gru(activation=name, gate_activation="hard_sigmoid"))
    report = Report()
    result = to_flax(gru, api=api, report=report)
    functions = {"activation_fn": FUNCTIONS[name], "gate_fn": jax.nn.hard_sigmoid}
    if api == "linen":
        same(gru, lambda x, h0: run_linen(result, x, h0, gru.directions, **functions))
        assert f"activation_fn Activation('{name}'" in report.notes[-1]
        equal(gru, from_flax(result, activation=name, gate_activation="hard_sigmoid"))
    else:
        assert {key: getattr(result, key) for key in functions} == functions
        same(gru, lambda x, h0: run_nnx(result, x, h0, gru.directions))
        equal(gru, from_flax(result, report=report))
        assert report.found["activations"] == f"{name}, hard_sigmoid"


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
def test_parameters_of_activations(name: str) -> None:
    gru = without_recurrent_n(random_gru(activation=grus.Activation(name, alpha=0.4)))
    module = to_flax(gru, api="nnx")
    same(gru, lambda x, h0: run_nnx(module, x, h0, gru.directions))
    equal(gru, from_flax(module))


@pytest.mark.parametrize("activation", ["affine", "thresholded_relu", "scaled_tanh", "hard_sigmoid_keras2"])
def test_activations_that_jax_has_not(activation: str) -> None:
    with pytest.raises(ConversionError, match=r"JAX has no function for Activation\(.*; it has identity, tanh"):
        to_flax(random_gru(activation=activation))


def test_two_functions_for_the_gates_are_refused() -> None:
    with pytest.raises(ConversionError, match="one function for the reset and the update gate"):
        to_flax(random_gru(gate_activation=("sigmoid", "hard_sigmoid")))


def cell_with(**functions: Any) -> Any:
    return nnx.GRUCell(3, 5, **functions, rngs=nnx.Rngs(0))


def test_a_function_of_the_users_own_is_asked_for_and_checked() -> None:
    cell = cell_with(activation_fn=lambda a: 1.7 * jnp.tanh(0.6 * a))
    with pytest.raises(ConversionError, match=r"function <lambda> is not one that grus knows.*pass activation="):
        from_flax(cell)
    scaled = grus.Activation("scaled_tanh", alpha=1.7, beta=0.6)
    gru = from_flax(cell, activation=scaled)
    assert gru.formulation.activation == scaled
    with pytest.raises(ConversionError, match=r"not the same function: Flax nnx GRUCell and grus differ by"):
        from_flax(cell, activation="tanh")
    with pytest.raises(ConversionError, match=r"is not one that grus knows.*pass gate_activation="):
        from_flax(cell_with(gate_fn=partial(jax.nn.leaky_relu, wrong=1)))


def test_cells_of_several_activations_are_refused() -> None:
    cells = [nnx.RNN(nnx.GRUCell(5, 5, activation_fn=f, rngs=nnx.Rngs(0))) for f in (jnp.tanh, jax.nn.relu)]
    with pytest.raises(ConversionError, match="the cells have several activations"):
        from_flax(nnx.Sequential(*cells))


# ------------------------------------------------------------------------------------------- float64 in JAX


@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_float64_needs_jax_to_hold_it(api: str) -> None:
    gru = without_recurrent_n(random_gru(dtype="float64"))
    with precision("float32"):
        with pytest.raises(ConversionError, match=r"JAX holds float32.*this GRU is float64.*pass allow_cast=True"):
            to_flax(gru, api=api)
        report = Report()
        result = to_flax(gru, api=api, allow_cast=True, report=report)
        assert from_flax(result).dtype == "float32"
        assert not jax.config.jax_enable_x64
    assert "the weights were float64 and are rounded to float32" in report.notes
    assert report.difference < 1e-6


def test_float64_comes_from_jax_whatever_its_setting() -> None:
    gru = random_gru(dtype="float64")
    with precision("float64"):
        params = to_flax(gru)
    with precision("float32"):
        equal(gru, from_flax(params))
        equal(gru, from_flax(jax.tree.map(np.asarray, params)))


def test_complex_is_refused() -> None:
    with pytest.raises(ConversionError, match="complex128"):
        to_flax(random_gru(dtype="complex128"))


# ------------------------------------------------------------------------------------- what is wrong is refused


def broken(**changes: Any) -> dict[str, Any]:
    """A cell's parameters, with some replaced, or left out where None."""
    params = to_flax(random_gru()) | changes
    return {key: own for key, own in params.items() if own is not None}


def zeros(*shape: int) -> Array:
    return np.zeros(shape, "float32")


WRONG = [
    (lambda: broken(hn=None), r"source must hold ir/kernel.*missing 'hn/kernel', 'hn/bias'"),
    (lambda: broken(hr={"kernel": zeros(5, 5), "bias": zeros(5)}), r"unknown 'hr/bias'"),
    (lambda: broken(ig={"kernel": zeros(3, 5)}), r"unknown 'ig/kernel'"),
    (lambda: broken(ir=zeros(3, 5)), r"unknown 'ir/'"),
    (lambda: broken(iz={"kernel": zeros(4, 5), "bias": zeros(5)}), r"'iz/kernel'\] must have shape \(3, 5\)"),
    (lambda: broken(hn={"kernel": zeros(5, 5), "bias": zeros(4)}), r"'hn/bias'\] must have shape \(5\)"),
    (lambda: broken(hn={"kernel": zeros(5), "bias": zeros(5)}), r"'hn/kernel'\] must have shape \(any, any\)"),
    (lambda: broken(ir={"kernel": zeros(5), "bias": zeros(5)}), r"'ir/kernel'\] must have shape \(any, 5\)"),
    (lambda: broken(hr={"kernel": np.full((5, 5), np.nan, "float32")}), r"holds NaN or infinity"),
    (lambda: broken(hr={"kernel": np.zeros((5, 5))}), r"must be of one dtype; got float32 and float64"),
    (lambda: broken(hr={"kernel": np.zeros((5, 5), int)}), r"must be float32 or float64; got int"),
    (lambda: {"GRUCell_0": broken(), "Dense_0": {"kernel": zeros(5, 2)}}, r"nor its layers by number.*GRU's part"),
    (lambda: {"params": broken(), "batch_stats": {}}, r"neither a GRU's own parameters nor its layers"),
    (lambda: {"layers_1": {"cell": broken()}}, r"source holds layers_1: numbers must run from 0"),
    (lambda: {"layers_0": broken(), "layers_2": broken()}, r"numbers must run from 0 without a gap"),
    (lambda: [broken(), broken()], r"layer 1 reads 3 numbers, but the layer before.* 5: a layer is missing"),
    (lambda: [broken(), (broken(), broken())], r"layer 1 has 2 direction\(s\)"),
    (lambda: [(broken(), broken(), broken())], r"source\[0\] must hold a layer's one or two directions; got 3"),
    (lambda: [([broken(), broken()],)], r"source\[0\]\[0\] must hold one cell.*got 2 layers"),
    (lambda: {}, r"source must hold the cells of a GRU; got nothing"),
    (lambda: [], r"source must hold the cells of a GRU; got nothing"),
    (lambda: zeros(3, 4), r"source must hold the cells of a GRU; got ndarray"),
    (lambda: {"params": {"x": {"kernel": zeros(2, 2)}}}, r"must hold the cells of a GRU; got ndarray"),
    (lambda: nn.GRUCell(5), r"source must hold the cells of a GRU; got GRUCell"),
    (lambda: nn.MGUCell(5).init(jax.random.key(0), zeros(2, 5), zeros(2, 3)), r"missing 'ir/kernel'.*unknown 'hf"),
    (lambda: nn.LSTMCell(5).init(jax.random.key(0), (zeros(2, 5),) * 2, zeros(2, 3)), r"neither a GRU's own"),
    (lambda: nnx.OptimizedLSTMCell(3, 5, rngs=nnx.Rngs(0)), r"got OptimizedLSTMCell"),
    (lambda: nnx.state(nnx.OptimizedLSTMCell(3, 5, rngs=nnx.Rngs(0))), r"unknown 'dense_h/bias'"),
    (lambda: nnx.state(nnx.SimpleCell(3, 5, rngs=nnx.Rngs(0))), r"dense_h/kernel'\] must have shape \(5, 15\)"),
    (lambda: {"dense_h": {"kernel": zeros(5, 15)}}, r"missing 'dense_i/kernel', 'dense_i/bias'"),
    (
        lambda: {"dense_h": {"kernel": zeros(5, 15)}, "dense_i": {"kernel": zeros(3, 12), "bias": zeros(15)}},
        r"dense_i/kernel'\] must have shape \(any, 15\); got \(3, 12\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_sources(make: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        from_flax(make())


def test_layers_of_different_dtypes_are_refused() -> None:
    low, high = (
        jax.tree.map(lambda a, dtype=dtype: np.asarray(a, dtype), to_flax(random_gru(input_size=5)))
        for dtype in ("float32", "float64")
    )
    with pytest.raises(ConversionError, match="source must be of one dtype; got float32 and float64"):
        from_flax([low, high])


def test_bidirectional_must_agree() -> None:
    with pytest.raises(ConversionError, match=r"layers of 1 direction\(s\); got bidirectional=True"):
        from_flax([to_flax(random_gru())], bidirectional=True)
    cells = {f"GRUCell_{k}": to_flax(random_gru(input_size=5)) for k in range(3)}
    with pytest.raises(ConversionError, match="two cells for each bidirectional layer; got 3"):
        from_flax(cells, bidirectional=True)


@pytest.mark.parametrize("gates", [("r", "z"), ("z", "n"), ("r", "n")])
def test_swapped_gates_make_another_function(gates: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the self-check is for: a converter that mixes up gates does not return."""
    from grus.conversion import linen

    original = linen._write

    def swapped(*args: Any) -> dict[str, Any]:
        cell = original(*args)
        first, second = gates
        cell[f"i{first}"], cell[f"i{second}"] = cell[f"i{second}"], cell[f"i{first}"]
        return cell

    monkeypatch.setattr(linen, "_write", swapped)
    with pytest.raises(ConversionError, match="the converted GRU is not the same function: Flax linen"):
        to_flax(random_gru())


def test_a_changed_cell_is_another_function() -> None:
    """A subclass that computes something else is run as it is."""

    class Other(nnx.GRUCell):  # type: ignore[misc]
        def __call__(self, carry: Any, inputs: Any) -> Any:
            new, _ = super().__call__(carry, inputs)
            return 0.9 * new, 0.9 * new

    with pytest.raises(ConversionError, match="not the same function: Flax nnx GRUCell"):
        from_flax(Other(3, 5, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("option", [{"layer_norm": True}, {"learn_h0": True}, {"zoneout": 0.1}, {"clip": 3.0}])
def test_options_that_flax_has_not(option: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match=f"Flax linen GRUCell has no {next(iter(option))}"):
        to_flax(random_gru(**option))


def test_an_unknown_api() -> None:
    with pytest.raises(ValueError, match="api must be one of linen, nnx; got 'haiku'"):
        to_flax(random_gru(), api="haiku")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "flax.nnx", None)
    with pytest.raises(ImportError, match=r'needs flax.nnx. Install it: pip install "grus\[flax\]"'):
        from_flax({})


def test_an_older_jax_has_the_context_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    on = jax.enable_x64
    monkeypatch.delattr(jax, "enable_x64")
    monkeypatch.setattr("jax.experimental.enable_x64", lambda: on(True), raising=False)
    equal(random_gru(), from_flax(to_flax(random_gru())))
