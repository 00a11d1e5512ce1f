"""ONNX's GRU for the tests: its standard in NumPy, graphs of one random node, and grus as a backend.

The standard is written row by row here, each cut to its length, so that it shares nothing with the package's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import grus

onnx = pytest.importorskip("onnx", reason="could not import 'onnx', which these tests compare with")
pytest.importorskip("onnxruntime", reason="could not import 'onnxruntime', which these tests compare with")
base = pytest.importorskip("onnx.backend.base", reason="could not import 'onnx', which these tests compare with")
evaluator = pytest.importorskip("onnx.reference", reason="could not import 'onnx', which these tests compare with")

from grus.onnx import from_onnx  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h")
DEFAULTS = {"LeakyRelu": [0.01], "ThresholdedRelu": [1.0], "HardSigmoid": [0.2, 0.5], "Elu": [1.0]}
NUMBERS = {"Affine": 2, "ScaledTanh": 2, "HardSigmoid": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "Elu": 1}
BOUNDED = ("Tanh", "Sigmoid", "Softsign", "HardSigmoid", "ScaledTanh")
FUNCTIONS = ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", *NUMBERS)


def activation(name: str, a: Array, p: Sequence[float]) -> Array:
    """A function of the standard's table, one number at a time."""
    one = {
        "Relu": lambda x: max(0.0, x), "Tanh": math.tanh, "Sigmoid": lambda x: 0.5 + 0.5 * math.tanh(x / 2),
        "Affine": lambda x: p[0] * x + p[1], "LeakyRelu": lambda x: x if x >= 0 else p[0] * x,
        "ThresholdedRelu": lambda x: x if x >= p[0] else 0.0, "ScaledTanh": lambda x: p[0] * math.tanh(p[1] * x),
        "HardSigmoid": lambda x: min(max(p[0] * x + p[1], 0.0), 1.0),
        "Elu": lambda x: x if x >= 0 else p[0] * (math.exp(x) - 1), "Softsign": lambda x: x / (1 + abs(x)),
        "Softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    }[name]  # fmt: skip
    return np.array([one(float(x)) for x in a])


def parsed(attributes: dict[str, Any], D: int) -> list[tuple[str, list[float]]]:
    """Each function with its numbers: alpha, then beta, from the lists in their order, else the defaults."""
    names = attributes.get("activations", ["Sigmoid", "Tanh"] * D)
    alphas, betas = list(attributes.get("activation_alpha", [])), list(attributes.get("activation_beta", []))
    found = []
    for name in names:
        numbers = list(DEFAULTS.get(name, []))
        for i, values in enumerate((alphas, betas)[: NUMBERS.get(name, 0)]):
            if values:
                numbers[i : i + 1] = [float(np.float32(values.pop(0)))]
        found.append((name, [float(np.float32(each)) for each in numbers]))
    return found


def standard(attributes: dict[str, Any], inputs: dict[str, Array]) -> tuple[Array, Array]:
    """Y and Y_h by the standard's equations, in the node's layout, in float64."""
    of = {key: np.asarray(a, "float64") if a.dtype.kind == "f" else a for key, a in inputs.items()}
    batch_first, H = attributes.get("layout", 0), of["R"].shape[2]
    x = of["X"].swapaxes(0, 1) if batch_first else of["X"]
    T, N, D = *x.shape[:2], len(of["W"])
    h0 = of.get("initial_h", np.zeros((N, D, H) if batch_first else (D, N, H)))
    h0 = h0.swapaxes(0, 1) if batch_first else h0
    bias, functions = of.get("B", np.zeros((D, 6 * H))), parsed(attributes, D)
    limit = float(np.float32(attributes.get("clip", np.inf)))
    y, y_h = np.zeros((T, D, N, H)), h0.copy()
    for d in range(D):
        turn = -1 if d or attributes.get("direction") == "reverse" else 1
        f, g = (
            lambda a, k=k: activation(k[0], np.clip(a, -limit, limit), k[1]) for k in functions[2 * d : 2 * d + 2]
        )
        (Wz, Wr, Wh), (Rz, Rr, Rh) = of["W"][d].reshape(3, H, -1), of["R"][d].reshape(3, H, H)
        bz, br, bh, cz, cr, ch = bias[d].reshape(6, H)
        for n in range(N):
            h, steps = h0[d, n], int(of.get("sequence_lens", np.full(N, T))[n])
            for t in range(steps)[::turn]:
                v = x[t, n]
                z, r = f(Wz @ v + Rz @ h + bz + cz), f(Wr @ v + Rr @ h + br + cr)
                inner = r * (Rh @ h + ch) if attributes.get("linear_before_reset") else Rh @ (r * h) + ch
                h = y[t, d, n] = (1 - z) * g(Wh @ v + inner + bh) + z * h
            y_h[d, n] = h
    return (y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1)) if batch_first else (y, y_h)


# --------------------------------------------------------------------------------------------- graphs of one node


def info(name: str, array: Array, shape: Any = None) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape if shape is None else shape)


def one_gru(attributes: dict[str, Any], inputs: dict[str, Array], stored: Sequence[str] = ("W", "R", "B")) -> Any:
    """A model of one node named "only", with these inputs stored and the others handed in."""
    names = [name if name in inputs else "" for name in INPUTS]
    hidden = {"hidden_size": inputs["R"].shape[-1]}
    node = onnx.helper.make_node("GRU", names, ["Y", "Y_h"], name="only", **{**hidden, **attributes})
    kept = [onnx.numpy_helper.from_array(inputs[name], name) for name in stored if name in inputs]
    given = [info(name, array) for name, array in inputs.items() if name not in stored]
    results = [info("Y", inputs["X"], list("abcd")), info("Y_h", inputs["X"], list("efg"))]
    graph = onnx.helper.make_graph([node], "gru", given, results, kept)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def random_node(number: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """The attributes and the inputs of a node: everything that the operator has, each with some chance."""
    rng = np.random.default_rng(number)
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    D = 2 if direction == "bidirectional" else 1
    T, N, I, H = (int(rng.integers(1, most)) for most in (7, 6, 6, 8))
    attributes: dict[str, Any] = {"layout": int(rng.integers(2)), "linear_before_reset": int(rng.integers(2))}
    if direction != "forward" or rng.random() < 0.5:
        attributes["direction"] = direction
    if rng.random() < 0.6:
        attributes |= random_activations(rng, D)
    if rng.random() < 0.3:
        attributes["clip"] = float(rng.uniform(0.1, 1.5))
    x, states = ((N, T, I), (N, D, H)) if attributes["layout"] else ((T, N, I), (D, N, H))
    shapes = {"X": x, "W": (D, 3 * H, I), "R": (D, 3 * H, H), "B": (D, 6 * H), "initial_h": states}
    dtype = str(rng.choice(["float32", "float64"]))
    gate, new, *_ = attributes.get("activations", ["Sigmoid", "Tanh"])
    if gate not in BOUNDED or new == "ThresholdedRelu":  # rounding grows in them, or decides where they jump
        dtype = "float64"
    scale = 0.5 if gate in BOUNDED else 0.1  # a gate without bounds multiplies states by what grows with them
    inputs = {name: (rng.standard_normal(shape) * scale).astype(dtype) for name, shape in shapes.items()}
    if rng.random() < 0.4:
        inputs["sequence_lens"] = rng.integers(0, T + 1, N).astype("int32")
    for name in ("B", "initial_h"):
        if rng.random() < 0.3:
            del inputs[name]
    return attributes, inputs


def random_activations(rng: np.random.Generator, D: int) -> dict[str, Any]:
    """Two functions, the same in both directions; numbers that have defaults are not always written."""
    names = [str(name) for name in rng.choice(FUNCTIONS, 2)]
    given: dict[str, Any] = {"activations": names * D}
    if all(name in DEFAULTS or name not in NUMBERS for name in names) and rng.random() < 0.3:
        return given
    numbers = {key: [float(rng.uniform(0.1, 1.2)) for _ in range(2)] for key in ("alpha", "beta")}
    for i, (key, values) in enumerate(numbers.items()):
        taken = [value for name, value in zip(names, values, strict=True) if NUMBERS.get(name, 0) > i]
        if taken:
            given[f"activation_{key}"] = taken * D
    return given


# ---------------------------------------------------------------------------------------------- grus as a backend


def run_converted(model: Any, inputs: dict[str, Array]) -> tuple[Array, Array]:
    """Y and Y_h, in the node's layout, of the GRU that :func:`from_onnx` reads from a model of one node."""
    gru, node = from_onnx(model), next(node for node in model.graph.node if node.op_type == "GRU")
    of = {key: inputs[name] for key, name in zip(INPUTS, node.input, strict=False) if name in inputs}
    batch_first = any(each.name == "layout" and each.i for each in node.attribute)
    x = of["X"] if batch_first else of["X"].swapaxes(0, 1)
    h0 = of.get("initial_h")
    h0 = h0.swapaxes(0, 1) if batch_first and h0 is not None else h0
    output, h_n = gru(np.ascontiguousarray(x), h0, lengths=of.get("sequence_lens"))
    y = output.reshape(*output.shape[:2], gru.directions, -1)
    return (y, h_n.swapaxes(0, 1)) if batch_first else (y.transpose(1, 2, 0, 3), h_n)


class Prepared(base.BackendRep):
    def __init__(self, model: Any) -> None:
        self.model = model

    def run(self, inputs: Sequence[Array], **_: Any) -> tuple[Array, ...]:
        """W, R and B are inputs of ONNX's own tests: they are stored in the model first."""
        own, (node,) = onnx.ModelProto(), self.model.graph.node
        own.CopyFrom(self.model)
        given = dict(zip((each.name for each in own.graph.input), inputs, strict=True))
        for name in node.input[1:4]:
            if name:
                own.graph.initializer.append(onnx.numpy_helper.from_array(given[name], name))
        found = run_converted(own, given)
        return tuple(each for each, name in zip(found, node.output, strict=False) if name)


class GRUBackend(base.Backend):
    """grus as a backend of ONNX, for models of one GRU node."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **_: Any) -> Prepared:
        assert cls.supports_device(device)
        return Prepared(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


def onnx_inputs(gru: grus.GRU, batch: int = 4, steps: int = 6, seed: int = 0) -> tuple[Array, Array]:
    """x in the GRU's own layout and h0, random."""
    rng = np.random.default_rng(seed)
    rows = (batch, steps) if gru.batch_first else (steps, batch)
    x = rng.standard_normal((*rows, gru.input_size)).astype(gru.dtype)
    return x, rng.uniform(-1, 1, (gru.num_layers * gru.directions, batch, gru.hidden_size)).astype(gru.dtype)


def difference(found: Any, expected: Any) -> float:
    """The largest: absolute where numbers are below 1, relative above."""
    worst = 0.0
    for value, exact in zip(found, expected, strict=True):
        assert value.shape == exact.shape
        worst = max(worst, float(np.max(np.abs(value - exact) / np.maximum(1, np.abs(exact)), initial=0)))
    return worst
