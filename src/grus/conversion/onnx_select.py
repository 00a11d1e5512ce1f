"""Which GRU nodes of an ONNX graph make one GRU: a node by name, or a stack of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from grus.conversion.errors import ConversionError
from grus.conversion.onnx_run import attributes_of_node

Array = np.ndarray[Any, np.dtype[Any]]
# What may stand between a stored array and the node that reads it.
_FOLDABLE = {
    "Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A GRU node and the graph that it stands in."""

    node: Any
    graph: Graph

    @property
    def name(self) -> str:
        """Its name, or that of its first output."""
        return name_of(self.node)

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes_of_node(self.node)


def name_of(node: Any) -> str:
    return str(node.name or next(each for each in node.output if each))


class Graph:
    """Who gives which name, and what is constant."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.stored = {each.name: each for each in model.graph.initializer}
        self.inputs = {each.name for each in model.graph.input} - set(self.stored)
        self.giver = {name: node for node in model.graph.node for name in node.output if name}

    def needed(self, name: str, stops: Iterable[str] = ()) -> tuple[list[Any], set[str]]:
        """The nodes that compute ``name`` from ``stops``, in the graph's order, and where they begin."""
        found, ends, left = [], set(), [name]
        seen = set(stops)
        while left:
            current = left.pop()
            if current in seen or not current:
                if current in stops:
                    ends.add(current)
                continue
            seen.add(current)
            giver = self.giver.get(current)
            if giver is None:
                ends.add(current)
            elif giver not in found:
                found.append(giver)
                left += giver.input
        return [node for node in self.model.graph.node if node in found], ends

    def constant(self, name: str) -> Array | None:
        """The array of that name, where it is stored, or made from what is stored."""
        if name in self.stored:
            return np.asarray(numpy_helper.to_array(self.stored[name]))
        nodes, ends = self.needed(name)
        if not nodes or ends - set(self.stored) or {node.op_type for node in nodes} - _FOLDABLE:
            return None
        return self.evaluate(nodes, name, {})

    def evaluate(self, nodes: Sequence[Any], result: str, given: dict[str, Array]) -> Array | None:
        """What these nodes make of arrays, or None where the evaluator can't tell."""
        infos = [_info(name, array.dtype, array.shape) for name, array in given.items()]
        stored = [self.stored[name] for name in {each for node in nodes for each in node.input} & set(self.stored)]
        graph = helper.make_graph(list(nodes), "part", infos, [_info(result, np.dtype("float32"), None)], stored)
        model = helper.make_model(graph, opset_imports=self.model.opset_import)
        try:
            return np.asarray(ReferenceEvaluator(model).run([result], given)[0])
        except Exception:  # it raises whatever NumPy raises
            return None


def _info(name: str, dtype: np.dtype[Any], shape: Any) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


# ------------------------------------------------------------------------------------------------- the choice


def select(model: Any, wanted: str | Sequence[str] | None) -> list[Layer]:
    """The layers of one GRU, in order."""
    graph = Graph(model)
    layers = [Layer(n, graph) for n in model.graph.node if n.op_type == "GRU" and n.domain in ("", "ai.onnx")]
    if not layers:
        others = sorted({node.op_type for node in model.graph.node})
        raise ConversionError(f"the model holds no GRU node; it has {', '.join(others) or 'no nodes'}.")
    if wanted is not None:
        return _by_name(layers, [wanted] if isinstance(wanted, str) else list(wanted))
    chains, reasons = _chains(layers)
    if len(chains) > 1:
        listed = "; ".join(" + ".join(repr(layer.name) for layer in chain) for chain in chains)
        why = f" ({'; '.join(reasons)})" if reasons else ""
        one = [layer.name for layer in chains[0]]
        raise ConversionError(
            f"the model holds {len(layers)} GRU nodes that are not one stack: {listed}{why}. Choose with "
            f"node={(one[0] if len(one) == 1 else one)!r}."
        )
    return chains[0]


def _by_name(layers: Sequence[Layer], names: Sequence[str]) -> list[Layer]:
    chosen = []
    for name in names:
        found = [layer for layer in layers if layer.name == name]
        if len(found) != 1:
            raise ConversionError(
                f"node must name one GRU node, of {', '.join(repr(layer.name) for layer in layers)}; got {name!r}."
            )
        chosen += found
    for below, above in itertools.pairwise(chosen):
        if reason := _unjoined(below, above):
            raise ConversionError(f"{above.name!r} does not read {below.name!r} as the next layer: {reason}.")
    return chosen


def _chains(layers: Sequence[Layer]) -> tuple[list[list[Layer]], list[str]]:
    """Layers each of which reads the one before, and why others that read another do not."""
    chains: list[list[Layer]] = []
    reasons = []
    for above in layers:
        below = _feeders(above, layers)
        chain = next((c for c in chains if len(below) == 1 and c[-1] is below[0]), None)
        reason = _unjoined(below[0], above) if len(below) == 1 else ""
        if chain is not None and not reason:
            chain.append(above)
            continue
        if reason:
            reasons.append(f"{above.name!r} does not read {below[0].name!r} as the next layer: {reason}")
        chains.append([above])
    return chains, reasons


def _feeders(above: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """The GRU nodes whose outputs a node's X is made of, with no other GRU between."""
    outputs = {name: layer for layer in layers for name in layer.node.output if name}
    _, ends = above.graph.needed(above.node.input[0], outputs)
    found: list[Layer] = []
    for name in sorted(ends & set(outputs)):
        if outputs[name] not in found:
            found.append(outputs[name])
    return found


def _unjoined(below: Layer, above: Layer) -> str:
    """Why what stands between Y and the next X is more than joining the directions, or ""."""
    y, x = below.node.output[0], above.node.input[0]
    nodes, ends = below.graph.needed(x, [y] if y else [])
    between = ", ".join(node.op_type for node in nodes) or "nothing"
    if not y or y not in ends:
        return f"it does not read its Y ({between} stands before it)"
    if ends - {y} - set(below.graph.stored):
        return f"{between} reads {', '.join(sorted(ends - {y} - set(below.graph.stored)))} too"
    D = 2 if below.attributes.get("direction") == "bidirectional" else 1
    T, N, H = *_static(below, y), _hidden(below)
    probe = np.random.default_rng(0).standard_normal((T, D, N, H)).astype("float32")
    expected = probe.transpose(0, 2, 1, 3).reshape(T, N, D * H)
    given = probe.transpose(2, 0, 1, 3) if below.attributes.get("layout") else probe
    got = below.graph.evaluate(nodes, x, {y: given}) if nodes else given
    if above.attributes.get("layout") and got is not None and got.ndim == 3:
        got = got.swapaxes(0, 1)
    same = got is not None and got.shape == expected.shape and bool((got == expected).all())
    return "" if same else f"{between} between them does more than join the directions"


def _hidden(layer: Layer) -> int:
    recurrent = layer.graph.constant(layer.node.input[2])
    if recurrent is None or not recurrent.ndim:
        return int(layer.attributes.get("hidden_size", 1))
    return int(recurrent.shape[-1])


def _static(layer: Layer, y: str) -> tuple[int, int]:
    """T and N where the graph fixes them, as files exported from one example do; any numbers otherwise."""
    try:
        inferred = onnx.shape_inference.infer_shapes(layer.graph.model)
    except Exception:  # shapes are a help here, no more
        return 5, 3
    for info in inferred.graph.value_info:
        axes = info.type.tensor_type.shape.dim
        if info.name == y and len(axes) == 4:
            steps, rows = (axes[1], axes[0]) if layer.attributes.get("layout") else (axes[0], axes[2])
            return steps.dim_value or 5, rows.dim_value or 3
    return 5, 3
