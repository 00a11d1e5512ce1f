"""The ONNX model of a :class:`grus.GRU` by itself, and its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

import grus
from grus.conversion.check import check_close, in_dtype, tolerance_of
from grus.conversion.onnx_activations import rounded
from grus.conversion.onnx_nodes import Graph, gru_nodes, onnx_dtype
from grus.conversion.onnx_run import Run, in_evaluator, in_onnxruntime
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
BATCH, STEPS = 4, 6
_CONVENTIONS = """GRU of grus. GRU nodes have layout=0, gates stacked z | r | h, and
h_t = (1 - z) * n + z * h_(t-1) with
{formula}."""
_FORMULAS = {
    "after": "n = g(W x + Wb + r * (R h + Rb)), linear_before_reset=1",
    "before": "n = g(W x + Wb + R (r * h) + Rb), linear_before_reset=0",
}


@dataclass(frozen=True)
class Ports:
    """What is input or output of the graph besides x and output."""

    streaming: bool = False
    lengths: bool = False
    h0: bool = False
    h_n: bool = False


def build(gru: GRU, ports: Ports, opset: int, dtype: str) -> Any:
    """The model; nothing is checked yet."""
    graph, kind = Graph(), onnx_dtype(dtype)
    x = _enter(graph, gru, ports)
    names = {name: name for name in ("lengths", "h0") if getattr(ports, name)}
    written = gru_nodes(gru, x, **names, dtype=dtype, allow_cast=True)
    graph.nodes += written.nodes
    graph.initializers += written.initializers
    _leave(graph, gru, ports, written.output)
    shapes = _shapes(gru, ports)
    if ports.h_n:
        graph.add("Identity", [written.h_n], "h_n")
    kinds = {name: onnx_dtype("int32") if name == "lengths" else kind for name in shapes}
    infos = {name: helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in shapes.items()}
    results = [info for name, info in infos.items() if name in ("output", "h_n")]
    inputs = [info for name, info in infos.items() if name not in ("output", "h_n")]
    own = helper.make_graph(graph.nodes, "gru", inputs, results, graph.initializers)
    return _model(own, gru, opset)


def _model(graph: Any, gru: GRU, opset: int) -> Any:
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports), producer_name="grus",
        producer_version=grus.__version__,
        doc_string=_CONVENTIONS.format(formula=_FORMULAS[gru.formulation.reset]),
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model


def _shapes(gru: GRU, ports: Ports) -> dict[str, list[Any]]:
    """Batch and time symbolic."""
    rows = ["batch"] if ports.streaming else ["batch", "time"] if gru.batch_first else ["time", "batch"]
    states = [gru.num_layers * gru.directions, "batch", gru.hidden_size]
    shapes: dict[str, list[Any]] = {
        "x": [*rows, gru.input_size], "lengths": ["batch"], "h0": states,
        "output": [*rows, gru.directions * gru.hidden_size], "h_n": states,
    }  # fmt: skip
    return {name: shape for name, shape in shapes.items() if getattr(ports, name, True)}


def _enter(graph: Graph, gru: GRU, ports: Ports) -> str:
    """x as (T, N, I)."""
    if ports.streaming:
        return str(graph.add("Unsqueeze", ["x", graph.constant("axis_0", np.array([0]))], "x_step"))
    return str(graph.add("Transpose", ["x"], "x_time_major", perm=[1, 0, 2])) if gru.batch_first else "x"


def _leave(graph: Graph, gru: GRU, ports: Ports, output: str) -> None:
    if ports.streaming:
        graph.add("Squeeze", [output, graph.constant("axis_0", np.array([0]))], "output")
    elif gru.batch_first:
        graph.add("Transpose", [output], "output", perm=[1, 0, 2])
    else:
        graph.add("Identity", [output], "output")


# ------------------------------------------------------------------------------------------------- the check


def check_model(gru: GRU, model: Any, ports: Ports, opset: int, dtype: str, report: Report | None) -> None:
    """Run the model and, in float64, the same graph; and both with random first states, where it has none."""
    same = rounded(in_dtype(gru, dtype))
    own = [(model, ports)]
    if not ports.h0:
        full = replace(ports, h0=True, h_n=True)
        own.append((build(same, full, opset, dtype), full))
    for each, its in own:
        if dtype == "float32":
            _compare(same, in_onnxruntime(each), its, "ONNX Runtime", dtype, report)
        wide = build(same, its, opset, "float64")
        _compare(
            in_dtype(same, "float64"), in_evaluator(wide), its, "ONNX's reference evaluator", "float64", report
        )


def _compare(gru: GRU, run: Run, ports: Ports, name: str, dtype: str, report: Report | None) -> None:
    ours, rng = in_dtype(gru, dtype), np.random.default_rng(0)
    rows = (BATCH, STEPS) if gru.batch_first else (STEPS, BATCH)
    x = rng.standard_normal((*rows, gru.input_size)).astype(dtype)
    given: dict[str, Any] = {}
    if ports.h0:
        shape = gru.num_layers * gru.directions, BATCH, gru.hidden_size
        given["h0"] = rng.uniform(-1, 1, shape).astype(dtype)
    if ports.lengths:
        given["lengths"] = np.array([2, STEPS, 0, 1], "int32")
    expected = ours(x, **given)._asdict()
    got = _steps(run, x, given["h0"], gru.batch_first) if ports.streaming else run({"x": x, **given})
    tolerance = tolerance_of(gru, dtype, x, **given)
    check_close({each: expected[each] for each in got}, got, name, tolerance, report)


def _steps(run: Run, x: Array, h: Array, batch_first: bool) -> Mapping[str, Array]:
    """A one-step graph over a sequence, its state handed back in."""
    axis, outputs = (1 if batch_first else 0), []
    for t in range(STEPS):
        found = run({"x": x.take(t, axis), "h0": h})
        outputs.append(found["output"])
        h = found["h_n"]
    return {"output": np.stack(outputs, axis), "h_n": h}
