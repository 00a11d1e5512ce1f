"""A :class:`grus.GRU` as nodes of an ONNX graph: one GRU node for each layer, time-major."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from grus.conversion.cells import cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.onnx_activations import attributes_of
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU
from grus.parameters import suffix

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Graph:
    """Nodes and initializers as they are written, each name begun by ``prefix``."""

    prefix: str = ""
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: Any) -> str:
        """An initializer, and its full name."""
        full = f"{self.prefix}{name}"
        if all(each.name != full for each in self.initializers):
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), full))
        return full

    def add(self, kind: str, inputs: Sequence[str], *results: str, **attributes: Any) -> Any:
        """A node, and the full name of its result, or of each where there are several."""
        full = [f"{self.prefix}{each}" for each in results]
        self.nodes.append(helper.make_node(kind, list(inputs), full, name=full[0], **attributes))
        return full[0] if len(full) == 1 else full


@dataclass(frozen=True)
class Written:
    """What :func:`gru_nodes` wrote; h_n may be left out of the graph's outputs."""

    nodes: list[Any]
    initializers: list[Any]
    output: str  # (T, N, directions*H)
    h_n: str  # (layers*directions, N, H)


def check_writable(
    gru: GRU, *, dtype: str | None = None, allow_cast: bool = False, report: Report | None = None
) -> str:
    """The dtype of its graph; refuses, with the reason, what ONNX's GRU does not have."""
    check_convertible(
        gru, "ONNX", formulations=("after", "before"), activations=True, clip=True, reverse=True, blocks=True,
        learn_h0=True, report=report,
    )  # fmt: skip
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be 'float32', 'float64' or None (the GRU's); got {dtype!r}.")
    chosen = dtype or gru.dtype.name
    if chosen == "float32" and gru.dtype.name != chosen and not allow_cast:
        raise ConversionError(
            "this GRU is float64 and the file float32: pass allow_cast=True to round its weights."
        )
    attributes_of(gru, chosen, allow_cast)
    return chosen


def gru_nodes(
    gru: GRU,
    x: str,
    *,
    lengths: str | None = None,
    h0: str | None = None,
    prefix: str = "gru_",
    dtype: str | None = None,
    allow_cast: bool = False,
) -> Written:
    """The nodes that compute what the GRU does, for a graph of opset 14 or later.

    Parameters
    ----------
    gru : GRU
        That :func:`check_writable` accepts.
    x : str
        The input's name, (T, N, I), of ``dtype``, whatever the GRU's ``batch_first`` is.
    lengths : str, optional
        That of the lengths, int32 (N,), 0 ... T.
    h0 : str, optional
        That of the first states, (layers*directions, N, H); zeros when omitted, or what ``learn_h0`` learned.
    prefix : str
        Begins every name that is written.
    dtype : {"float32", "float64"}, optional
        Of the weights; the GRU's when omitted.
    allow_cast : bool, default False
        Alpha, beta and clip of a float64 graph may be rounded to float32.

    Returns
    -------
    Written
        The nodes, the initializers, and the names of output and h_n.
    """
    graph, kind = Graph(prefix), dtype or gru.dtype.name
    states = _first_states(graph, gru, x, h0, kind)
    attributes = attributes_of(gru, kind, allow_cast)
    output, ends = x, []
    for layer, cells in enumerate(cells_of(gru)):
        inputs = [output, *_weights(graph, gru, layer, cells, kind), lengths or "", states[layer]]
        output, end = _layer(graph, gru, layer, inputs, attributes)
        ends.append(_kept(graph, layer, end, lengths, states[layer]))
    h_n = ends[0] if len(ends) == 1 else graph.add("Concat", ends, "h_n", axis=0)
    return Written(graph.nodes, graph.initializers, output, h_n)


def _layer(graph: Graph, gru: GRU, layer: int, inputs: list[str], attributes: dict[str, Any]) -> tuple[str, str]:
    """The GRU node, and what joins the directions of Y (T, D, N, H)."""
    H, D = gru.hidden_size, gru.directions
    direction = "bidirectional" if D == 2 else "reverse" if gru.reverse else "forward"
    while not inputs[-1]:
        inputs.pop()
    y, y_h = graph.add(
        "GRU", inputs, f"Y_l{layer}", f"Y_h_l{layer}", hidden_size=H, direction=direction, layout=0,
        linear_before_reset=int(gru.formulation.reset == "after"), **attributes,
    )  # fmt: skip
    if D == 1:
        return graph.add("Squeeze", [y, graph.constant("axis_1", np.array([1]))], f"output_l{layer}"), y_h
    turned = graph.add("Transpose", [y], f"Y_turned_l{layer}", perm=[0, 2, 1, 3])
    shape = graph.constant("joined", np.array([0, 0, D * H]))  # 0: as it is
    return graph.add("Reshape", [turned, shape], f"output_l{layer}"), y_h


def _weights(graph: Graph, gru: GRU, layer: int, cells: Sequence[GRUParams], dtype: str) -> list[str]:
    """W (D, 3H, I), R (D, 3H, H) and B (D, 6H), or "" where there are no biases."""
    convention = CONVENTIONS["onnx" if gru.formulation.reset == "after" else "onnx-before"]
    packed = [convention.pack(cell._replace(weight_hh=full_matrix(cell.weight_hh))) for cell in cells]
    arrays = {"W": np.stack([p.weight_ih for p in packed]), "R": np.stack([p.weight_hh for p in packed])}
    biases = [
        np.concatenate([p.bias_ih, p.bias_hh]) for p in packed if p.bias_ih is not None and p.bias_hh is not None
    ]
    if biases:
        arrays["B"] = np.stack(biases)
    names = [graph.constant(f"{key}_l{layer}", array.astype(dtype)) for key, array in arrays.items()]
    return names if biases else [*names, ""]


def full_matrix(weight_hh: Array) -> Array:
    """The (3H, H) of block-diagonal matrices given as (3H, H/blocks)."""
    gates, size = len(weight_hh) // 3, weight_hh.shape[1]
    full = np.zeros((3, gates // size, size, gates // size, size), weight_hh.dtype)
    own = weight_hh.reshape(3, gates // size, size, size)
    for block in range(gates // size):
        full[:, block, :, block] = own[:, block]
    return full.reshape(3 * gates, gates)


def _first_states(graph: Graph, gru: GRU, x: str, h0: str | None, dtype: str) -> list[str]:
    """For each layer the name of its (D, N, H), or ""."""
    layers, D = gru.num_layers, gru.directions
    if h0 is not None and layers > 1:
        sizes = graph.constant("directions", np.full(layers, D))
        return list(graph.add("Split", [h0, sizes], *(f"h0_l{layer}" for layer in range(layers)), axis=0))
    if h0 is not None:
        return [h0]
    if not gru.learn_h0:
        return [""] * layers
    whole = graph.add("Shape", [x], "x_shape")
    rows = graph.add("Gather", [whole, graph.constant("batch_axis", np.array([1]))], "batch")
    one = graph.constant("one", np.array([1]))
    shape = graph.add("Concat", [one, rows, one], "h0_shape", axis=0)
    states = []
    for layer in range(layers):
        learned = np.stack([gru.parameters[f"h0{suffix(layer, d)}"] for d in range(D)])[:, None]
        given = graph.constant(f"learned_h0_l{layer}", learned.astype(dtype))
        states.append(graph.add("Expand", [given, shape], f"h0_l{layer}"))
    return states


def _kept(graph: Graph, layer: int, end: str, lengths: str | None, state: str) -> str:
    """The last states; of rows without steps the first ones, where ONNX Runtime gives zeros."""
    if not lengths or not state:
        return end
    if all(node.output[0] != f"{graph.prefix}empty" for node in graph.nodes):
        none = graph.add("Equal", [lengths, graph.constant("no_steps", np.array([0], "int32"))], "none")
        graph.add("Unsqueeze", [none, graph.constant("last_axis", np.array([1]))], "empty")  # (N, 1)
    return str(graph.add("Where", [f"{graph.prefix}empty", state, end], f"h_n_l{layer}"))


def onnx_dtype(dtype: str) -> int:
    """ONNX's number for it."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
