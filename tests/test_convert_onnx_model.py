"""Whole models and fitted estimators as ONNX: run by ONNX Runtime and the reference evaluator, beside grus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import nn
from grus.activations import NAMES
from grus.conversion import ConversionError, Report
from grus.datasets import load_japanese_vowels, make_dummy_strings
from helpers import VARIED

_REASON = "could not import '{0}', which these tests compare with"
onnx = pytest.importorskip("onnx", reason=_REASON.format("onnx"))
pytest.importorskip("onnxruntime", reason=_REASON.format("onnxruntime"))

from grus.conversion import onnx_layers, onnx_model_check  # noqa: E402
from grus.conversion.onnx_run import in_evaluator, in_onnxruntime  # noqa: E402
from grus.onnx import to_onnx  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
RUNTIMES = {"onnxruntime": in_onnxruntime, "evaluator": in_evaluator}
POOLS = ("last", "mean", "max")
NAMED = np.array(["ichi", "ni", "san", "shi", "go", "roku", "nana", "hachi", "kyuu"])


def padded(rows: list[Array], filling: Any = np.nan) -> dict[str, Array]:
    """Rows (T_i, ...) with something that must not matter past their ends, and how long they are."""
    lengths = np.array([len(row) for row in rows], np.int32)
    x = np.full((len(rows), lengths.max(), *rows[0].shape[1:]), filling, rows[0].dtype)
    for into, row in zip(x, rows, strict=True):
        into[: len(row)] = row
    return {"x": x, "lengths": lengths}


def ragged(width: int | None, dtype: str = "float32", seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((t, width) if width else t).astype(dtype) for t in (5, 1, 9, 3, 4)]


def run(exported: Any, inputs: dict[str, Array], runtime: str = "onnxruntime", x: str = "x") -> dict[str, Array]:
    return RUNTIMES[runtime](exported)({x if name == "x" else name: array for name, array in inputs.items()})


def zeros(exported: Any, rows: int) -> dict[str, Array]:
    """The states before the first step, as the graph's inputs describe them."""
    states = {}
    for each in exported.graph.input[1:]:
        kind = onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
        states[each.name] = np.zeros([d.dim_value or rows for d in each.type.tensor_type.shape.dim], kind)
    return states


def frame_by_frame(
    exported: Any, x: Array, runtime: str = "onnxruntime", states: dict[str, Array] | None = None
) -> list[dict[str, Array]]:
    """All outputs of each step in turn; states are carried on."""
    step, name = RUNTIMES[runtime](exported), exported.graph.input[0].name
    states, given = states or zeros(exported, len(x)), []
    for t in range(x.shape[1]):
        given.append(step({name: x[:, t], **states}))
        states = {key: given[-1][key.replace("0", "_n", 1)] for key in states}
    return given


def assert_same(found: Array, expected: Array, dtype: str = "float32") -> None:
    assert found.shape == expected.shape
    bound = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert np.abs(found - expected).max() <= bound * max(1, np.abs(expected).max())


# ------------------------------------------------------------------------------------------------- a classifier


def vowels_classifier(labels: Any = NAMED, **settings: Any) -> Any:
    train = load_japanese_vowels().train
    settings = {"hidden_size": 16, "epochs": 4, "random_state": 0} | settings
    return grus.GRUClassifier(**settings).fit(train.x, labels[np.unique(train.y, return_inverse=True)[1]])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden_size": 64, "epochs": 12},
        {"pool": "mean", "num_layers": 2},
        {"pool": "last", "num_layers": 2, "formulation": "before"},
        {"pool": "last", "bidirectional": False, "standardise": False, "learn_h0": True, "blocks": 2},
        {
            "pool": "mean",
            "bidirectional": False,
            "activation": "relu",
            "clip": 3.0,
            "labels": np.arange(9) * 5 - 7,
        },
    ],
    ids=["max", "defaults", "mean", "last", "one-way", "relu"],
)
def test_japanese_vowels(settings: dict[str, Any]) -> None:
    """The same 370 predictions, and probabilities within 1e-5, of sequences of 7 to 29 steps."""
    classifier, test = vowels_classifier(**settings), load_japanese_vowels().test
    rows = [row.astype(np.float32) for row in test.x]
    report = Report()
    exported = to_onnx(classifier, report=report)
    found = run(exported, padded(rows), x="X")
    assert [each.name for each in exported.graph.output] == ["label", "probabilities"]
    assert found["label"].tolist() == classifier.predict(rows).tolist()
    assert len(found["label"]) == 370
    assert np.abs(found["probabilities"] - classifier.predict_proba(rows)).max() <= 1e-5
    assert classifier.score(test.x, settings.get("labels", NAMED)[np.unique(test.y, return_inverse=True)[1]]) > 0.5
    assert report.difference is not None
    assert report.difference <= 1e-5


@pytest.mark.parametrize("pool", POOLS)
def test_japanese_vowels_frame_by_frame(pool: str) -> None:
    """After each frame the prediction for the frames so far, and after the last one the last state."""
    classifier = vowels_classifier(pool=pool, bidirectional=False, num_layers=2)
    exported = to_onnx(classifier, streaming=True)
    for row in load_japanese_vowels().test.x[::37]:
        x = row.astype(np.float32)[None]
        given = frame_by_frame(exported, x)
        gru, scaled = classifier.model_.layers[0].core, classifier._scaled(x)
        assert_same(given[-1]["h_n"], gru(scaled).h_n)
        for t, each in enumerate(given):
            assert_same(each["probabilities"], classifier.predict_proba(x[:, : t + 1]))
            assert each["label"].tolist() == classifier.predict(x[:, : t + 1]).tolist()


@pytest.mark.parametrize(
    "classes",
    [
        np.array(["no", "yes"]), np.array(["no", "yes"], object), np.array([-3, 7]), np.array([False, True]),
        np.array([0, 1], np.uint8), np.array([2.0, 3.0]),
    ],
    ids=["text", "objects", "int64", "bool", "uint8", "float64"],
)  # fmt: skip
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_labels_are_the_classes(classes: Array, runtime: str) -> None:
    rows = ragged(2)
    classifier = grus.GRUClassifier(4, epochs=1, random_state=0).fit(rows, classes[[0, 1, 1, 0, 1]])
    label = run(to_onnx(classifier), padded(rows), runtime, x="X")["label"]
    assert label.tolist() == classifier.predict(rows).tolist()
    assert all(type(each) is type(classes.tolist()[0]) for each in label.tolist())


def test_classes_that_are_no_text_and_no_numbers_are_refused() -> None:
    rows = ragged(2)
    classifier = grus.GRUClassifier(4, epochs=1, random_state=0).fit(rows, [0, 1, 1, 0, 1])
    classifier.classes_ = np.array([b"no", b"yes"])
    with pytest.raises(
        ConversionError, match=r"the classes must be text, .* or booleans to go to ONNX; got \[b'no'"
    ):
        to_onnx(classifier)


# -------------------------------------------------------------------------------------------------- regressors


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_regressor(outputs: int | None, pool: str, bidirectional: bool, runtime: str) -> None:
    """In the targets' own units; for one target (batch,), as predict has it."""
    rows, y = ragged(2), 100 + 30 * np.random.default_rng(1).standard_normal((5, outputs) if outputs else 5)
    settings = {"pool": pool, "bidirectional": bidirectional, "num_layers": 2, "epochs": 2, "random_state": 0}
    regressor = grus.GRURegressor(6, **settings).fit(rows, y)
    found = run(to_onnx(regressor), padded(rows), runtime, x="X")["prediction"]
    assert found.dtype == np.float32
    assert_same(found, regressor.predict(rows))


def test_regressor_frame_by_frame() -> None:
    x = np.random.default_rng(0).standard_normal((4, 6, 2)).astype(np.float32)
    regressor = grus.GRURegressor(6, epochs=2, random_state=0).fit(x, np.arange(4.0))
    for runtime in RUNTIMES:
        for t, each in enumerate(frame_by_frame(to_onnx(regressor, streaming=True), x, runtime)):
            assert_same(each["prediction"], regressor.predict(x[:, : t + 1]))


def test_table() -> None:
    """Fitted on columns that are steps: X is (batch, time), and one step (batch,)."""
    table = np.random.default_rng(0).standard_normal((8, 7)).astype(np.float32)
    regressor = grus.GRURegressor(5, epochs=2, random_state=0).fit(table, table.sum(axis=1))
    exported = to_onnx(regressor)
    found = run(exported, {"x": table, "lengths": np.full(8, 7, np.int32)}, x="X")["prediction"]
    assert_same(found, regressor.predict(table))
    streamed = frame_by_frame(to_onnx(regressor, streaming=True), table)
    assert_same(streamed[-1]["prediction"], regressor.predict(table))


def test_columns_of_a_data_frame_are_in_the_file() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(np.random.default_rng(0).standard_normal((8, 3)), columns=["a", "b", "c"])
    regressor = grus.GRURegressor(5, epochs=1, random_state=0).fit(table, np.arange(8.0))
    told = {each.key: each.value for each in to_onnx(regressor).metadata_props}
    assert told == {"feature_names_in": '["a", "b", "c"]'}


def test_far_from_zero_float64_has_the_digits() -> None:
    """Seconds since 1970: float32 can't tell them apart, and the report says so."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(1.7e9, 1.7e9 + 60, (10, 8, 1)), axis=1)
    regressor = grus.GRURegressor(5, epochs=2, random_state=0).fit(x, 1e8 + rng.standard_normal(10))
    report = Report()
    exported = to_onnx(regressor, input_dtype="float64", lengths=False, report=report)
    found = run(exported, {"x": x}, x="X")["prediction"]
    assert found.dtype == np.float64
    assert np.abs(found - regressor.predict(x)).max() <= 1e-5
    assert report.notes == []
    to_onnx(regressor, report=report)
    told = [note.split(" is float32")[0] for note in report.notes]
    assert told == ["the input", "the prediction"]


def test_without_standardising_nothing_stands_before_the_layers() -> None:
    rows = ragged(2)
    regressor = grus.GRURegressor(5, epochs=1, standardise=False, random_state=0).fit(rows, np.arange(5.0))
    exported = to_onnx(regressor)
    assert [node.op_type for node in exported.graph.node if "X" in node.input] == ["Transpose"]
    assert_same(run(exported, padded(rows), x="X")["prediction"], regressor.predict(rows))


# -------------------------------------------------------------------------------------------------- Sequential


def built(layers: list[nn.Layer], x: Any, dtype: str = "float32") -> nn.Sequential:
    """Every parameter random, biases too."""
    model = nn.Sequential(layers, dtype=dtype, seed=0).build(x)
    model.flat[...] += np.random.default_rng(1).uniform(-0.3, 0.3, model.flat.size)
    return model


MODELS = {
    "last": [nn.GRU(6, num_layers=2, bidirectional=True), nn.Dense(3)],
    "before": [nn.GRU(6, formulation="before", bias=False, reverse=True), nn.Dense(3, "softplus")],
    "two": [nn.GRU(6, sequences=True), nn.Dense(5, "tanh"), nn.GRU(4, bidirectional=True), nn.Dense(3)],
    "sequences": [nn.GRU(6, bidirectional=True, sequences=True), nn.Dropout(0.4, axis=1), nn.Dense(3, "softmax")],
    "options": [
        nn.GRU(6, learn_h0=True, blocks=3, clip=2.0, activation="softsign", gate_activation="hard_sigmoid_keras2"),
        nn.Dense(3, bias=False),
    ],
    **{pool: [nn.GRU(6, sequences=True), nn.Pool(pool), nn.Dense(3)] for pool in POOLS},
    "pool alone": [nn.Pool("max")],
}


def fresh(name: str) -> list[nn.Layer]:
    """The layers of one of them, of no model yet."""
    return nn.Sequential.from_config(nn.Sequential(MODELS[name]).config()).layers


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", MODELS)
def test_sequential(name: str, runtime: str) -> None:
    rows = ragged(4)
    model = built(fresh(name), rows)
    assert_same(run(to_onnx(model), padded(rows), runtime)["output"], model.predict(rows))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"options"}))
def test_sequential_in_float64(name: str) -> None:
    """All that was rounded is off by 1e-12 at most; ONNX Runtime has no such GRU."""
    rows, report = ragged(4, "float64"), Report()
    model = built(fresh(name), rows, "float64")
    exported = to_onnx(model, report=report)
    assert_same(run(exported, padded(rows), "evaluator")["output"], model.predict(rows), "float64")
    assert report.difference is not None
    assert report.difference <= 1e-12
    alone = "ONNX Runtime has no GRU of float64: checked in ONNX's reference evaluator alone" in report.notes
    assert alone == (name != "pool alone")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("opset", [17, 18, 22])
def test_opsets_and_rows_of_one_length(name: str, opset: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)
    model = built(fresh(name), x)
    exported = to_onnx(model, opset=opset, lengths=False)
    assert [each.name for each in exported.graph.input] == ["x"]
    assert "Where" not in [node.op_type for node in exported.graph.node]
    assert exported.opset_import[0].version == opset
    assert_same(run(exported, {"x": x})["output"], model.predict(x))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("pool alone", "last", "before")])
def test_rows_without_steps(name: str, runtime: str) -> None:
    """A pool gives zeros for them, a GRU its first state."""
    x, lengths = (
        np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32),
        np.array([3, 0, 6], np.int32),
    )
    model = built(fresh(name), x)
    found = run(to_onnx(model), {"x": x, "lengths": lengths}, runtime)["output"]
    assert_same(found, model(x, lengths))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["options", *POOLS, "one way", "at each step"])
def test_sequential_frame_by_frame(name: str, runtime: str) -> None:
    more = {
        "one way": [nn.GRU(6, True, num_layers=2), nn.Dense(5, "tanh"), nn.GRU(4), nn.Dense(3)],
        "at each step": [nn.GRU(6, True, num_layers=2), nn.Dense(3, "softmax")],
    }
    x = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)
    model = built(more[name] if name in more else fresh(name), x)
    report = Report()
    exported = to_onnx(model, streaming=True, report=report)
    states = zeros(exported, len(x))
    if name == "options":
        states["h0"] += model.layers[0].core.parameters["h0_l0"]
        assert "h0 of a new sequence is what gru_1 learned as h0, not zeros" in report.notes
    given = frame_by_frame(exported, x, runtime, states)
    for t, each in enumerate(given):
        expected = model(x[:, : t + 1])
        assert_same(each["output"], expected[:, -1] if expected.ndim == 3 else expected)
    core = model.layers[0].core
    names = {"one way": {"h0_gru_1", "h0_gru_2"}, "mean": {"h0", "pool0"}, "max": {"h0", "pool0"}}
    assert set(states) == names.get(name, {"h0"})
    assert_same(given[-1]["h_n_gru_1" if name == "one way" else "h_n"], core(x).h_n)


WORDS = {"a": 3, "the": 1, "crane": 4, "flies": 2}
VOCABULARIES = {
    "letters": list("ATGC"), "words": list(WORDS), "codes": [3, 4, 5, 6], "negative": [-2, -1, 0],
    "gaps": [10, -7, 1000000007], "one": [5],
}  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.parametrize("kind", ["OneHot", "Embedding"])
def test_symbols(name: str, kind: str, runtime: str) -> None:
    known, rng = np.array(VOCABULARIES[name]), np.random.default_rng(0)
    rows = [rng.choice(known, t) for t in (5, 1, 9, 3)]
    first = nn.OneHot(known) if kind == "OneHot" else nn.Embedding(3, known)
    model = built([first, nn.GRU(5), nn.Dense(2, "softmax")], rows)
    inputs = padded(rows, "?" if known.dtype.kind == "U" else -99)
    exported = to_onnx(model)
    assert_same(run(exported, inputs, runtime)["output"], model.predict(rows))
    stream = to_onnx(model, streaming=True)
    x = rng.choice(known, (3, 4))
    assert_same(frame_by_frame(stream, x, runtime)[-1]["output"], model(x))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("name", "unknown"), [("letters", "U"), ("codes", 7), ("codes", 2), ("gaps", 11)])
def test_a_symbol_that_is_not_known_stops_the_runtime(name: str, unknown: Any, runtime: str) -> None:
    known = np.array(VOCABULARIES[name])
    model = built([nn.Embedding(3, known), nn.GRU(5)], known[None])
    step = RUNTIMES[runtime](to_onnx(model, lengths=False))
    x = np.array([[known[0], unknown]])
    with pytest.raises(ValueError, match="which is not in the vocabulary"):
        model(x)
    with pytest.raises(Exception, match=r"(?i)out of (data )?bounds"):
        step({"x": x})


def test_flatten_fixes_the_number_of_steps_that_the_weights_are_for() -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)
    model = built([nn.GRU(5, sequences=True), nn.Flatten(), nn.Dense(2)], x)
    exported = to_onnx(model)
    (given,) = exported.graph.input
    assert [d.dim_value or d.dim_param for d in given.type.tensor_type.shape.dim] == ["batch", 6, 4]
    for runtime in RUNTIMES:
        assert_same(run(exported, {"x": x}, runtime)["output"], model(x))
    alone = built([nn.Flatten()], x)
    assert_same(run(to_onnx(alone), {"x": x[:, :5]})["output"], alone(x[:, :5]))


def test_a_model_without_time() -> None:
    x = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    model = built([nn.Dense(5, "relu"), nn.Dense(2)], x)
    exported = to_onnx(model)
    assert [each.name for each in exported.graph.input] == ["x"]
    assert_same(run(exported, {"x": x})["output"], model.predict(x))


DENSE = [*map(grus.Activation, NAMES), *VARIED, grus.Activation("softmax", temperature=2.5)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [*DENSE, *(each.clipped(0.5) for each in DENSE)], ids=repr)
def test_every_activation_of_dense(activation: grus.Activation, dtype: str) -> None:
    """Their parameters are of the graph's dtype, so that nothing is rounded in float64."""
    x = np.linspace(-3, 3, 60).reshape(20, 3).astype(dtype)
    model = built([nn.Dense(4, activation)], x, dtype)
    for runtime in RUNTIMES:
        assert_same(run(to_onnx(model), {"x": x}, runtime)["output"], model(x), dtype)


def test_softplus_of_large_numbers() -> None:
    x = np.array([[-300.0], [-90.0], [0.0], [90.0], [300.0]], np.float32)
    model = built([nn.Dense(1, "softplus")], x)
    model.flat[...] = 1.0, 0.0
    for runtime in RUNTIMES:
        assert_same(run(to_onnx(model), {"x": x}, runtime)["output"], model(x))


# -------------------------------------------------------------------------------------------- the seeds' tasks


def test_seed_001_strings() -> None:
    """OneHot, a GRU that resets before, softmax; letters go in as they are."""
    letters, labels = make_dummy_strings(seed=1)
    model = nn.Sequential([nn.OneHot("ATGC"), nn.GRU(16, reset_after=False), nn.Dense(2, "softmax")], seed=1)
    model.fit(letters[:320], labels[:320], loss="categorical_crossentropy", epochs=20, seed=1)
    inputs = {"x": letters[320:], "lengths": np.full(160, 12, np.int32)}
    for runtime in RUNTIMES:
        found = run(to_onnx(model), inputs, runtime)["output"]
        assert_same(found, model.predict(letters[320:]))
        assert found.argmax(axis=1).tolist() == model.predict(letters[320:]).argmax(axis=1).tolist()


def test_seed_002_eight_targets() -> None:
    """8 targets at each step of h[0], inputs of 50 numbers, 100 units, float64."""
    rng = np.random.default_rng(0)
    x, y = rng.random((1, 8, 50)), np.array([-0.5, 1.0, 0.3, 0.6, 0.2, -0.1, 0.3, 0.8]).reshape(1, 8, 1)
    layers = [nn.GRU(100, sequences=True, reset_after=False), nn.Dense(1)]
    model = nn.Sequential(layers, dtype="float64", seed=0)
    model.fit(x, y, loss="mse", optimiser=nn.Adam(0.01), epochs=30, seed=0)
    exported = to_onnx(model)
    inputs = {"x": x, "lengths": np.array([8], np.int32)}
    assert_same(run(exported, inputs, "evaluator")["output"], model(x), "float64")


def test_seed_003_step_by_step() -> None:
    """One step at a time, the hidden state in the caller's hands, a head on each."""
    x = np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
    model = built([nn.GRU(5, sequences=True), nn.Dense(3)], x)
    outputs = [each["output"] for each in frame_by_frame(to_onnx(model, streaming=True), x)]
    assert_same(np.stack(outputs, axis=1), model(x))


def test_seed_004_initial_state() -> None:
    """A GRU with one bias a gate that resets before, from a state that is given."""
    rng = np.random.default_rng(0)
    x, h0 = rng.standard_normal((3, 6, 4)), rng.uniform(-1, 1, (1, 3, 5))
    model = built([nn.GRU(5, reset_after=False), nn.Dense(2)], x, "float64")
    core = model.layers[0].core
    core.parameters["bias_hh_l0"] = np.zeros(15)
    given = frame_by_frame(to_onnx(model, streaming=True), x, "evaluator", {"h0": h0})
    assert_same(given[-1]["h_n"], core(x, h0).h_n, "float64")


# --------------------------------------------------------------------------------------------- dtypes and notes


def test_float64_becomes_float32_only_on_request() -> None:
    rows = ragged(4, "float64")
    model = built(fresh("last"), rows, "float64")
    with pytest.raises(
        ConversionError, match=r"this model is float64 and the graph float32: pass allow_cast=True"
    ):
        to_onnx(model, dtype="float32")
    exported = to_onnx(model, dtype="float32", allow_cast=True)
    narrow = {"x": padded(rows)["x"].astype(np.float32), "lengths": padded(rows)["lengths"]}
    assert_same(run(exported, narrow)["output"], model.predict(rows))


def test_float32_in_float64() -> None:
    rows = ragged(4)
    model = built(fresh("two"), rows)
    report = Report()
    exported = to_onnx(model, dtype="float64", input_dtype="float32", report=report)
    assert report.difference is not None
    assert report.difference <= 1e-12
    assert_same(run(exported, padded(rows), "evaluator")["output"], model.predict(rows))


def test_parameters_of_a_gru_s_activations_are_float32_in_a_file() -> None:
    x = np.random.default_rng(0).standard_normal((3, 6, 4))
    model = built([nn.GRU(5, activation=grus.Activation("elu", alpha=0.7)), nn.Dense(2)], x, "float64")
    with pytest.raises(ConversionError, match=r"layer 1 \(gru_1\): ONNX holds alpha as float32"):
        to_onnx(model)
    report = Report()
    to_onnx(model, allow_cast=True, report=report)
    assert report.difference is not None
    assert 1e-12 < report.difference <= 1e-6


def test_dropout_is_noted() -> None:
    report = Report()
    to_onnx(built(fresh("sequences"), ragged(4)), report=report)
    assert report.notes == ["dropout_1, rate 0.4: acts only in training and does not go to ONNX"]


def test_large_weights_make_rounding_grow() -> None:
    """Then float32 itself is further than 1e-5 from the truth, and both runtimes are still right."""
    x = np.random.default_rng(0).standard_normal((3, 6, 40)).astype(np.float32)
    model = nn.Sequential([nn.GRU(200, num_layers=3), nn.Dense(3)], seed=0).build(x)
    model.flat[...] *= 6
    report = Report()
    to_onnx(model, report=report)
    assert report.difference is not None
    assert 1e-5 < report.difference < 1e-3


# ------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.GRU(4, layer_norm=True)], r"layer 1 \(gru_1\): ONNX has no layer_norm, which this GRU has"),
        ([nn.GRU(4, zoneout=0.1)], r"layer 1 \(gru_1\): ONNX has no zoneout=0.1"),
        ([nn.GRU(4, formulation="candidate")], r"layer 1 \(gru_1\): ONNX is the formulation 'after' or 'before'"),
        ([nn.GRU(4, gate_activation=("tanh", "sigmoid"))], "ONNX has one activation for the reset and the update"),
        ([nn.GRUD(4)], r"layer 1 \(grud_1\): GRUD can't be written as ONNX: its values and its state fade with"),
    ],
    ids=["layer_norm", "zoneout", "candidate", "gates", "GRUD"],
)
def test_what_onnx_does_not_have(layers: list[nn.Layer], message: str, tmp_path: Path) -> None:
    model = built([*layers, nn.Dense(2)], np.random.default_rng(0).standard_normal((3, 6, 4)))
    with pytest.raises(ConversionError, match=message):
        to_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_of_one_s_own_is_refused_by_name() -> None:
    class Doubled(nn.Dense):
        """It may compute something else than Dense."""

    model = built([nn.GRU(4), Doubled(2)], np.ones((2, 3, 4)))
    with pytest.raises(
        ConversionError, match=r"layer 2 \(doubled_1\): Doubled can't be written as ONNX: only OneHot,"
    ):
        to_onnx(model)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [nn.GRU(4, bidirectional=True)],
            r"layer 1 \(gru_1\): a graph of one step can't have it: its reverse dir",
        ),
        ([nn.GRU(4, reverse=True)], r"a graph of one step can't have it: it begins at each sequence's end"),
        ([nn.GRU(4, sequences=True), nn.Flatten()], r"layer 2 \(flatten_1\): a graph of one step can't have it"),
        ([nn.Pool("last")], "streaming=True needs a GRU in the model, whose state goes from step to step"),
    ],
    ids=["bidirectional", "reverse", "Flatten", "no GRU"],
)
def test_what_has_no_graph_of_one_step(layers: list[nn.Layer], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        to_onnx(built(layers, np.ones((2, 3, 4))), streaming=True)


def test_arguments() -> None:
    x = np.ones((2, 3, 4), np.float32)
    model = built([nn.GRU(4)], x)
    symbols = built([nn.OneHot([1, 2]), nn.GRU(4)], np.array([[1, 2]]))
    for wrong, settings, kind, message in [
        (nn.Sequential([nn.GRU(4)]), {}, ValueError, r"this Sequential has no parameters yet: call fit or build"),
        (grus.GRUClassifier(), {}, ValueError, r"not fitted yet"),
        (model, {"opset": 13}, ValueError, r"opset must be at least 14; got 13"),
        (model, {"opset": 999}, ValueError, r"opset must be 14 ... \d+, which the installed onnx knows; got 999"),
        (model, {"dtype": "float16"}, ValueError, r"dtype must be .*float32"),
        (model, {"input_dtype": "int8"}, ValueError, r"input_dtype must be .*float32"),
        (
            symbols,
            {"input_dtype": "float32"},
            ValueError,
            r"input_dtype must be None because OneHot reads symbols",
        ),
        (model, {"streaming": 1}, TypeError, r"streaming must be"),
        (model, {"lengths": 1}, TypeError, r"lengths must be"),
        (model, {"h0": True}, ValueError, r"h0 and h_n must be False of a whole model"),
        (grus.GRU(3, 4), {"input_dtype": "float32"}, ValueError, r"input_dtype must be None of a GRU"),
        ([1], {}, TypeError, r"model must be a grus.GRU, nn.Sequential, GRUClassifier or .*; got list"),
        (model, {"path": "/nowhere/model.onnx"}, FileNotFoundError, r"the folder '/nowhere' does not exist"),
        (
            built([nn.Flatten()], np.ones((2, 3, 4, 5))),
            {},
            ConversionError,
            r"must be \(batch, time, I\) or .*4 axes",
        ),
        (built([nn.GRU(4)], x, "complex128"), {}, ConversionError, r"complex128 model .* can't go to ONNX"),
    ]:
        with pytest.raises(kind, match=message):
            to_onnx(wrong, **settings)


def test_weights_that_are_no_numbers() -> None:
    model = built([nn.GRU(4), nn.Dense(2)], np.ones((2, 3, 4)))
    model.parameters["dense_1.bias"][0] = np.nan
    with pytest.raises(ConversionError, match=r"dense_1.bias holds NaN or infinity: a conversion of it can't be"):
        to_onnx(model)


# ----------------------------------------------------------------------------------------- the file, the check


def test_the_file_is_the_model(tmp_path: Path) -> None:
    path, rows = tmp_path / "model.onnx", ragged(4)
    model = built(fresh("two"), rows)
    exported = to_onnx(model, path)
    assert path.read_bytes() == exported.SerializeToString()
    assert_same(run(onnx.load(path), padded(rows))["output"], model.predict(rows))
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def wrong_dense(body: Any, layer: Any, x: str) -> str:
    return str(body.graph.add("Neg", onnx_layers._dense(body, layer, x)))


@pytest.mark.parametrize("streaming", [False, True])
def test_the_self_check_finds_another_function(
    streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what stood at the path before is left as it is."""
    path, model = tmp_path / "model.onnx", built([nn.GRU(4), nn.Dense(2)], ragged(4))
    path.write_text("before")
    monkeypatch.setitem(onnx_layers._WRITERS, nn.Dense, wrong_dense)
    with pytest.raises(ConversionError, match=r"evaluator and grus differ by \S+ on random input, where 1e-05 is"):
        to_onnx(model, path, streaming=streaming)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_the_self_check_finds_padding_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_layers.Body, "within", lambda self, tensor, instead=0.0: tensor)
    with pytest.raises(ConversionError, match="the exported model is not the same function"):
        to_onnx(built([nn.GRU(4, sequences=True), nn.Dense(3), nn.Pool("mean")], ragged(4)))


def test_the_self_check_finds_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is neither above a bound nor below it."""

    def spoilt(body: Any, layer: Any, x: str) -> str:
        return str(body.graph.add("Mul", x, body.graph.constant(np.nan)))

    monkeypatch.setitem(onnx_layers._WRITERS, nn.Dropout, spoilt)
    with pytest.raises(ConversionError, match="differ by nan on random input"):
        to_onnx(built([nn.GRU(4), nn.Dropout(0.1)], ragged(4)))


def test_the_self_check_finds_labels_and_shapes_that_do_not_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ragged(2)
    classifier = grus.GRUClassifier(4, epochs=1, random_state=0).fit(rows, [0, 1, 1, 0, 1])
    with monkeypatch.context() as patched:
        patched.setattr("grus.conversion.onnx_ends._as_labels", lambda classes: classes[::-1])
        with pytest.raises(ConversionError, match="gives other labels than belong to its probabilities"):
            to_onnx(classifier)
    with pytest.raises(ConversionError, match=r"A gives y of shape \(2,\) where grus has \(3,\)"):
        onnx_model_check.difference("A", "y", np.ones(3), np.ones(2))
