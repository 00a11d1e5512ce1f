"""Options of ``grus.GRU`` as settings: initialisers, configurations, files, models and estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grus
from grus import nn
from option_cases import OPTIONS, RANDOM, random_gru, random_options

Array = np.ndarray[Any, np.dtype[Any]]
NEW = (
    "formulation", "clip", "blocks", "layer_norm", "input_dropout", "recurrent_dropout", "weight_dropout",
    "zoneout", "learn_h0", "truncate", "gradient_clip", "reverse",
)  # fmt: skip


# --------------------------------------------------------------------------------------------------- initialisers


def gates(gru: grus.GRU, kind: str) -> list[Array]:
    return np.split(gru.parameters[f"{kind}_l0"], 3)


def test_each_gate_has_its_initialiser() -> None:
    init = {
        "weight_ih": ("ones", "uniform", -2),
        "weight_hh": ["identity", "glorot_uniform", "orthogonal"],
        "bias_ih": (0.5, 1, "zeros"),
        "bias_hh": "uniform",
    }
    gru = grus.GRU(3, 40, init=init, update_bias=2, dtype="float64", seed=0)
    r, z, n = gates(gru, "weight_ih")
    assert (r == 1).all()
    assert (n == -2).all()
    assert 0.9 < np.abs(z).max() * np.sqrt(40) <= 1
    r, z, n = gates(gru, "weight_hh")
    np.testing.assert_array_equal(r, np.eye(40))
    assert 0.95 < np.abs(z).max() / np.sqrt(6 / 80) <= 1
    np.testing.assert_allclose(n @ n.T, np.eye(40), atol=1e-13)
    for gate, value in zip(gates(gru, "bias_ih"), (0.5, 1 + 2, 0), strict=True):
        assert (gate == value).all()
    assert 0.9 < np.abs(gru.parameters["bias_hh_l0"]).max() * np.sqrt(40) <= 1


def test_what_a_mapping_leaves_out_is_as_in_orthogonal() -> None:
    gru, usual = grus.GRU(3, 4, init={}, seed=0), grus.GRU(3, 4, seed=0)
    np.testing.assert_array_equal(gru.flat, usual.flat)


@pytest.mark.parametrize("spec", ["orthogonal", "identity"])
def test_matrices_in_blocks_are_initialised_block_by_block(spec: str) -> None:
    gru = grus.GRU(3, 12, blocks=3, init={"weight_hh": spec}, dtype="float64", seed=0)
    own = gru.parameters["weight_hh_l0"].reshape(9, 4, 4)
    for block in own:
        np.testing.assert_allclose(block @ block.T, np.eye(4), atol=1e-13)
    assert len({block.tobytes() for block in own}) == (9 if spec == "orthogonal" else 1)


@pytest.mark.parametrize("init", ["orthogonal", "torch"])
def test_gains_begin_at_one_and_learned_states_at_zero(init: str) -> None:
    gru = grus.GRU(3, 4, 2, bidirectional=True, layer_norm=True, learn_h0=True, init=init, seed=0)
    for name, value in gru.parameters.items():
        if name.startswith(("gain", "h0")):
            assert (value == name.startswith("gain")).all(), name


# ------------------------------------------------------------------------------------------ configurations, files


def names(gru: grus.GRU) -> list[str]:
    return [name.rsplit("_l", 1)[0] for name in gru.parameters]


def test_the_names_and_shapes_of_the_parameters() -> None:
    gru = grus.GRU(3, 4, layer_norm=True, learn_h0=True, blocks=2)
    assert names(gru) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "gain_ih", "gain_hh", "h0"]
    assert gru.parameters["weight_hh_l0"].shape == (12, 2)
    assert gru.parameters["gain_hh_l0"].shape == (12,)
    assert gru.parameters["h0_l0"].shape == (4,)
    assert names(grus.GRU(3, 4, layer_norm=True, bias=False)) == ["weight_ih", "weight_hh", "gain_ih", "gain_hh"]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_any_options_go_round(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = random_options(rng, int(rng.integers(0, 10)))
    options |= {"num_layers": int(rng.integers(1, 3)), "bidirectional": bool(rng.integers(2))}
    gru = random_gru(3, 4, dtype=str(rng.choice(["float32", "float64"])), **options)
    x = rng.standard_normal((2, 5, 3)).astype(gru.dtype)
    other = grus.GRU.from_config(json.loads(json.dumps(gru.config())), seed=3)
    assert other.config() == gru.config()
    assert other.formulation == gru.formulation
    assert repr(other) == repr(gru)
    other.load_state_dict(gru.state_dict())
    path = tmp_path_factory.mktemp("options") / "gru.safetensors"
    grus.save(gru, path)
    for each in (other, grus.load(path)):
        assert each.config() == gru.config()
        np.testing.assert_array_equal(each.forward(x, rng=1).output, gru.forward(x, rng=1).output)
        np.testing.assert_array_equal(each(x).output, gru(x).output)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"formulation": "candidate"}, "formulation='candidate'"),
        ({"formulation": "before"}, "reset_after=False"),
        ({"clip": 0.5, "blocks": 3, "layer_norm": True}, "clip=0.5, blocks=3, layer_norm=True"),
        ({"recurrent_dropout": 0.25, "zoneout": 0.1}, "recurrent_dropout=0.25, zoneout=0.1"),
        ({"input_dropout": 0.25, "weight_dropout": 0.1}, "input_dropout=0.25, weight_dropout=0.1"),
        ({"learn_h0": True, "truncate": 5}, "learn_h0=True, truncate=5"),
        ({"gradient_clip": 2}, "gradient_clip=2.0"),
        ({"reverse": True}, "reverse=True"),
    ],
)
def test_repr(options: dict[str, Any], text: str) -> None:
    assert f"GRU(2, 3, {text}) float32" in repr(grus.GRU(2, 3, **options))


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_configuration_without_the_newer_options_still_loads(reset_after: bool) -> None:
    gru = random_gru(2, 3, 2, reset_after=reset_after, dropout=0.25)
    old = {name: value for name, value in gru.config().items() if name not in NEW}
    assert grus.GRU.from_config(old).config() == gru.config()


def test_a_clip_stands_once_in_the_configuration() -> None:
    own = grus.GRU(2, 3, activation=grus.Activation("tanh", clip=2.0))
    assert own.config()["clip"] is None
    assert own.config()["activation"] == {"name": "tanh", "clip": 2.0}
    clipped = grus.GRU(2, 3, clip=0.5)
    assert clipped.config()["clip"] == 0.5
    assert clipped.config()["activation"] == {"name": "tanh"}
    for gru in (own, clipped):
        assert grus.GRU.from_config(gru.config()).formulation == gru.formulation


# --------------------------------------------------------------------------------------------- models, estimators

MANY = {
    "formulation": "candidate", "blocks": 2, "layer_norm": True, "learn_h0": True, "clip": 3.0,
    "gradient_clip": 5.0, **dict.fromkeys(RANDOM, 0.2),
}  # fmt: skip


@pytest.mark.parametrize("pool", [True, False])
def test_a_model_passes_the_options_through(tmp_path: Path, pool: bool) -> None:
    x, y = np.random.default_rng(0).standard_normal((12, 5, 3)), np.arange(12.0)
    layers = [nn.GRU(4, sequences=pool, num_layers=2, **MANY), *([nn.Pool("mean")] if pool else []), nn.Dense(1)]
    model = nn.Sequential(layers, seed=0)
    histories = [model.fit(x, y, loss="mse", epochs=2, seed=0)["loss"]]
    assert np.isfinite(histories).all()
    assert {"gru_1.gain_ih_l1", "gru_1.h0_l1"} <= model.parameters.keys()
    assert model.parameters["gru_1.h0_l0"].any()
    path = tmp_path / "model.safetensors"
    grus.save(model, path)
    loaded = grus.load(path)
    assert loaded.layers[0].options() == model.layers[0].options()
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    twin = nn.Sequential([nn.GRU(**each) if i == 0 else layers[i] for i, each in enumerate([layers[0].options()])])
    assert repr(twin.layers[0]) == repr(model.layers[0])


@pytest.mark.parametrize("dropout", [False, True], ids=["first", "above dropout"])
@pytest.mark.parametrize("sequences", [True, False])
def test_training_leaves_out_the_gradient_that_nobody_reads(dropout: bool, sequences: bool) -> None:
    below = [nn.Dropout(0.3)] if dropout else []
    above = [nn.GRU(3)] if sequences else []
    model = nn.Sequential([*below, nn.GRU(4, sequences=sequences, num_layers=2), *above, nn.Dense(1)], seed=0)
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype("float32")
    found = []
    for with_x in (True, False):
        output, tape = model.forward(x, rng=0)
        gradients = model.parameters.like()
        d_x = model.fill(model.split(gradients.flat), tape, np.ones_like(output), with_x=with_x)
        assert (d_x is None) is not with_x
        found.append(gradients.flat)
    assert found[0].any()
    np.testing.assert_array_equal(found[1], found[0])


def test_estimators_pass_the_options_through(tmp_path: Path) -> None:
    base = pytest.importorskip("sklearn.base", reason='scikit-learn is not installed: pip install "grus[app]"')
    rng = np.random.default_rng(0)
    x, y = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 24)], np.arange(24) % 2
    init = {"weight_hh": ("identity", "orthogonal", 0.1)}
    given = {**MANY, "num_layers": 2, "init": init, "update_bias": 1.0}
    for kind in (grus.GRUClassifier, grus.GRURegressor):
        estimator = base.clone(kind(hidden_size=4, epochs=2, random_state=0, **given)).fit(x, y)
        assert given.items() <= estimator.get_params().items()
        core = estimator.model_.layers[0].core
        assert {name: core.config()[name] for name in MANY} == MANY
        path = tmp_path / f"{kind.__name__}.safetensors"
        grus.save(estimator, path)
        loaded = grus.load(path)
        assert given.items() <= loaded.get_params().items()
        np.testing.assert_array_equal(loaded.predict(x), estimator.predict(x))
        again = base.clone(estimator).fit(x, y)
        np.testing.assert_array_equal(again.model_.flat, estimator.model_.flat)


def test_an_estimator_takes_each_option_by_itself() -> None:
    pytest.importorskip("sklearn.base", reason='scikit-learn is not installed: pip install "grus[app]"')
    rng = np.random.default_rng(0)
    x, y = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 24)], rng.standard_normal(24)
    plain = grus.GRURegressor(hidden_size=4, num_layers=2, epochs=1, random_state=0)
    without = plain.fit(x, y).model_.flat
    for name in {**MANY, "truncate": 1}:
        value = {**MANY, "truncate": 1, "clip": 0.1, "gradient_clip": 1e-4}[name]
        estimator = grus.GRURegressor(hidden_size=4, num_layers=2, epochs=1, random_state=0).set_params(
            **{name: value}
        )
        assert not np.array_equal(estimator.fit(x, y).model_.flat, without), name


def test_every_option_of_the_list_is_one_of_the_constructor() -> None:
    known = grus.GRU(2, 4).config()
    for options in OPTIONS.values():
        assert options.keys() <= known.keys()
