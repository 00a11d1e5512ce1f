"""An ONNX graph, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

try:
    import onnx
except ImportError as error:
    raise ImportError('this needs onnx. Install it: pip install "grus[onnx]"') from error

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]
Axes = Sequence[int | str]  # numbers, and names of what varies
OLDEST = 14  # the first opset whose GRU is as it is today
AXES_ARE_INPUTS = 18  # from this opset on for all reductions, before it for ReduceSum alone
ML_OPSET = 2  # of ai.onnx.ml, whose LabelEncoder looks symbols up


class Graph:
    """Nodes in their order, with what they read and give.

    Tensors go by their names. Numbers are of ``dtype`` unless one says otherwise.
    """

    def __init__(self, dtype: np.dtype[Any], opset: int = OLDEST) -> None:
        self.dtype, self.opset = dtype, opset
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: list[Any] = []
        self._names: set[str] = set()
        self.prefix = ""
        self._domains = {"": opset}

    def enter(self, name: str) -> None:
        """What comes next belongs to this layer: its names begin so."""
        self.prefix = f"{name}/" if name else ""

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node; its output's name."""
        if domain:
            self._domains[domain] = ML_OPSET
        name = self._unique(op.lower())
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, value: Any, name: str = "constant") -> str:
        """An array, of its own dtype; a Python float is of the graph's."""
        array = np.asarray(value, self.dtype) if isinstance(value, float) else np.asarray(value)
        name = self._unique(name)
        if array.dtype.kind in "UO":
            texts = [str(each).encode() for each in array.ravel().tolist()]
            tensor = onnx.helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, texts)
        else:
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self.constants.append(tensor)
        return name

    def extend(self, nodes: Sequence[Any], constants: Sequence[Any]) -> None:
        """Nodes and constants that were made elsewhere, under names of their own."""
        self.nodes.extend(nodes)
        self.constants.extend(constants)

    def integers(self, *values: int) -> str:
        """A vector of int64, such as the axes of an operator."""
        return self.constant(np.array(values, np.int64), "axes")

    def input(self, name: str, dtype: Any, axes: Axes) -> str:
        """An input of the graph; dtype str is text."""
        self._names.add(name)
        self.inputs.append(onnx.helper.make_tensor_value_info(name, element(dtype), list(axes)))
        return name

    def output(self, name: str, tensor: str, dtype: Any, axes: Axes) -> None:
        """Give a tensor out under this name."""
        self.nodes.append(onnx.helper.make_node("Identity", [tensor], [name], name=f"give {name}"))
        self.outputs.append(onnx.helper.make_tensor_value_info(name, element(dtype), list(axes)))

    def over_steps(self, op: str, tensor: str) -> str:
        """A reduction of (batch, time, F) to (batch, F)."""
        if op == "ReduceSum" or self.opset >= AXES_ARE_INPUTS:
            return self.add(op, tensor, self.integers(1), keepdims=0)
        return self.add(op, tensor, axes=[1], keepdims=0)

    def cast(self, tensor: str, dtype: Any) -> str:
        return self.add("Cast", tensor, to=element(dtype))

    def model(self, name: str, version: str, notes: Mapping[str, str]) -> Any:
        """The whole as a ModelProto that onnx's checker has seen."""
        graph = onnx.helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opsets = [onnx.helper.make_opsetid(domain, number) for domain, number in self._domains.items()]
        about = {"opset_imports": opsets, "producer_name": "grus", "producer_version": version}
        model = onnx.helper.make_model(graph, **about)
        model.ir_version = onnx.helper.find_min_ir_version_for(opsets)
        onnx.helper.set_model_props(model, dict(notes))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _unique(self, name: str) -> str:
        name, count = f"{self.prefix}{name}", 1
        unique = name
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique


def element(dtype: Any) -> int:
    """ONNX's number of a dtype; str is text."""
    kind = np.dtype(dtype)
    return int(onnx.TensorProto.STRING if kind.kind in "UO" else onnx.helper.np_dtype_to_tensor_dtype(kind))


def checked_opset(opset: int) -> int:
    """One that has the operators and that the installed onnx knows."""
    newest = onnx.defs.onnx_opset_version()
    if _check.size("opset", opset, minimum=OLDEST) > newest:
        raise ValueError(f"opset must be {OLDEST} ... {newest}, which the installed onnx knows; got {opset}.")
    return opset
