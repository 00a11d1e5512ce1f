"""Activations of a Dense layer as nodes of ONNX.

Parameters are tensors, never attributes, which are float32 whatever the graph is.
"""

from __future__ import annotations

from collections.abc import Callable

from grus.activations import Activation
from grus.conversion.onnx_graph import Graph


def activated(graph: Graph, activation: Activation, a: str) -> str:
    """The activation of a tensor."""
    if activation.name == "softmax":  # over the last axis, and never clipped
        scaled = graph.add("Div", a, graph.constant(float(activation.parameters["temperature"]), "temperature"))
        return graph.add("Softmax", scaled, axis=-1)
    if activation.clip is not None:
        a = graph.add("Clip", a, graph.constant(-float(activation.clip)), graph.constant(float(activation.clip)))
    return _WRITERS[activation.name](graph, a, **activation.parameters)


def _leaky_relu(graph: Graph, a: str, alpha: float) -> str:
    return _where_negative(graph, a, graph.add("Mul", a, graph.constant(float(alpha), "alpha")))


def _elu(graph: Graph, a: str, alpha: float) -> str:
    """Of other operators, because ONNX Runtime has no Elu of float64, and no Softsign."""
    negative = graph.add("Sub", graph.add("Exp", graph.add("Min", a, graph.constant(0.0))), graph.constant(1.0))
    return _where_negative(graph, a, graph.add("Mul", negative, graph.constant(float(alpha), "alpha")))


def _softsign(graph: Graph, a: str) -> str:
    return graph.add("Div", a, graph.add("Add", graph.add("Abs", a), graph.constant(1.0)))


def _where_negative(graph: Graph, a: str, instead: str) -> str:
    return graph.add("Where", graph.add("Less", a, graph.constant(0.0)), instead, a)


def _affine(graph: Graph, a: str, alpha: float, beta: float) -> str:
    scaled = graph.add("Mul", a, graph.constant(float(alpha), "alpha"))
    return graph.add("Add", scaled, graph.constant(float(beta), "beta"))


def _hard_sigmoid(graph: Graph, a: str, alpha: float, beta: float) -> str:
    return graph.add("Clip", _affine(graph, a, alpha, beta), graph.constant(0.0), graph.constant(1.0))


def _thresholded_relu(graph: Graph, a: str, alpha: float) -> str:
    above = graph.add("Greater", a, graph.constant(float(alpha), "alpha"))
    return graph.add("Where", above, a, graph.constant(0.0))


def _scaled_tanh(graph: Graph, a: str, alpha: float, beta: float) -> str:
    inside = graph.add("Mul", a, graph.constant(float(beta), "beta"))
    return graph.add("Mul", graph.add("Tanh", inside), graph.constant(float(alpha), "alpha"))


def _softplus(graph: Graph, a: str) -> str:
    """log(1 + e^a) with only e^-|a| ever computed: some runtimes' own Softplus overflows."""
    small = graph.add("Exp", graph.add("Neg", graph.add("Abs", a)))
    return graph.add("Add", graph.add("Relu", a), graph.add("Log", graph.add("Add", small, graph.constant(1.0))))


_WRITERS: dict[str, Callable[..., str]] = {
    "identity": lambda graph, a: a,
    "tanh": lambda graph, a: graph.add("Tanh", a),
    "sigmoid": lambda graph, a: graph.add("Sigmoid", a),
    "relu": lambda graph, a: graph.add("Relu", a),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softsign": _softsign,
    "hard_sigmoid": _hard_sigmoid,
    "affine": _affine,
    "thresholded_relu": _thresholded_relu,
    "scaled_tanh": _scaled_tanh,
    "softplus": _softplus,
}
