"""Reading a :class:`grus.GRU` from the GRU nodes of an ONNX model, and its check."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from grus.conversion import arrays as given_arrays
from grus.conversion.cells import Cells
from grus.conversion.check import check_same, in_dtype
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.errors import ConversionError
from grus.conversion.onnx_activations import activations_from, number_of, rounded
from grus.conversion.onnx_run import one_node
from grus.conversion.onnx_select import Layer
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU
from grus.parameters import suffix

Array = np.ndarray[Any, np.dtype[Any]]
OLDEST = 7  # the first opset whose GRU has these equations, attributes and defaults
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_EXTERNAL = onnx.TensorProto.EXTERNAL


def read_model(source: Any) -> Any:
    """A whole and valid model from a path, bytes, or itself."""
    if isinstance(source, (str, os.PathLike)):
        model = _from_file(Path(source))
    elif isinstance(source, (bytes, bytearray)):
        model = _parsed(bytes(source), "source")
    elif isinstance(source, onnx.ModelProto):
        model = source
    else:
        raise TypeError(f"source must be a path, bytes or an onnx.ModelProto; got {type(source).__name__}.")
    if any(each.data_location == _EXTERNAL for each in model.graph.initializer):
        raise ConversionError("the model's weights lie in files beside it: hand in its path.")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the model is not valid ONNX, or it is cut short: {error}") from error
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST:
        raise ConversionError(
            f"the model is of opset {opset}, whose GRU is another; {OLDEST} and later are read. See "
            "onnx.version_converter."
        )
    return model


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    model = _parsed(path.read_bytes(), repr(str(path)))
    outside = {
        each.value for init in model.graph.initializer for each in init.external_data if each.key == "location"
    }
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # of several classes
        raise ConversionError(
            f"{str(path)!r} keeps weights in {', '.join(sorted(outside))} beside it, which can't be read: {error}"
        ) from error
    return model


def _parsed(content: bytes, name: str) -> Any:
    try:
        return onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which is no part of onnx
        raise ConversionError(f"{name} is no ONNX model, or it is damaged or cut short ({error}).") from error


# --------------------------------------------------------------------------------------------------- the nodes


class ReadLayer:
    """A node's arrays, checked, and what its attributes say."""

    def __init__(self, layer: Layer, report: Report | None) -> None:
        self.node, self.name, self.attributes = layer.node, layer.name, layer.attributes
        self.arrays = given_arrays.one_dtype(f"the weights of {self.name!r}", _weights(layer))
        self.dtype = self.arrays["W"].dtype.name
        self.direction = self.attributes.get("direction", "forward")
        if self.direction not in _DIRECTIONS:
            raise ConversionError(
                f"direction of {self.name!r} must be {', '.join(_DIRECTIONS)}; got {self.direction!r}."
            )
        self.directions = _DIRECTIONS[self.direction]
        self._check_shapes()
        self.formulation = "after" if self.attributes.get("linear_before_reset", 0) else "before"
        self.activations = activations_from(repr(self.name), self.attributes, self.directions, self.dtype)
        self.clip = self._clip()
        self.h0 = _first_states(layer, self.directions, self.hidden_size, report)
        _note_inputs(layer, report)

    def _check_shapes(self) -> None:
        W, R = self.arrays["W"], self.arrays["R"]
        self.hidden_size = int(self.attributes.get("hidden_size", R.shape[-1] if R.ndim else 0))
        D, H = self.directions, self.hidden_size
        given_arrays.shaped(f"R of {self.name!r}", R, (D, 3 * H, H))
        given_arrays.shaped(f"W of {self.name!r}", W, (D, 3 * H, None))
        if "B" in self.arrays:
            given_arrays.shaped(f"B of {self.name!r}", self.arrays["B"], (D, 6 * H))
        if self.attributes.get("layout", 0) not in (0, 1):
            raise ConversionError(f"layout of {self.name!r} must be 0 or 1; got {self.attributes['layout']}.")

    def _clip(self) -> float | None:
        if "clip" not in self.attributes:
            return None
        clip = number_of(self.attributes["clip"], self.dtype)
        if not 0 < clip < np.inf:
            raise ConversionError(f"clip of {self.name!r} must be above 0; got {clip:g}.")
        return clip

    def cells(self, bias: bool) -> list[GRUParams]:
        """One for each direction; with zeros where this layer has no biases and others have."""
        convention = CONVENTIONS["onnx" if self.formulation == "after" else "onnx-before"]
        zeros = np.zeros((self.directions, 6 * self.hidden_size), self.dtype)
        biases = self.arrays.get("B", zeros) if bias else [None] * self.directions
        sides = [(None, None) if b is None else np.split(b, 2) for b in biases]
        return [
            convention.unpack(Blocks(w, r, *side))
            for w, r, side in zip(self.arrays["W"], self.arrays["R"], sides, strict=True)
        ]


def _weights(layer: Layer) -> dict[str, Array]:
    found = {}
    for key, name in zip("WRB", list(layer.node.input)[1:4], strict=False):
        if not name:
            continue
        array = layer.graph.constant(name)
        if array is None:
            raise ConversionError(
                f"{key} of {layer.name!r}, {name!r}, is not stored in the model: it is an input, or computed as "
                "the model runs."
            )
        found[key] = array
    return found


def _first_states(layer: Layer, directions: int, hidden_size: int, report: Report | None) -> Array | None:
    """(D, H) of states that are stored and the same in each row; None for zeros and for those of an input."""
    name = (*layer.node.input, *[""] * 6)[5]
    if not name:
        return None
    giver = layer.graph.giver.get(name)
    stored = layer.graph.constant(name)
    if stored is None and giver is not None and giver.op_type == "Expand":  # over a batch of any size
        stored = layer.graph.constant(giver.input[0])
    if stored is None:
        if report is not None:
            report.note(f"initial_h of {layer.name!r}, {name!r}, is not stored in the model: it is our h0")
        return None
    if not stored.any():
        return None
    batch_first = layer.attributes.get("layout", 0)
    states = given_arrays.shaped(
        f"initial_h of {layer.name!r}", stored,
        (None, directions, hidden_size) if batch_first else (directions, None, hidden_size),
    )  # fmt: skip
    rows = states if batch_first else states.swapaxes(0, 1)
    if (rows != rows[0]).any():
        raise ConversionError(
            f"initial_h of {layer.name!r} is stored for {len(rows)} rows that differ: no GRU has that in it. Make "
            "it an input of the graph, and hand it in as h0."
        )
    return np.asarray(rows[0])


def _note_inputs(layer: Layer, report: Report | None) -> None:
    lengths = (*layer.node.input, *[""] * 5)[4]
    if lengths and report is not None:
        report.note(f"sequence_lens of {layer.name!r}, {lengths!r}, is our lengths: hand it in with each call")


# ----------------------------------------------------------------------------------------------------- the GRU


def read_gru(layers: Sequence[Layer], report: Report | None) -> tuple[GRU, list[ReadLayer]]:
    """The GRU of a stack, and what was read."""
    read = [ReadLayer(layer, report) for layer in layers]
    first = read[0]
    for field in ("dtype", "direction", "formulation", "activations", "clip"):
        for other in read[1:]:
            if getattr(other, field) != getattr(first, field):
                raise ConversionError(
                    f"{field} of {other.name!r} is {getattr(other, field)} where {first.name!r} has "
                    f"{getattr(first, field)}: grus.GRU has one for all its layers. Convert them one by one, with "
                    f"node={other.name!r}."
                )
    bias = any("B" in each.arrays for each in read)
    activation = first.activations[1]
    cells = Cells(
        [each.cells(bias) for each in read], formulation=first.formulation, activation=activation,
        gate_activation=first.activations[0], clip=first.clip, reverse=first.direction == "reverse",
    )  # fmt: skip
    if report is not None and bias and not all("B" in each.arrays for each in read):
        report.note("layers without biases have zeros here, because others have biases")
    return _with_states(cells.gru(), read), read


def _with_states(gru: GRU, read: Sequence[ReadLayer]) -> GRU:
    """With learn_h0 where the model holds first states other than zeros."""
    if all(each.h0 is None for each in read):
        return gru
    learned = {
        f"h0{suffix(layer, d)}": np.zeros(gru.hidden_size, gru.dtype) if each.h0 is None else each.h0[d]
        for layer, each in enumerate(read)
        for d in range(gru.directions)
    }
    twin = GRU.from_config(gru.config() | {"learn_h0": True}, seed=0)
    twin.load_state_dict(gru.state_dict() | learned)
    return twin


def check_read(gru: GRU, read: Sequence[ReadLayer], report: Report | None) -> None:
    """Against the nodes themselves, in float64, in the reference evaluator."""

    def theirs(x: Array, h0: Array) -> tuple[Array, Array]:
        output, ends, states = x.swapaxes(0, 1), [], iter(np.split(h0, len(read)))
        for layer in read:
            output, end = _run(layer, output, next(states))
            ends.append(end)
        return output.swapaxes(0, 1), np.concatenate(ends)

    exact = rounded(in_dtype(gru, "float64"))
    check_same(exact, theirs, "ONNX's reference evaluator", report=report)


def _run(layer: ReadLayer, x: Array, h0: Array) -> tuple[Array, Array]:
    """Output (T, N, D*H) and last states (D, N, H) of the node as it stands, in its own layout."""
    batch_first = bool(layer.attributes.get("layout"))
    inputs = {"X": x.swapaxes(0, 1) if batch_first else x}
    inputs |= {key: array.astype("float64") for key, array in layer.arrays.items()}
    inputs["initial_h"] = h0.swapaxes(0, 1) if batch_first else h0
    y, y_h = one_node(layer.node, "float64", inputs)
    if batch_first:
        y, y_h = y.transpose(1, 2, 0, 3), y_h.swapaxes(0, 1)
    T, D, N, H = y.shape
    return y.transpose(0, 2, 1, 3).reshape(T, N, D * H), y_h
