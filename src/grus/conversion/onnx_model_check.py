"""The self-check of an exported model: ONNX's reference evaluator and ONNX Runtime beside grus."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus.conversion.errors import ConversionError
from grus.conversion.onnx_ends import Ends
from grus.conversion.onnx_layers import Body
from grus.conversion.onnx_run import Run, in_evaluator, in_onnxruntime
from grus.nn._layer import Context, States

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = dict[str, Array]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
MOST = 1e-3  # two graphs that compute something else differ by more
LENGTHS = (7, 2, 5, 1)


def check_exported(ends: Ends, exported: Any, body: Body, dtype: Any) -> None:
    """Raise unless both runtimes compute what grus does, on random sequences; their numbers are of ``dtype``."""
    if ends.network.dtype != body.graph.dtype:
        ends = ends.in_dtype(body.graph.dtype.name)
    steps = body.steps_axis if isinstance(body.steps_axis, int) else max(LENGTHS)
    x = ends.sample(np.random.default_rng(0), (len(LENGTHS), steps), dtype)
    rows = list(x)
    if body.streaming:
        fed = [{ends.x: x[:, t]} for t in range(steps)]
        expected = [_after(ends, body, x[:, : t + 1]) for t in range(steps)]
    elif body.lengths is None:
        fed, expected = [{ends.x: x}], [ends.expected(rows)]
    else:
        rows = [row[:length] for row, length in zip(x, LENGTHS, strict=True)]
        fed = [{ends.x: _spoilt(x), body.lengths: np.array(LENGTHS, np.int32)}]
        expected = [ends.expected(rows)]
    for name, run in _runners(exported, body).items():
        worst = _worst(ends, name, _fed(body, run, fed), expected)
        if body.report is not None:
            body.report.difference = max(worst, body.report.difference or 0.0)
        allowed = TOLERANCE["float32" if body.rounded else body.graph.dtype.name]
        if not worst <= allowed and not worst <= (allowed := max(allowed, _rounding(ends, body, rows))):
            raise ConversionError(
                f"the exported model is not the same function: {name} and grus differ by {worst:.1e} on random "
                f"input, where {allowed:.0e} is allowed. Nothing was written."
            )


def _rounding(ends: Ends, body: Body, rows: list[Array]) -> float:
    """How far two right answers may be apart where the model itself makes rounding grow, but not too far."""
    single, double = (ends.in_dtype(dtype).expected(rows) for dtype in TOLERANCE)
    error = max(difference("float32", name, double[name], single[name]) for name in double)
    grown = 8 * error if body.graph.dtype == np.float32 else 1e-7 * error
    return min(grown, MOST) if np.isfinite(grown) else 0.0


def _runners(exported: Any, body: Body) -> dict[str, Run]:
    runners = {"ONNX's reference evaluator": in_evaluator(exported)}
    recurrent = any(node.op_type == "GRU" for node in exported.graph.node)
    if body.graph.dtype == np.float32 or not recurrent:
        return runners | {"ONNX Runtime": in_onnxruntime(exported)}
    if body.report is not None:
        body.report.note("ONNX Runtime has no GRU of float64: checked in ONNX's reference evaluator alone")
    return runners


def _fed(body: Body, run: Run, inputs: list[Outputs]) -> list[Outputs]:
    """What the graph gives for each of them in turn, the states carried on."""
    carried, given = first_states(body, len(LENGTHS)), []
    for each in inputs:
        outputs = run(each | carried)
        carried = {state.before: outputs[state.after] for state in body.states}
        given.append(outputs)
    return given


def first_states(body: Body, rows: int) -> Outputs:
    """Zeros, or what is learned, for so many rows."""
    states = {}
    for state in body.states:
        shape = [int(rows if axis == "batch" else axis) for axis in state.axes]
        states[state.before] = np.zeros(shape, body.graph.dtype)
        if state.first is not None:
            states[state.before] += state.first.astype(body.graph.dtype)
    return states


def _spoilt(x: Array) -> Array:
    """The same with something else in the padding."""
    padding = np.arange(x.shape[1]) >= np.array(LENGTHS)[:, None]
    x = x.copy()
    x[padding] = np.nan if x.dtype.kind == "f" else "?" if x.dtype.kind == "U" else -9
    return x


def _after(ends: Ends, body: Body, x: Array) -> Outputs:
    """What grus says after x, of an output at every step the last, and each GRU layer's state."""
    outputs, context = ends.expected(list(x)), Context(states=States())
    if "output" in outputs and outputs["output"].ndim > 2:
        outputs["output"] = outputs["output"][:, -1]
    ends.network.run(ends.scaled(x), context)
    assert context.states is not None  # just made
    own = [state for state in body.states if state.layer in context.states]
    return outputs | {state.after: context.states[state.layer][0] for state in own}


def _worst(ends: Ends, runtime: str, given: list[Outputs], expected: list[Outputs]) -> float:
    """The largest difference of all outputs; NaN if one is."""
    found = [0.0]
    for ours, theirs in zip(expected, given, strict=True):
        found += [difference(runtime, name, exact, theirs[name]) for name, exact in ours.items()]
        labels = ends.labels(theirs)
        if labels is not None and labels.tolist() != theirs["label"].tolist():
            raise ConversionError(f"{runtime} gives other labels than belong to its probabilities.")
    return float(np.max(found))


def difference(runtime: str, name: str, expected: Array, got: Array) -> float:
    """The largest, relative to the largest number where that is above 1."""
    if got.shape != expected.shape:
        raise ConversionError(f"{runtime} gives {name} of shape {got.shape} where grus has {expected.shape}.")
    return float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
