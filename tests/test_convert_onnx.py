"""``grus.onnx`` against ONNX Runtime, ONNX's reference evaluator, its own tests of the operator, and its standard.

200 random GRU nodes in the normal run, 2 000 with ``GRUS_STRESS=1``.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import CONVENTIONS, ConversionError, Report
from native_cases import STRESS
from onnx_runs import (
    GRUBackend,
    difference,
    evaluator,
    info,
    one_gru,
    onnx,
    onnx_inputs,
    random_node,
    run_converted,
    standard,
)

onnxruntime = pytest.importorskip(
    "onnxruntime", reason="could not import 'onnxruntime', which these tests compare with"
)
common = pytest.importorskip("onnx.reference.ops.op_gru", reason="could not import 'onnx'")
from grus.conversion import onnx_nodes, onnx_read, onnx_run, onnx_write  # noqa: E402
from grus.onnx import from_onnx, to_onnx  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
SIDES = {"forward": {}, "reverse": {"reverse": True}, "bidirectional": {"bidirectional": True}}


def random_gru(layers: int = 1, side: str = "forward", **options: Any) -> grus.GRU:
    gru = grus.GRU(3, 5, layers, seed=0, **{**SIDES[side], **options})
    gru.flat[...] = np.random.default_rng(1).uniform(-0.6, 0.6, gru.flat.size)
    return gru


def run_model(model: Any, **inputs: Array) -> list[Array]:
    """In ONNX Runtime; in the evaluator what is float64."""
    if inputs["x"].dtype == "float64":
        return list(evaluator.ReferenceEvaluator(model).run(None, inputs))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def node_of(model: Any) -> Any:
    return next(node for node in model.graph.node if node.op_type == "GRU")


def attribute(node: Any, name: str) -> Any:
    return next(onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name)


# --------------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formulation", ["after", "before"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [True, False])
def test_there_and_back(
    batch_first: bool, layers: int, side: str, bias: bool, formulation: str, dtype: str
) -> None:
    gru = random_gru(layers, side, bias=bias, formulation=formulation, dtype=dtype, batch_first=batch_first)
    there, back = Report(), Report()
    model = to_onnx(gru, h0=True, h_n=True, report=there)
    x, h0 = onnx_inputs(gru)
    assert difference(run_model(model, x=x, h0=h0), gru(x, h0)) <= TOLERANCE[dtype]
    twin = from_onnx(model, report=back)
    np.testing.assert_array_equal(twin.flat, gru.flat)
    assert twin.config() == {**gru.config(), "batch_first": True}
    assert there.difference <= TOLERANCE[dtype]
    assert back.difference <= TOLERANCE["float64"]
    assert back.found["formulation"] == f"reset {formulation} the recurrent product"
    assert back.found["direction"] == side


@pytest.mark.parametrize("opset", [14, 17, 21, onnx.defs.onnx_opset_version()])
def test_what_is_written(opset: int) -> None:
    """openvinotoolkit/openvino#37820: layout=1 is misread. It is never written, and defaults are spelt out."""
    runtime_knows = opset <= 21
    gru = random_gru(2, "bidirectional", activation="elu")
    model = to_onnx(gru, opset=opset, h0=True, h_n=True) if runtime_knows else onnx_write.build(
        gru, onnx_write.Ports(h0=True, h_n=True), opset, "float32"
    )  # fmt: skip
    nodes = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(nodes) == 2
    for node in nodes:
        names = {each.name for each in node.attribute}
        assert names == {
            "hidden_size", "direction", "layout", "linear_before_reset", "activations", "activation_alpha",
        }  # fmt: skip
        assert attribute(node, "layout") == 0
        assert attribute(node, "direction") == b"bidirectional"
        assert attribute(node, "activations") == [b"Sigmoid", b"Elu"] * 2
        assert attribute(node, "activation_alpha") == [1.0, 1.0]
    axes = {
        each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert axes == {
        "x": ["batch", "time", 3], "h0": [4, "batch", 5], "output": ["batch", "time", 10], "h_n": [4, "batch", 5],
    }  # fmt: skip
    assert model.producer_name == "grus"
    assert "linear_before_reset=1" in model.doc_string
    assert [each.version for each in model.opset_import] == [opset]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("layers", [1, 2])
def test_lengths(layers: int, side: str, batch_first: bool) -> None:
    """onnx/onnx-tensorflow#342: the reverse direction began in the padding. And an empty row keeps its h0."""
    gru = random_gru(layers, side, batch_first=batch_first)
    model = to_onnx(gru, lengths=True, h0=True, h_n=True)
    x, h0 = onnx_inputs(gru)
    for lengths in (np.array([2, 6, 0, 1], "int32"), np.array([6, 6, 6, 6], "int32")):
        expected = gru(x, h0, lengths=lengths)
        assert difference(run_model(model, x=x, h0=h0, lengths=lengths), expected) <= 1e-6
        padded = np.concatenate(
            [x, np.full_like(x, 7)], axis=1 if batch_first else 0
        )  # more of it changes nothing
        output, h_n = run_model(model, x=padded, h0=h0, lengths=lengths)
        own = output[:, :6] if batch_first else output[:6]
        assert difference((own, h_n), expected) <= 1e-6


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_streaming(layers: int, dtype: str) -> None:
    gru = random_gru(layers, dtype=dtype)
    model, (x, h) = to_onnx(gru, streaming=True), onnx_inputs(gru)
    expected, outputs = gru(x, h), []
    for t in range(x.shape[1]):
        output, h = run_model(model, x=x[:, t], h0=h)
        outputs.append(output)
    assert difference((np.stack(outputs, axis=1), h), expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("formulation", ["after", "before"])
def test_blocks_become_full_matrices(formulation: str) -> None:
    gru = grus.GRU(3, 6, 2, blocks=3, formulation=formulation, bidirectional=True, dtype="float64", seed=0)
    report = Report()
    model, (x, _) = to_onnx(gru, report=report), onnx_inputs(gru)
    assert difference(run_model(model, x=x), gru(x)[:1]) <= 1e-12
    full = from_onnx(model)
    assert full.formulation.blocks == 1
    assert difference(full(x), gru(x)) <= 1e-12
    assert report.notes == ["ONNX has no blocks: the 3 of each recurrent matrix stand in a full one, among zeros"]


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_learned_first_states(side: str, lengths: bool) -> None:
    gru = random_gru(2, side, learn_h0=True)
    model, (x, _) = to_onnx(gru, lengths=lengths, h_n=True), onnx_inputs(gru)
    given = {"lengths": np.array([2, 6, 0, 1], "int32")} if lengths else {}
    assert difference(run_model(model, x=x, **given), gru(x, **given)) <= 1e-6
    twin = from_onnx(model)
    assert twin.learn_h0
    np.testing.assert_array_equal(twin.flat, gru.flat)
    report = Report()
    to_onnx(gru, h0=True, report=report)
    assert report.notes == ["the learned first states are left out, because h0 is an input: hand them in"]


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "identity"},
        {"activation": "softplus", "gate_activation": "hard_sigmoid"},
        {
            "activation": {"name": "scaled_tanh", "alpha": 0.7, "beta": 1.3},
            "gate_activation": "hard_sigmoid_keras2",
        },
        {"activation": {"name": "affine", "alpha": 0.4, "beta": 0.3}, "clip": 0.7},
        {"activation": {"name": "thresholded_relu", "alpha": 0.2}},
        {
            "activation": {"name": "elu", "alpha": 0.6},
            "gate_activation": {"name": "elu", "alpha": 0.6},
            "clip": 0.5,
        },
        {"activation": {"name": "leaky_relu", "alpha": 0.3}, "gate_activation": "softsign", "clip": 0.3},
    ],
)
@pytest.mark.parametrize("side", SIDES)
def test_activations_and_clip(side: str, options: dict[str, Any]) -> None:
    gru = random_gru(2, side, **options)
    model, (x, h0) = to_onnx(gru, h0=True, h_n=True), onnx_inputs(gru)
    assert difference(run_model(model, x=x, h0=h0), gru(x, h0)) <= 1e-6
    twin = from_onnx(model)
    if options["activation"] != "identity":  # it is affine there
        assert twin.config() == gru.config()
    assert difference(twin(x, h0), gru(x, h0)) <= 1e-6


def test_numbers_that_onnx_rounds_need_allow_cast() -> None:
    gru = random_gru(dtype="float64", gate_activation="hard_sigmoid")
    with pytest.raises(
        ConversionError, match=r"ONNX holds alpha as float32 and this float64 GRU's is 0.1666.*allow_cast"
    ):
        to_onnx(gru)
    twin = from_onnx(to_onnx(gru, allow_cast=True))
    assert twin.formulation.update_activation.parameters["alpha"] == float(np.float32(1 / 6))
    exact = random_gru(
        dtype="float64", gate_activation={"name": "hard_sigmoid", "alpha": 0.25, "beta": 0.5}, clip=2.5
    )
    assert from_onnx(to_onnx(exact)).config() == exact.config()


def test_a_float64_gru_in_float32_needs_allow_cast(tmp_path: Path) -> None:
    gru = random_gru(dtype="float64")
    with pytest.raises(ConversionError, match=r"would hold float32|the file float32"):
        to_onnx(gru, tmp_path / "gru.onnx", dtype="float32")
    assert not list(tmp_path.iterdir())
    to_onnx(gru, tmp_path / "gru.onnx", dtype="float32", allow_cast=True)
    assert [path.name for path in tmp_path.iterdir()] == ["gru.onnx"]
    twin = from_onnx(tmp_path / "gru.onnx")
    np.testing.assert_array_equal(twin.flat, gru.flat.astype("float32"))
    with pytest.raises(ValueError, match=r"dtype must be 'float32', 'float64' or None .*got 'int8'"):
        to_onnx(gru, dtype="int8")


def test_dropouts_are_left_behind_with_a_note() -> None:
    report = Report()
    to_onnx(random_gru(2, dropout=0.3), report=report)
    assert report.notes == ["dropout=0.3: acts only in training and does not go to ONNX"]


def test_a_wide_gru_of_large_weights_is_not_refused_for_its_rounding() -> None:
    gru = grus.GRU(80, 256, seed=0)
    gru.flat[...] *= 3
    report = Report()
    to_onnx(gru, report=report)
    assert report.difference > 1e-6


# ------------------------------------------------------------------------------------- bugs that others had


@pytest.mark.parametrize("formulation", ["after", "before"])
def test_the_variant_that_was_exported(formulation: str) -> None:
    """microsoft/onnxscript#2852, pytorch/pytorch#189225: linear_before_reset was left out of the exported node."""
    gru = random_gru(formulation=formulation)
    model, (x, h0) = to_onnx(gru, h0=True, h_n=True), onnx_inputs(gru)
    assert attribute(node_of(model), "linear_before_reset") == (formulation == "after")
    other = grus.GRU.from_config(
        {**gru.config(), "formulation": None, "reset_after": formulation == "before"}, seed=0
    )
    other.flat[...] = gru.flat
    found = run_model(model, x=x, h0=h0)
    assert difference(found, gru(x, h0)) <= 1e-6
    assert difference(found, other(x, h0)) > 1e-2


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_without_biases_and_without_h0(batch: int) -> None:
    """microsoft/onnxruntime#3893: without biases a stale buffer was read from three rows on."""
    gru = random_gru(bias=False)
    x, _ = onnx_inputs(gru, batch)
    assert difference(run_model(to_onnx(gru, h_n=True), x=x), gru(x)) <= 1e-6


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("gru", "arguments", "message"),
    [
        (grus.GRU(3, 4, formulation="candidate"), {}, r"the formulation 'after' or 'before' .* 'candidate'"),
        (grus.GRU(3, 4, layer_norm=True), {}, "ONNX has no layer_norm"),
        (grus.GRU(3, 4, zoneout=0.1), {}, "ONNX has no zoneout=0.1"),
        (
            grus.GRU(3, 4, gate_activation=("sigmoid", "hard_sigmoid")), {},
            "one activation for the reset and the update gate; this GRU has .*'sigmoid'.* and .*'hard_sigmoid'",
        ),
        (
            grus.GRU(3, 4, activation={"name": "tanh", "clip": 1.0}), {},
            "ONNX has no clip of one gate alone, which this GRU has and which changes its results",
        ),
        (grus.GRU(3, 4), {"opset": 13}, r"opset must be .*14.*got 13"),
        (grus.GRU(3, 4), {"opset": 1000}, r"opset must be 14 \.\.\. \d+, which .* onnx knows; got 1000"),
        (grus.GRU(3, 4), {"streaming": True, "lengths": True}, "lengths must be False where streaming is True"),
        (grus.GRU(3, 4, bidirectional=True), {"streaming": True}, "must be False where the GRU is bidirectional"),
        (grus.GRU(3, 4, reverse=True), {"streaming": True}, "streaming must be False where the GRU is reverse"),
    ],
)  # fmt: skip
def test_exports_that_are_refused(gru: grus.GRU, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_onnx(gru, **arguments)


@pytest.mark.parametrize("formulation", ["after", "before"])
@pytest.mark.parametrize("lie", ["gates", "flag"])
@pytest.mark.parametrize("way", ["to", "from"])
def test_the_self_check_sees_a_wrong_conversion(
    way: str, lie: str, formulation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gru = random_gru(formulation=formulation)
    model, key = to_onnx(gru), "onnx" if formulation == "after" else "onnx-before"
    if lie == "gates":
        monkeypatch.setitem(CONVENTIONS, key, replace(CONVENTIONS[key], gates="rzn"))
    elif way == "to":
        made = onnx_nodes.helper.make_node

        def flipped(kind: str, *given: Any, **named: Any) -> Any:
            if "linear_before_reset" in named:
                named["linear_before_reset"] = 1 - named["linear_before_reset"]
            return made(kind, *given, **named)

        monkeypatch.setattr(onnx_nodes.helper, "make_node", flipped)
    else:
        read = onnx_read.ReadLayer.__init__

        def lied(self: Any, *given: Any) -> None:
            read(self, *given)
            self.formulation = {"after": "before", "before": "after"}[self.formulation]

        monkeypatch.setattr(onnx_read.ReadLayer, "__init__", lied)
    with pytest.raises(ConversionError, match=r"is not the same function: ONNX.* and grus differ by \d"):
        to_onnx(gru) if way == "to" else from_onnx(model)


def edited(model: Any, edit: Callable[[Any], Any]) -> Any:
    own = onnx.ModelProto()
    own.CopyFrom(model)
    edit(own)
    return own


def set_attribute(name: str, value: Any) -> Callable[[Any], Any]:
    def edit(model: Any) -> None:
        node = node_of(model)
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return edit


def replace_stored(end: str, change: Callable[[Array], Array]) -> Callable[[Any], Any]:
    def edit(model: Any) -> None:
        for each in model.graph.initializer:
            if each.name.endswith(end):
                each.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(each)), each.name))

    return edit


def as_input(end: str) -> Callable[[Any], Any]:
    def edit(model: Any) -> None:
        (stored,) = (each for each in model.graph.initializer if each.name.endswith(end))
        model.graph.input.append(info(stored.name, onnx.numpy_helper.to_array(stored)))
        model.graph.initializer.remove(stored)

    return edit


def old_opset(model: Any) -> None:
    node, model.opset_import[0].version = node_of(model), 6
    node.attribute.remove(next(each for each in node.attribute if each.name == "layout"))


def alpha_below_zero(model: Any) -> None:
    set_attribute("activations", ["Sigmoid", "Elu"] * 2)(model)
    set_attribute("activation_alpha", [-1.0, -1.0])(model)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_attribute("direction", "sideways"), "direction of .* must be forward, .*; got 'sideways'"),
        (set_attribute("layout", 2), "layout of .* must be 0 or 1; got 2"),
        (set_attribute("hidden_size", 4), r"R of .* must have shape \(2, 12, 4\); got \(2, 15, 5\)"),
        (set_attribute("clip", -1.0), "clip of .* must be above 0; got -1"),
        (set_attribute("activations", ["Sigmoid", "Tanh"]), "must be 4 names, 2 direction.* got 2"),
        (set_attribute("activations", ["Sigmoid", "Mish"] * 2), "the activation 'Mish'; ONNX's GRU knows Relu"),
        (
            set_attribute("activations", ["Sigmoid", "Tanh", "Sigmoid", "Relu"]),
            r"the directions of .* have different activations: .*'tanh'.* and .*'relu'",
        ),
        (set_attribute("activations", ["Sigmoid", "Affine"] * 2), "has the activation Affine without its alpha"),
        (set_attribute("activation_alpha", [0.1]), "alpha of .* has 1 numbers, 1 more than its activations"),
        (
            alpha_below_zero,
            "grus has no such Elu as that of .*alpha",
        ),
        (as_input("W_l0"), "W of .*'gru_W_l0', is not stored in the model"),
        (as_input("B_l0"), "B of .*, is not stored in the model"),
        (replace_stored("W_l0", lambda a: a[:1]), r"W of .* must have shape \(2, 15, any\); got \(1, 15, 3\)"),
        (replace_stored("B_l0", lambda a: a[:, :15]), r"B of .* must have shape \(2, 30\); got \(2, 15\)"),
        (replace_stored("R_l0", lambda a: a * np.nan), "holds NaN or infinity"),
        (replace_stored("R_l0", lambda a: a.astype("float64")), "must be of one dtype; got float32 and float64"),
        (old_opset, "is of opset 6, whose GRU is another"),
        (lambda m: m.graph.ClearField("node"), "not valid ONNX|no GRU node"),
        (lambda m: setattr(node_of(m), "op_type", "NoSuchThing"), "not valid ONNX"),
    ],
)  # fmt: skip
def test_imports_that_are_refused(edit: Callable[[Any], Any], message: str) -> None:
    model = to_onnx(random_gru(1, "bidirectional"))
    with pytest.raises(ConversionError, match=message):
        from_onnx(edited(model, edit))


def test_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gru.onnx"
    whole = to_onnx(random_gru(2), path).SerializeToString()
    assert path.read_bytes() == whole
    for size in [0, 1, 10, *range(50, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(
            ConversionError, match=r"no ONNX model, or it is damaged|not valid ONNX, or it is cut short"
        ):
            from_onnx(path)
        with pytest.raises(
            ConversionError, match=r"no ONNX model, or it is damaged|not valid ONNX, or it is cut short"
        ):
            from_onnx(whole[:size])
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*missing.onnx'"):
        from_onnx(tmp_path / "missing.onnx")
    with pytest.raises(TypeError, match=r"source must be a path, bytes or an onnx.ModelProto; got list"):
        from_onnx([])
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        to_onnx(random_gru(), tmp_path / "no" / "gru.onnx")


def test_weights_beside_the_file(tmp_path: Path) -> None:
    gru, path = random_gru(), tmp_path / "gru.onnx"
    onnx.save_model(to_onnx(gru), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(from_onnx(path).flat, gru.flat)
    with pytest.raises(ConversionError, match="weights lie in files beside it: hand in its path"):
        from_onnx(path.read_bytes())
    weights = tmp_path / "weights.bin"
    for content in (weights.read_bytes()[:100], None):
        weights.unlink() if content is None else weights.write_bytes(content)
        with pytest.raises(ConversionError, match=r"keeps weights in weights.bin beside it, which can't be read"):
            from_onnx(path)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_other_recurrent_nodes_are_no_gru(kind: str) -> None:
    gates = {"LSTM": 4, "RNN": 1}[kind]
    inputs = {
        "X": np.ones((2, 1, 3), "f"),
        "W": np.ones((1, gates * 2, 3), "f"),
        "R": np.ones((1, gates * 2, 2), "f"),
    }
    node = onnx.helper.make_node(kind, list(inputs), ["Y"], hidden_size=2)
    given = [info(name, array) for name, array in inputs.items()]
    graph = onnx.helper.make_graph([node], "g", given, [info("Y", inputs["X"], list("abcd"))])
    with pytest.raises(ConversionError, match=f"the model holds no GRU node; it has {kind}"):
        from_onnx(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8))


def test_libraries_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"ONNX Runtime, which is not installed: pip install grus\[onnx\]"):
        to_onnx(random_gru())
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "grus.onnx")
    with pytest.raises(ImportError, match=r"needs onnx, which is not installed: pip install grus\[onnx\]"):
        importlib.import_module("grus.onnx")


def test_a_graph_that_onnxruntime_does_not_take() -> None:
    newer = edited(to_onnx(random_gru()), lambda m: setattr(m.opset_import[0], "version", 999))
    with pytest.raises(ConversionError, match=r"ONNX Runtime .* does not take the graph: .*999"):
        onnx_run.in_onnxruntime(newer)


def test_nothing_but_a_gru_is_written() -> None:
    with pytest.raises(TypeError, match=r"model must be a grus.GRU, nn.Sequential, .*; got dict"):
        to_onnx({})
    with pytest.raises(ConversionError, match="complex128"):
        to_onnx(random_gru(dtype="complex128"))


# ---------------------------------------------------------------------------------------- stacks and choices


def insert_between(kind: str, **attributes: Any) -> Callable[[Any], Any]:
    """A node between the first two layers."""

    def edit(model: Any) -> None:
        _, above = (i for i, node in enumerate(model.graph.node) if node.op_type == "GRU")
        node = model.graph.node[above]
        new = onnx.helper.make_node(kind, [node.input[0]], ["between"], **attributes)
        node.input[0] = "between"
        model.graph.node.insert(above, new)

    return edit


def test_what_changes_the_numbers_between_layers_is_no_stack() -> None:
    gru = random_gru(2)
    model = to_onnx(gru)
    first, second = (node.name for node in model.graph.node if node.op_type == "GRU")
    assert from_onnx(edited(model, insert_between("Identity"))).num_layers == 2
    for edit in (insert_between("Relu"), insert_between("Transpose", perm=[1, 0, 2])):
        broken = edited(model, edit)
        with pytest.raises(
            ConversionError, match=r"holds 2 GRU nodes that are not one stack: .* does more than join"
        ):
            from_onnx(broken)
        lone = [from_onnx(broken, node=name) for name in (first, second)]
        for layer, one in enumerate(lone):
            np.testing.assert_array_equal(one.parameters["weight_ih_l0"], gru.parameters[f"weight_ih_l{layer}"])
        with pytest.raises(ConversionError, match=r"does not read .* as the next layer"):
            from_onnx(broken, node=[first, second])


def test_choosing_by_name() -> None:
    gru = random_gru(3)
    model = to_onnx(gru)
    names = [node.name for node in model.graph.node if node.op_type == "GRU"]
    assert from_onnx(model, node=names).num_layers == 3
    assert from_onnx(model, node=names[1:]).num_layers == 2
    with pytest.raises(ConversionError, match=r"does not read .* as the next layer"):  # a layer is missing
        from_onnx(model, node=names[::2])
    with pytest.raises(ConversionError, match=r"node must name one GRU node, of 'gru_Y_l0'.*|.*; got 'nothing'"):
        from_onnx(model, node="nothing")


def test_layers_that_differ_are_converted_one_by_one() -> None:
    model = to_onnx(random_gru(2))
    broken = edited(model, set_attribute("linear_before_reset", 0))
    with pytest.raises(ConversionError, match=r"formulation of .* is after where .* has before.*one by one"):
        from_onnx(broken)


def test_independent_grus() -> None:
    """Both read the input."""
    rng = np.random.default_rng(0)
    one, other = (
        one_gru(
            {"layout": 0},
            {
                "X": np.ones((2, 3, 4), "f"),
                "W": rng.random((1, 3 * H, 4), "f"),
                "R": rng.random((1, 3 * H, H), "f"),
            },
        )
        for H in (2, 5)
    )
    model = merged(one, other)
    with pytest.raises(
        ConversionError, match=r"2 GRU nodes that are not one stack: 'a'; 'b'. Choose with node='a'"
    ):
        from_onnx(model)
    assert from_onnx(model, node="b").hidden_size == 5


def merged(one: Any, other: Any) -> Any:
    models = [onnx.compose.add_prefix(each, prefix) for each, prefix in ((one, "a_"), (other, "b_"))]
    model = edited(models[0], lambda _: None)
    for field in ("node", "input", "output", "initializer"):
        getattr(model.graph, field).extend(getattr(models[1].graph, field))
    for node, name in zip(model.graph.node, "ab", strict=True):
        node.name = name
    return model


def test_weights_that_are_made_from_what_is_stored() -> None:
    """As files are written whose constants were not folded: Constant, Unsqueeze, Concat, Cast."""
    attributes, inputs = {"direction": "forward"}, random_node(3)[1]
    D, H = inputs["W"].shape[0], inputs["R"].shape[2]
    inputs = {name: inputs[name].astype("float32") for name in ("W", "R")} | {
        "X": np.ones((2, 1, inputs["W"].shape[2]), "f")
    }
    attributes["direction"] = "bidirectional" if D == 2 else "forward"
    expected = from_onnx(one_gru(attributes, inputs))

    def edit(model: Any) -> None:
        z, rest = inputs["W"][:, :H], inputs["W"][:, H:].astype("float64")
        constant = onnx.helper.make_node("Constant", [], ["z"], value=onnx.numpy_helper.from_array(z))
        cast = onnx.helper.make_node("Cast", ["rest"], ["single"], to=onnx.TensorProto.FLOAT)
        joined = onnx.helper.make_node("Concat", ["z", "single"], ["W"], axis=1)
        for i, node in enumerate((constant, cast, joined)):
            model.graph.node.insert(i, node)
        model.graph.initializer.remove(next(each for each in model.graph.initializer if each.name == "W"))
        model.graph.initializer.append(onnx.numpy_helper.from_array(rest, "rest"))

    found = from_onnx(edited(one_gru(attributes, inputs), edit))
    np.testing.assert_array_equal(found.flat, expected.flat)


@pytest.mark.parametrize("layout", [0, 1])
def test_first_states_that_are_stored(layout: int) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "X": np.ones((2, 2, 3), "f"), "W": rng.random((1, 12, 3), "f"), "R": rng.random((1, 12, 4), "f"),
        "initial_h": np.stack([np.arange(4.0, dtype="f")] * 2)[:, None],
    }  # fmt: skip
    stored = ("W", "R", "initial_h")

    def model() -> Any:
        states = inputs["initial_h"] if layout else inputs["initial_h"].swapaxes(0, 1)
        return one_gru({"layout": layout}, {**inputs, "initial_h": np.ascontiguousarray(states)}, stored)

    np.testing.assert_array_equal(from_onnx(model()).parameters["h0_l0"], np.arange(4.0))
    inputs["initial_h"][0] = 7
    with pytest.raises(ConversionError, match="initial_h of 'only' is stored for 2 rows that differ"):
        from_onnx(model())
    inputs["initial_h"][...] = 0
    assert not from_onnx(model()).learn_h0
    report = Report()
    lengths = {"sequence_lens": np.ones(2, "int32")}
    from_onnx(one_gru({"layout": 0}, {**inputs, "initial_h": np.ones((1, 2, 4), "f"), **lengths}), report=report)
    assert report.notes == [
        "initial_h of 'only', 'initial_h', is not stored in the model: it is our h0",
        "sequence_lens of 'only', 'sequence_lens', is our lengths: hand it in with each call",
    ]


def test_biases_of_some_layers() -> None:
    gru = random_gru(2)

    def drop(model: Any) -> None:
        node_of(model).input[3] = ""

    report = Report()
    found = from_onnx(edited(to_onnx(gru), drop), report=report)
    assert not found.parameters["bias_ih_l0"].any()
    np.testing.assert_array_equal(found.parameters["bias_hh_l1"], gru.parameters["bias_hh_l1"])
    assert report.notes == ["layers without biases have zeros here, because others have biases"]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("layers", "bidirectional", "bias"), list(itertools.product((1, 2), (False, True), (True, False)))
)
@pytest.mark.filterwarnings("ignore")
def test_files_that_pytorch_wrote(
    layers: int, bidirectional: bool, bias: bool, batch_first: bool, dynamic: bool, tmp_path: Path
) -> None:
    """Its exporter joins the directions by Squeeze, or Transpose and Reshape, and slices h0."""
    torch = pytest.importorskip("torch", reason="could not import 'torch', which these tests compare with")
    theirs = torch.nn.GRU(3, 5, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first).eval()
    gru = grus.GRU(3, 5, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first, seed=0)
    x, h0 = onnx_inputs(gru)
    axes = {"dynamic_axes": {"x": {0: "a", 1: "b"}}} if dynamic else {}
    given, path = (torch.from_numpy(x), torch.from_numpy(h0)), tmp_path / "gru.onnx"
    torch.onnx.export(theirs, given, str(path), dynamo=False, opset_version=17, input_names=["x", "h0"], **axes)
    found = from_onnx(path)
    for name, weight in theirs.state_dict().items():
        np.testing.assert_array_equal(found.parameters[name], weight.numpy())
    output, h_n = found(x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1)), h0)
    expected, last = (each.detach().numpy() for each in theirs(*given))
    assert difference((output if batch_first else output.swapaxes(0, 1), h_n), (expected, last)) <= 1e-6


# ------------------------------------------------------------------ ONNX's own tests, and random nodes


def node_tests() -> list[Any]:
    """Those of the operator alone: collecting all takes 12 s. Importing a module of them registers its own."""
    node = pytest.importorskip("onnx.backend.test.case.node", reason="could not import 'onnx'")
    pytest.importorskip("onnx.backend.test.case.node.gru", reason="could not import 'onnx'")
    return [case for case in node._NodeTestCases if case.name.startswith("test_gru_")]


@pytest.mark.parametrize("case", node_tests(), ids=lambda case: case.name)
def test_onnx_tests_of_the_operator(case: Any) -> None:
    prepared = GRUBackend.prepare(case.model)
    assert case.data_sets
    for inputs, outputs in case.data_sets:
        for found, expected in zip(prepared.run(inputs), outputs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=case.atol)


def test_all_of_them_are_here() -> None:
    assert {case.name for case in node_tests()} >= {
        "test_gru_defaults", "test_gru_with_initial_bias", "test_gru_seq_length", "test_gru_batchwise",
        "test_gru_reverse", "test_gru_bidirectional",
    }  # fmt: skip


def evaluator_knows(attributes: dict[str, Any], inputs: dict[str, Array]) -> bool:
    """It ignores the rest, and older ones run every direction forward."""
    ignored = (
        {"activations", "clip"}
        if hasattr(common.CommonGRU, "_run_forward")
        else {"activations", "clip", "direction"}
    )
    return not ignored & set(attributes) and "sequence_lens" not in inputs


def sensitivity(attributes: dict[str, Any], inputs: dict[str, Array], exact: tuple[Array, Array]) -> float:
    """How far the results move when each number that enters moves by its last place, up or down at random."""
    rng, last = np.random.default_rng(0), np.finfo("float32").eps
    moved = {
        name: a * (1 + last * rng.choice([-1.0, 1.0], a.shape)) if a.dtype.kind == "f" else a
        for name, a in inputs.items()
    }
    return difference(standard(attributes, moved), exact)


@pytest.mark.parametrize("tens", range(200 if STRESS else 20))
def test_random_nodes(tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        attributes, inputs = random_node(number)
        model = one_gru(attributes, inputs)
        given = {name: array for name, array in inputs.items() if name not in "WRB"}
        found = run_converted(model, given)
        dtype = inputs["X"].dtype.name
        exact = standard(attributes, inputs)  # in float64
        allowed = 1e-12 if dtype == "float64" else max(1e-5, 16 * sensitivity(attributes, inputs, exact))
        assert difference(found, exact) <= allowed, f"problem {number}"
        if dtype == "float32":  # the same node without rounding: nothing hides behind the looser bound
            wide = {name: a.astype("float64") if a.dtype.kind == "f" else a for name, a in inputs.items()}
            whole = run_converted(one_gru(attributes, wide), {name: wide[name] for name in given})
            assert difference(whole, exact) <= 1e-12, f"problem {number}, in float64"
        if evaluator_knows(attributes, inputs):
            expected = evaluator.ReferenceEvaluator(model).run(None, given)
            assert difference(found, expected) <= allowed, f"problem {number}, against the evaluator"


def test_random_nodes_have_everything() -> None:
    drawn = [random_node(number) for number in range(200)]
    names = {name for attributes, _ in drawn for name in attributes} | {
        name for _, inputs in drawn for name in inputs
    }
    assert names >= {
        "activations", "activation_alpha", "activation_beta", "clip", "direction", "layout", "linear_before_reset",
        "sequence_lens", "initial_h", "B",
    }  # fmt: skip
    assert sum(evaluator_knows(*each) for each in drawn) >= 5
