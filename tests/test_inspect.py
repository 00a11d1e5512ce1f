"""``grus inspect`` and :func:`grus.conversion.inspect`: whose layout a file has, by names and shapes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import grus
from grus import nn
from grus.conversion import CONVENTIONS, ConversionError, inspect
from test_cli import run
from weight_files import AFTER, BEFORE, FILES, need, random_gru, write

pytestmark = [
    pytest.mark.interop,
    # PyTorch's own, when NumPy 2 asks one of its tensors for an array
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]
SOURCES = [
    (*file, form) for form, can in {"after": AFTER, "before": BEFORE}.items() for file in FILES if file[0] in can
]
UNSAID = "unknown: the arrays do not say them (tanh and sigmoid as a rule)"


@pytest.mark.parametrize("source", SOURCES, ids="-".join)
def test_every_file_is_recognised(source: tuple[str, str, str], tmp_path: Path) -> None:
    layout, ending, formulation = source
    need(layout)
    path = write(random_gru(formulation), tmp_path, layout, ending)
    found = inspect(path)
    first = found.parts[0]
    assert (first.kind, first.layouts) == ("GRU", (layout,))
    assert len(found.parts) == (2 if layout == "onnx" else 1)  # a node is one layer
    assert first.found["layers"] == ("1" if layout == "onnx" else "2")
    assert first.found["formulation"] == f"reset {formulation} the recurrent product"
    key = {"grus": "torch"}.get(layout, layout)
    key += "-before" if formulation == "before" and f"{key}-before" in CONVENTIONS else ""
    assert first.found["gate order"] == CONVENTIONS[key].theirs
    assert first.found["update gate"] == f"{CONVENTIONS[key].keeps} multiplies the previous state"
    assert first.found["biases"] == CONVENTIONS[key].biases
    assert (first.found["input size"], first.found["hidden size"]) == ("3", "5")
    assert first.found["dtype"] == "float32"
    assert found.others == (["Transpose", "Squeeze", "Concat"] if layout == "onnx" else [])
    unsaid = layout in ("linen", "nnx", "epynn", "coreml") or ending == ".weights.h5"
    assert first.found["activations"].lower() == (UNSAID if unsaid else "tanh, sigmoid")


@pytest.mark.parametrize(("layout", "ending"), FILES, ids=str)
def test_directions_are_told(layout: str, ending: str, tmp_path: Path) -> None:
    need(layout)
    for formulation, can in {"after": AFTER, "before": BEFORE}.items():
        if layout in can and layout not in ("mygrad", "epynn", "tensorflow", "coreml", "haste"):
            gru = random_gru(formulation, num_layers=3, bidirectional=True)
            layers = inspect(write(gru, tmp_path, layout, ending)).parts[0].found["layers"]
            assert layers == ("1, both directions" if layout == "onnx" else "3, both directions")
    if layout in ("grus", "nnx", "onnx", "keras") and ending != ".weights.h5":
        path = write(random_gru(num_layers=1, reverse=True), tmp_path, layout, ending)
        assert inspect(path).parts[0].found["layers"] == "1, from the end"


def test_what_names_and_shapes_cannot_tell_is_unknown() -> None:
    found = inspect({"0/forward/weight_ih": np.ones((15, 3)), "0/forward/weight_hh": np.ones((15, 5))}).parts[0]
    assert found.layouts == ("equinox", "coreml")
    assert (
        found.found["formulation"]
        == "unknown: reset after the recurrent product or reset before the recurrent product"
    )
    assert found.found["gate order"] == "unknown: r, z, n or r, o, z"
    assert found.found["activations"] == UNSAID
    assert inspect({"weight_ih": np.ones((15, 3)), "weight_hh": np.ones((15, 5))}).parts[0].layouts == (
        "torch", "equinox", "coreml",
    )  # fmt: skip
    cell = {
        "weight_ih": np.ones((15, 3)),
        "weight_hh": np.ones((15, 5)),
        "bias_ih": np.ones(15),
        "bias_hh": np.ones(15),
    }
    assert inspect({f"cell.{name}": a for name, a in cell.items()}).parts[0].layouts == ("torch",)


def test_keras_formulation_by_the_shape_of_its_bias() -> None:
    arrays = {"kernel:0": np.ones((3, 15)), "recurrent_kernel:0": np.ones((5, 15))}
    shapes = {"after": (2, 15), "before": (15,)}
    for formulation, shape in shapes.items():
        found = inspect(arrays | {"bias:0": np.ones(shape)}).parts[0]
        assert found.found["formulation"] == f"reset {formulation} the recurrent product"
    assert inspect(arrays).parts[0].found["formulation"].startswith("unknown: reset after")


@pytest.mark.parametrize(
    ("cells", "layers"),
    [
        ([(3, 5), (5, 5)], "2"),
        ([(3, 5), (3, 5)], "1, both directions"),
        ([(5, 5), (5, 5)], "unknown: 2, or 1 of both directions"),
        ([(3, 5), (3, 5), (10, 5), (10, 5)], "2, both directions"),
        ([(3, 5), (4, 5), (6, 5)], "3, which do not read one another"),
    ],
)
def test_numbered_cells_are_layers_or_directions(cells: list[tuple[int, int]], layers: str) -> None:
    arrays = {}
    for k, (inputs, size) in enumerate(cells):
        name = f"gru_{k}" if k else "gru"
        arrays[f"model/{name}/w_i"] = np.ones((inputs, 3 * size))
        arrays[f"model/{name}/w_h"] = np.ones((size, 3 * size))
        arrays[f"model/{name}/b"] = np.ones(3 * size)
    (part,) = inspect(arrays).parts
    assert (part.layouts, part.found["layers"]) == (("haiku",), layers)


def test_layers_of_several_widths_are_said() -> None:
    arrays = {"weight_ih_l0": (15, 3), "weight_hh_l0": (15, 5), "weight_ih_l1": (12, 5), "weight_hh_l1": (12, 4)}
    assert (
        inspect({name: np.ones(shape) for name, shape in arrays.items()}).parts[0].found["hidden size"] == "5, 4"
    )


# ------------------------------------------------------------------------------- other networks, other entries


def test_a_checkpoint_of_pytorch(tmp_path: Path) -> None:
    need("torch")
    import torch

    modules = {
        "encoder.gru": torch.nn.GRU(3, 5, 2, bidirectional=True), "decoder": torch.nn.LSTM(3, 5, proj_size=2),
        "plain": torch.nn.RNN(3, 5, bias=False), "cell": torch.nn.GRUCell(3, 5), "cell2": torch.nn.LSTMCell(3, 5),
        "head": torch.nn.Linear(5, 2), "norm": torch.nn.LayerNorm(5),
    }  # fmt: skip
    state = {f"{at}.{name}": a for at, module in modules.items() for name, a in module.state_dict().items()}
    torch.save({"model": state, "epoch": 3}, tmp_path / "checkpoint.pt")
    found = inspect(tmp_path / "checkpoint.pt")
    assert {(part.where, part.kind): part.found["layers"] for part in found.parts} == {
        ("model.encoder.gru.", "GRU"): "2, both directions", ("model.decoder.", "LSTM"): "1",
        ("model.plain.", "plain RNN"): "1", ("model.cell", "GRU"): "1", ("model.cell2", "LSTM"): "1",
    }  # fmt: skip
    assert found.others == [
        "model.head.weight (2, 5)", "model.head.bias (2,)", "model.norm.weight (5,)", "model.norm.bias (5,)",
        "epoch (int)",
    ]  # fmt: skip
    lstm = next(part for part in found.parts if part.where == "model.decoder.")
    assert lstm.found["layout"] == "an LSTM, named as PyTorch has it: not a GRU"
    assert lstm.layouts == ()


def test_files_of_keras_with_other_layers(tmp_path: Path) -> None:
    need("keras")
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.Bidirectional(layers.GRU(5, return_sequences=True)),
            layers.LSTM(4, return_sequences=True),
            layers.SimpleRNN(4),
            layers.Dense(2),
        ]
    )
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    kinds = {"GRU": "1, both directions", "LSTM": "1", "plain RNN": "1"}
    found = inspect(tmp_path / "model.keras")
    assert {part.kind: part.found["layers"] for part in found.parts} == kinds
    assert "layers/dense/vars/0 (4, 2)" in found.others
    assert found.notes == []  # its GRU would convert
    found = inspect(tmp_path / "model.weights.h5")
    assert {part.kind: part.found["layers"] for part in found.parts} == kinds
    assert found.notes[0].startswith("it does not convert as a whole: ")


def test_a_file_of_keras_says_its_activations(tmp_path: Path) -> None:
    need("keras")
    gru = random_gru(activation=grus.Activation("elu", alpha=0.5), gate_activation="hard_sigmoid", bias=False)
    found = inspect(write(gru, tmp_path, "keras", ".keras")).parts[0].found
    assert found["activations"] == "ELU, hard_sigmoid"
    assert found["formulation"] == "reset after the recurrent product"
    assert found["biases"] == "none"
    identity = inspect(write(random_gru(activation="identity"), tmp_path, "keras", ".keras")).parts[0].found
    assert identity["activations"] == "linear, sigmoid"


def test_cells_of_flax_that_are_no_grus() -> None:
    need("linen")
    import flax.linen
    import jax
    from flax import nnx
    from flax.traverse_util import flatten_dict

    key, x = jax.random.PRNGKey(0), np.ones((2, 7, 3), "float32")
    kinds = {flax.linen.GRUCell: "GRU", flax.linen.LSTMCell: "LSTM", flax.linen.SimpleCell: "plain RNN"}
    for cell, kind in kinds.items():
        found = inspect(flax.linen.RNN(cell(4)).init(key, x))
        assert [(part.kind, part.found["hidden size"]) for part in found.parts] == [(kind, "4")]
        assert found.others == []
    modules = {
        nnx.GRUCell: "GRU",
        nnx.LSTMCell: "LSTM",
        nnx.OptimizedLSTMCell: "LSTM",
        nnx.SimpleCell: "plain RNN",
    }
    for module, kind in modules.items():
        state = nnx.to_pure_dict(nnx.state(module(3, 4, rngs=nnx.Rngs(0)), nnx.Param))
        flat = {"/".join(name): np.asarray(a) for name, a in flatten_dict(state).items()}
        assert [(part.kind, part.found["input size"]) for part in inspect(flat).parts] == [(kind, "3")]


def test_an_lstm_of_equinox_or_core_ml() -> None:
    shapes = {"weight_ih": (20, 3), "weight_hh": (20, 5), "bias": (20,)}
    found = inspect({f"0/forward/{name}": np.ones(shape) for name, shape in shapes.items()}).parts[0]
    assert found.kind == "LSTM"
    assert found.found["layout"] == "an LSTM, named as Equinox or Core ML has it: not a GRU"


def test_nodes_of_onnx_that_are_no_grus(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    rng = np.random.default_rng(0)
    nodes, stored = [], []
    for op, gates in {"LSTM": 4, "RNN": 1, "GRU": 3}.items():
        for name, shape in {"W": (1, gates * 5, 3), "R": (1, gates * 5, 5)}.items():
            array = rng.standard_normal(shape).astype("float32")
            stored.append(onnx.numpy_helper.from_array(array, f"{op}{name}"))
        more = {"direction": "reverse", "activations": ["HardSigmoid", "Relu"]} if op == "GRU" else {}
        nodes.append(
            helper.make_node(op, ["X", f"{op}W", f"{op}R"], [f"{op}Y"], op.lower(), hidden_size=5, **more)
        )
    kind = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("X", kind, [7, 2, 3])
    outputs = [helper.make_tensor_value_info(f"{op}Y", kind, [7, 1, 2, 5]) for op in ("LSTM", "RNN", "GRU")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], outputs, stored),
        opset_imports=[helper.make_opsetid("", 14)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    lstm, plain, gru = inspect(tmp_path / "model.onnx").parts
    assert (lstm.where, lstm.kind, lstm.found["layout"]) == ("lstm", "LSTM", "an LSTM, a node of ONNX: not a GRU")
    assert (plain.kind, plain.found["layout"]) == ("plain RNN", "a plain RNN, a node of ONNX: not a GRU")
    assert (gru.kind, gru.found["biases"], gru.found["layers"]) == ("GRU", "none", "1, from the end")
    assert gru.found["activations"] == "Relu, HardSigmoid"
    assert gru.found["formulation"] == "reset before the recurrent product"


def test_model_files_of_grus(tmp_path: Path) -> None:
    grus.save(nn.Sequential([nn.GRU(4), nn.Dense(2)], seed=0).build(np.ones((1, 5, 3))), tmp_path / "a.model")
    (part,) = inspect(tmp_path / "a.model").parts
    assert (part.kind, part.found) == ("Sequential", {"layout": "grus Sequential", "layers": "GRU, Dense"})
    gru = grus.GRU(3, 5, formulation="candidate", activation="relu", seed=0)
    grus.save(gru, tmp_path / "b.model")
    found = inspect(tmp_path / "b.model").parts[0].found
    assert found["formulation"] == "reset of the whole candidate"
    assert found["activations"] == "relu, sigmoid"


def test_nothing_is_known() -> None:
    found = inspect({"head.weight": np.ones((2, 5)), "odd": 3})
    assert (found.parts, found.others) == ([], ["head.weight (2, 5)", "odd (int)"])
    wrong = {"weight_ih_l0": np.ones((15, 3)), "weight_hh_l0": np.ones((16, 5))}  # no cell has such shapes
    assert inspect(wrong).parts == []


def test_arguments_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="source must be a path, or a mapping of names to arrays; got list"):
        inspect([])  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="there is no file"):
        inspect(tmp_path / "no.pt")


def test_damaged_files_of_keras(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="could not import 'h5py', with which Keras' files are read")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\nand no more")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "a.keras").write_bytes(buffer.getvalue())
    for name in ("a.h5", "a.keras"):
        with pytest.raises(ConversionError, match=r"is not a file of Keras .*, or it is damaged or cut short"):
            inspect(tmp_path / name)


# -------------------------------------------------------------------------------------------- as a person runs it


def test_the_command(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"gru.{name}": a for name, a in random_gru().state_dict().items()}
    arrays |= {f"other.{k}": np.ones(k + 1, "f4") for k in range(14)}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    output = " ".join(run(tmp_path, "inspect", "model.safetensors").split())
    assert output.startswith("model.safetensors: gru. kind GRU layout PyTorch nn.GRU formulation reset after")
    assert "layers 2 input size 3 hidden size 5 dtype float32 --from torch" in output
    assert "not of a recurrent layer other.0 (1,)," in output
    assert output.endswith("and 2 more")


def test_the_command_where_nothing_is_known(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    output = run(tmp_path, "inspect", "a.npz")
    assert "a.npz: no recurrent layer is known by its names and shapes" in output
    assert "a (3,)" in output


def test_the_command_notes_what_stands_in_the_way(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="could not import 'h5py', with which Keras' files are read")
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for name, shape in {"0": (3, 20), "1": (5, 20), "2": (20,)}.items():
            file[f"layers/lstm/cell/vars/{name}"] = np.ones(shape, "f4")
    output = " ".join(run(tmp_path, "inspect", "a.weights.h5").split())
    assert "kind LSTM layout an LSTM, named as Keras has it: not a GRU" in output
    assert "note it does not convert as a whole: " in output


def test_an_npz_that_asks_for_more_than_there_is(tmp_path: Path) -> None:
    """A header of some petabytes is damage, not a lack of memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path := tmp_path / "huge.npz", "w") as archive:
        archive.writestr("weight_ih_l0.npy", header.getvalue())
    with pytest.raises(ConversionError, match=r"huge.npz' is no .npz file of numbers, or it is damaged"):
        inspect(path)


def test_an_npz_that_is_encrypted(tmp_path: Path) -> None:
    np.savez(path := tmp_path / "locked.npz", weight_ih_l0=np.ones((9, 2)))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=r"locked.npz' is no .npz file .* encrypted"):
        inspect(path)
