"""Running ONNX graphs: in ONNX Runtime, and in ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from grus.conversion.errors import ConversionError
from grus.conversion.onnx_formula import onnx_gru

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]
_ATTRIBUTES = (
    "activations", "activation_alpha", "activation_beta", "clip", "direction", "layout", "linear_before_reset",
)  # fmt: skip


class GRU(OpRun):  # type: ignore[misc]  # of an untyped library; the name is the operator's
    """The evaluator's GRU node with what its own leaves out: activations, clip and sequence_lens."""

    op_domain = ""

    def _run(self, X: Array, W: Array, R: Array, *rest: Any, **_: Any) -> tuple[Array, ...]:
        given = {name: getattr(self, name, None) for name in _ATTRIBUTES}
        return onnx_gru(X, W, R, *rest, **given)[: len(self.onnx_node.output)]


def in_evaluator(model: Any) -> Run:
    """Run a model in ONNX's reference evaluator: its own GRU where that knows every node, else the formula."""
    nodes = [node for node in model.graph.node if node.op_type == "GRU"]
    own = all(map(_evaluator_knows, nodes))
    evaluator = ReferenceEvaluator(model, new_ops=None if own else [GRU])
    names = [each.name for each in model.graph.output]

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with np.errstate(over="ignore"):  # its sigmoid's e^-x
            return dict(zip(names, evaluator.run(None, dict(inputs)), strict=True))

    return run


def attributes_of_node(node: Any) -> dict[str, Any]:
    """A node's attributes, texts decoded."""
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    decoded: dict[str, Any] = {name: value.decode() for name, value in given.items() if isinstance(value, bytes)}
    if "activations" in given:
        decoded["activations"] = [name.decode() for name in given["activations"]]
    return given | decoded


def _evaluator_knows(node: Any) -> bool:
    """Whatever its version: older ones run every direction forward."""
    given = attributes_of_node(node)
    return (
        given.get("direction", "forward") == "forward"
        and given.get("activations", ["Sigmoid", "Tanh"]) == ["Sigmoid", "Tanh"]
        and "clip" not in given
        and not any(node.input[4:5])
    )


def in_onnxruntime(model: Any) -> Run:
    """Run a model in ONNX Runtime, on the processor."""
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that it does not export
        raise ConversionError(f"ONNX Runtime {runtime.__version__} does not take the graph: {error}") from error
    names = [each.name for each in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "an exported graph is checked in ONNX Runtime, which is not installed: pip install grus[onnx]"
        ) from error
    return onnxruntime


def one_node(node: Any, dtype: str, inputs: Mapping[str, Array]) -> tuple[Array, Array]:
    """Y and Y_h of a GRU node by itself, its inputs X, W, R ... handed in under these names."""
    order = ("X", "W", "R", "B", "sequence_lens", "initial_h")
    own = onnx.NodeProto()
    own.CopyFrom(node)
    del own.input[:], own.output[:]
    names = [name if name in inputs else "" for name in order]
    own.input.extend(names)
    own.output.extend(["Y", "Y_h"])
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in inputs.items()}
    given = [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in inputs.items()]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    results = [helper.make_tensor_value_info(name, kind, None) for name in ("Y", "Y_h")]
    graph = helper.make_graph([own], "gru", given, results)
    found = in_evaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]))(inputs)
    return found["Y"], found["Y_h"]
