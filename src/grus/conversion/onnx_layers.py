"""The layers of ``grus.nn`` as nodes of an ONNX graph.

A writer takes a :class:`Body`, the layer and the name of its input, and gives the name of its output. Arrays are
(batch, time, ...) as in a model; in a graph of one step the axis of time is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

import grus
from grus import nn
from grus.conversion.errors import ConversionError
from grus.conversion.onnx_dense import activated
from grus.conversion.onnx_graph import Axes, Graph
from grus.conversion.onnx_nodes import check_writable, gru_nodes
from grus.conversion.report import Report

Array = np.ndarray[Any, np.dtype[Any]]
_GRUD = "its values and its state fade with the time since each was last observed, which no GRU node computes"


@dataclass(frozen=True)
class State:
    """What a graph of one step takes from the step before and leaves to the next."""

    layer: str  # whose
    before: str  # the input's name
    after: str  # the output's name
    axes: tuple[int | str, ...]
    end: str  # the tensor that goes into it
    first: Array | None = None  # what to begin with where it is not zeros, for one row


@dataclass
class Body:
    """Where writers put their nodes, and what they need to know besides."""

    graph: Graph
    x: str  # the graph's input, of which only the first two axes matter
    width: int | str  # the features of the tensor at hand
    over_time: bool  # whether it has an axis of time
    steps_axis: int | str = "time"  # how long that is
    lengths: str | None = None  # the input's name, int32 (batch,); None where all rows are as long as x
    streaming: bool = False
    allow_cast: bool = False
    report: Report | None = None
    rounded: bool = False  # whether a number of a float64 graph had to become float32
    recurrent: int = 1  # how many layers carry a state
    states: list[State] = field(default_factory=list)

    @property
    def time_axis(self) -> list[int | str]:
        """The axis of time, if the tensor at hand has one."""
        return [self.steps_axis] if self.over_time and not self.streaming else []

    @cached_property
    def steps(self) -> str:
        """0 ... time-1 as (1, time)."""
        graph = self.graph
        shape = graph.add("Shape", self.x)
        end = graph.add("Gather", shape, graph.constant(np.int64(1)))
        steps = graph.add("Range", graph.constant(np.int64(0)), end, graph.constant(np.int64(1)))
        return graph.add("Unsqueeze", steps, graph.integers(0))

    @cached_property
    def column(self) -> str:
        """The lengths as (batch, 1)."""
        assert self.lengths is not None  # asked for nowhere else
        return self.graph.add("Unsqueeze", self.graph.cast(self.lengths, np.int64), self.graph.integers(1))

    @cached_property
    def valid(self) -> str:
        """Which steps are no padding, (batch, time)."""
        return self.graph.add("Less", self.steps, self.column)

    def within(self, tensor: str, instead: float = 0.0) -> str:
        """(batch, time, F) with this number in place of the padding."""
        if self.lengths is None:
            return tensor
        valid = self.graph.add("Unsqueeze", self.valid, self.graph.integers(2))
        return self.graph.add("Where", valid, tensor, self.graph.constant(instead))

    def begin(self, kind: str, layer: nn.Layer, axes: Axes) -> tuple[str, str]:
        """An input for what this layer carries from step to step; its name, and that of the output."""
        own = f"_{layer.name}" if kind == "h" and self.recurrent > 1 else ""
        return self.graph.input(f"{kind}0{own}", self.graph.dtype, axes), f"{kind}_n{own}"


def write_layer(body: Body, layer: nn.Layer, x: str) -> str:
    """The nodes of one layer."""
    writer = _WRITERS.get(type(layer))
    if writer is None:
        reason = _GRUD if type(layer) is nn.GRUD else f"only {', '.join(k.__name__ for k in _WRITERS)} can"
        raise ConversionError(f"{layer.kind} can't be written as ONNX: {reason}.")
    body.graph.enter(layer.name)
    return writer(body, layer, x)


# ------------------------------------------------------------------------------------------------------ symbols


def _one_hot(body: Body, layer: nn.OneHot, x: str) -> str:
    return _looked_up(body, layer, x, np.eye(len(_vocabulary(layer))))


def _embedding(body: Body, layer: nn.Embedding, x: str) -> str:
    return _looked_up(body, layer, x, layer.parameters["weight"])


def _looked_up(body: Body, layer: nn.OneHot | nn.Embedding, x: str, rows: Array) -> str:
    """The row of each symbol. Of one that is not in the vocabulary there is none, at which runtimes stop."""
    graph = body.graph
    index = _indices(graph, _vocabulary(layer), x)
    body.width = rows.shape[1]
    if body.lengths is not None:
        index = graph.add("Where", body.valid, index, graph.constant(np.int64(0)))
    return graph.add("Gather", graph.constant(rows.astype(graph.dtype), "weight"), index, axis=0)


def _vocabulary(layer: nn.OneHot | nn.Embedding) -> Array:
    assert layer.vocabulary is not None  # the model is built
    return layer.vocabulary


def _indices(graph: Graph, vocabulary: Array, x: str) -> str:
    """Where each symbol stands in the vocabulary; of others, how many symbols there are."""
    size = len(vocabulary)
    if vocabulary.dtype.kind != "U" and vocabulary[-1] - vocabulary[0] == size - 1:  # whole numbers without a gap
        index = graph.add("Sub", x, graph.constant(np.int64(vocabulary[0])))
        above = graph.add("GreaterOrEqual", index, graph.constant(np.int64(0)))
        known = graph.add("And", above, graph.add("Less", index, graph.constant(np.int64(size))))
        return graph.add("Where", known, index, graph.constant(np.int64(size)))
    keys = "keys_strings" if vocabulary.dtype.kind == "U" else "keys_int64s"
    table = {keys: vocabulary.tolist(), "values_int64s": list(range(size)), "default_int64": size}
    return graph.add("LabelEncoder", x, domain="ai.onnx.ml", **table)


# ---------------------------------------------------------------------------------------------------- recurrence


def _gru(body: Body, layer: nn.GRU, x: str) -> str:
    graph, core = body.graph, layer.core
    settings: dict[str, Any] = {"dtype": graph.dtype.name, "allow_cast": body.allow_cast}
    check_writable(core, report=body.report, **settings)
    body.rounded |= graph.dtype == np.float64 and _rounds(core)
    body.width = core.directions * core.hidden_size
    if body.streaming:
        return _gru_step(body, layer, x, settings)
    turned = graph.add("Transpose", x, perm=[1, 0, 2])
    written = gru_nodes(core, turned, lengths=body.lengths, prefix=graph.prefix, **settings)
    graph.extend(written.nodes, written.initializers)
    if layer.sequences:
        return graph.add("Transpose", written.output, perm=[1, 0, 2])
    body.over_time = False
    return _last_layer(graph, layer, written.h_n)


def _rounds(core: grus.GRU) -> bool:
    """Whether a number of its activations, which a GRU node holds as float32, is none."""
    form = core.formulation
    of = form.activation, form.reset_activation
    numbers = [number for each in of for number in (*each.parameters.values(), each.clip or 0.0)]
    return any(float(np.float32(number)) != number for number in numbers)


def _last_layer(graph: Graph, layer: nn.GRU, h_n: str) -> str:
    """(batch, directions*H) of h_n (layers*directions, batch, H)."""
    D, H, rows = layer.core.directions, layer.core.hidden_size, layer.core.num_layers * layer.core.directions
    own = graph.add("Gather", h_n, graph.integers(*range(rows - D, rows)), axis=0)
    turned = graph.add("Transpose", own, perm=[1, 0, 2])
    return graph.add("Reshape", turned, graph.integers(0, D * H))  # 0: as it is


def _gru_step(body: Body, layer: nn.GRU, x: str, settings: dict[str, Any]) -> str:
    """One step: x (batch, I) to the last layer's state (batch, H)."""
    core, graph = layer.core, body.graph
    if obstacle := layer.obstacle_to_chunks():
        raise ConversionError(f"a graph of one step can't have it: {obstacle}")
    axes = (core.num_layers, "batch", core.hidden_size)
    before, after = body.begin("h", layer, axes)
    step = graph.add("Unsqueeze", x, graph.integers(0))
    written = gru_nodes(core, step, h0=before, prefix=graph.prefix, **settings)
    graph.extend(written.nodes, written.initializers)
    first = None
    if core.learn_h0:
        first = np.stack([core.parameters[f"h0_l{k}"] for k in range(core.num_layers)])[:, None]
    body.states.append(State(layer.name, before, after, axes, written.h_n, first))
    return _last_layer(graph, layer, written.h_n)


# -------------------------------------------------------------------------------------------------------- others


def _pool(body: Body, layer: nn.Pool, x: str) -> str:
    body.over_time = False
    if body.streaming:
        return x if layer.how == "last" else _pool_step(body, layer, x)
    return {"last": _last, "mean": _mean, "max": _largest}[layer.how](body, x)


def _last(body: Body, x: str) -> str:
    graph = body.graph
    if body.lengths is None:
        return graph.add("Gather", x, graph.constant(np.int64(-1)), axis=1)
    at = graph.add("Equal", body.steps, graph.add("Sub", body.column, graph.constant(np.int64(1))))
    alone = graph.add("Where", graph.add("Unsqueeze", at, graph.integers(2)), x, graph.constant(0.0))
    return graph.over_steps("ReduceSum", alone)


def _mean(body: Body, x: str) -> str:
    graph = body.graph
    if body.lengths is None:
        return graph.over_steps("ReduceMean", x)
    total = graph.over_steps("ReduceSum", body.within(x))
    count = graph.cast(graph.add("Max", body.column, graph.constant(np.int64(1))), graph.dtype)
    return graph.add("Div", total, count)


def _largest(body: Body, x: str) -> str:
    graph = body.graph
    most = graph.over_steps("ReduceMax", body.within(x, -np.inf))
    if body.lengths is None:
        return most
    some = graph.add("Greater", body.column, graph.constant(np.int64(0)))
    return graph.add("Where", some, most, graph.constant(0.0))


def _pool_step(body: Body, layer: nn.Pool, x: str) -> str:
    """The mean or the largest of all steps so far.

    What is carried is (batch, F+1): the sums, or the largest, and in the last column how many steps there were.
    """
    graph, axes = body.graph, ("batch", int(body.width) + 1)
    before, after = body.begin("pool", layer, axes)
    last, rest = graph.integers(-1), graph.integers(axes[1])
    pooled = graph.add("Slice", before, graph.integers(0), last, graph.integers(1))
    count = graph.add("Slice", before, last, rest, graph.integers(1))
    if layer.how == "mean":
        pooled = graph.add("Add", pooled, x)
    else:
        begun = graph.add("Greater", count, graph.constant(0.0))
        pooled = graph.add("Where", begun, graph.add("Max", pooled, x), x)
    count = graph.add("Add", count, graph.constant(1.0))
    body.states.append(State(layer.name, before, after, axes, graph.add("Concat", pooled, count, axis=1)))
    return graph.add("Div", pooled, count) if layer.how == "mean" else pooled


def _flatten(body: Body, layer: nn.Flatten, x: str) -> str:
    if body.streaming:
        raise ConversionError(f"a graph of one step can't have it: {layer.obstacle_to_chunks()}")
    body.width, body.over_time = "F", False
    return body.graph.add("Flatten", x, axis=1)


def _dense(body: Body, layer: nn.Dense, x: str) -> str:
    graph, of, body.width = body.graph, layer.parameters, layer.units
    weight = graph.constant(np.ascontiguousarray(of["weight"].T.astype(graph.dtype)), "weight")
    a = graph.add("MatMul", x, weight)
    if layer.bias:
        a = graph.add("Add", a, graph.constant(of["bias"].astype(graph.dtype), "bias"))
    return activated(graph, layer.activation, a)


def _dropout(body: Body, layer: nn.Dropout, x: str) -> str:
    if body.report is not None and layer.rate:
        body.report.note(f"{layer.name}, rate {layer.rate:g}: acts only in training and does not go to ONNX")
    return x


_WRITERS: dict[type, Callable[[Body, Any, str], str]] = {
    nn.OneHot: _one_hot,
    nn.Embedding: _embedding,
    nn.GRU: _gru,
    nn.Pool: _pool,
    nn.Flatten: _flatten,
    nn.Dense: _dense,
    nn.Dropout: _dropout,
}
