"""What files that are more than arrays by name say of their networks: grus' own, ONNX's and Keras'."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.recognise import Part, Recognised, recognise
from grus.io import load
from grus.layer import GRU

_ONNX_KINDS = {"GRU": "GRU", "LSTM": "LSTM", "RNN": "plain RNN"}


def grus(path: Path) -> Recognised:
    """A model file, which says everything."""
    model = load(path)
    if isinstance(model, GRU):
        return Recognised([Part("", "GRU", ("grus",), found_in(model))])
    kind, network = type(model).__name__, getattr(model, "model_", model)
    layers = ", ".join(type(layer).__name__ for layer in network.layers)
    return Recognised([Part("", kind, ("grus",), {"layout": f"grus {kind}", "layers": layers})])


def found_in(gru: GRU) -> dict[str, str]:
    """What there is to say of a GRU of ours."""
    form = gru.formulation
    names = dict.fromkeys([form.activation.name, form.reset_activation.name, form.update_activation.name])
    found = CONVENTIONS["torch"].found(gru.num_layers, gru.directions, gru.bias, ", ".join(names))
    reset = {"candidate": "of the whole candidate"}.get(form.reset, f"{form.reset} the recurrent product")
    found |= {"layout": "grus GRU", "formulation": f"reset {reset}"}
    found["layers"] += ", from the end" if gru.reverse else ""
    return found | sizes_of(gru)


def sizes_of(gru: GRU) -> dict[str, str]:
    return {
        "input size": str(gru.input_size), "hidden size": str(gru.hidden_size), "dtype": gru.dtype.name
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------- ONNX


def onnx(path: Path) -> Recognised:
    """Every recurrent node for itself; which of them are one stack is for :func:`grus.onnx.from_onnx` to find."""
    from grus.conversion.onnx_read import read_model
    from grus.conversion.onnx_select import Graph, Layer

    graph = Graph(read_model(path))
    nodes = [node for node in graph.model.graph.node if node.op_type in _ONNX_KINDS]
    others = [node.op_type for node in graph.model.graph.node if node.op_type not in _ONNX_KINDS]
    return Recognised([_node(Layer(node, graph)) for node in nodes], list(dict.fromkeys(others)))


def _node(layer: Any) -> Part:
    """One node, by its attributes and its weights' shapes."""
    kind, attributes = _ONNX_KINDS[layer.node.op_type], layer.attributes
    weights = [layer.graph.constant(name) for name in layer.node.input[1:3]]
    both = attributes.get("direction") == "bidirectional"
    if kind == "GRU":
        convention = CONVENTIONS["onnx" if attributes.get("linear_before_reset") else "onnx-before"]
        own = [
            each.decode() if isinstance(each, bytes) else str(each) for each in attributes.get("activations", ())
        ]
        biases = len(layer.node.input) > 3 and bool(layer.node.input[3])
        activations = ", ".join((own or ["Sigmoid", "Tanh"])[1::-1])  # ours first names the new gate's
        found = convention.found(1, 2 if both else 1, biases, activations)
    else:
        article = "an" if kind == "LSTM" else "a"
        found = {"layout": f"{article} {kind}, a node of ONNX: not a GRU", "layers": "1"}
    if attributes.get("direction") == "reverse":
        found["layers"] += ", from the end"
    w, r = weights
    found["input size"] = str(w.shape[-1]) if w is not None else "unknown: the graph computes its weights"
    found["hidden size"] = str(r.shape[-1] if r is not None else attributes.get("hidden_size", "unknown"))
    if w is not None:
        found["dtype"] = w.dtype.name
    return Part(layer.name, kind, ("onnx",) if kind == "GRU" else (), found)


# -------------------------------------------------------------------------------------------------------- Keras


class _Dataset(NamedTuple):
    """What is asked of an array in an h5 file; its numbers are not read."""

    shape: tuple[int, ...]
    dtype: Any


def keras(path: Path) -> Recognised:
    """The arrays of the file; and where its GRUs would convert, what the configuration says of them."""
    from grus.conversion import keras_files

    notes: list[str] = []
    config: Sequence[Any] = ()
    try:
        config = keras_files.read(path).layers
    except ConversionError as error:
        notes.append(f"it does not convert as a whole: {error}")
    found = recognise(_datasets(path))
    alone = [part.kind for part in found.parts].count("GRU") == 1
    parts = [
        replace(part, found=_configured(part.found, config)) if alone and part.kind == "GRU" else part
        for part in found.parts
    ]
    return Recognised(parts, found.others, notes)


def _configured(found: dict[str, str], config: Sequence[Any]) -> dict[str, str]:
    """The rows with what a configuration adds; one of weights alone is empty."""
    if not config:
        return found
    own, more = config[0].directions[0], dict(found)
    if {"activation", "recurrent_activation"} <= set(own):
        more["activations"] = ", ".join(_name(own[key]) for key in ("activation", "recurrent_activation"))
    if own.get("reset_after") is not None:
        after = "keras" if own["reset_after"] else "keras-before"
        more |= {
            key: CONVENTIONS[after].found(1, 1, found["biases"] != "none")[key]
            for key in ("layout", "formulation", "biases")
        }
    if config[0].backwards:
        more["layers"] += ", from the end"
    return more


def _name(activation: Any) -> str:
    """A function's name, or a layer's class."""
    if activation is None:
        return "linear"
    return activation if isinstance(activation, str) else str(activation.get("class_name", "unknown"))


def _datasets(path: Path) -> dict[str, _Dataset]:
    """Names and shapes of an h5 file, or of the one in a ``.keras``; links are not followed."""
    import h5py

    try:
        content: Any = path
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = io.BytesIO(archive.read("model.weights.h5"))
        found: dict[str, _Dataset] = {}

        def visit(name: str, member: Any) -> None:
            if isinstance(member, h5py.Dataset):
                found[name] = _Dataset(member.shape or (), member.dtype)

        with h5py.File(content, "r") as file:
            file.visititems(visit)
    except Exception as error:  # h5py raises whatever the damage brings about
        raise ConversionError(
            f"{str(path)!r} is not a file of Keras (.keras, .weights.h5, .h5), or it is damaged or cut short "
            f"({type(error).__name__}: {error})."
        ) from error
    return found
