"""Every activation that ONNX's GRU names, in each of its places, against ONNX.

The reference evaluator computes in float64, ONNX Runtime in float32. ``alpha`` and ``beta`` are always written:
where they are not, ONNX Runtime takes 0 for those of Affine, ScaledTanh and ThresholdedRelu. A node holds them as
float32, so they are sums of a few powers of two here.
"""

from __future__ import annotations

import itertools
import re
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import grus
from grus.activations import ELEMENTWISE
from grus.functional import GRUParams
from test_onnx import (
    DIRECTIONS,
    assert_same,
    evaluator,
    onnx,
    onnx_model,
    onnx_weights,
    our_layout,
    random_case,
    run_grus,
    run_onnxruntime,
)

common = pytest.importorskip("onnx.reference.ops.op_gru")

Array = np.ndarray[Any, np.dtype[Any]]
Named = tuple[str, dict[str, float]]  # a function's name in ONNX, and its parameters


def function(theirs: str, ours: str, **parameters: float) -> Any:
    """A function as ONNX has it, and as grus has it."""
    activation = grus.Activation(ours, **parameters)
    return pytest.param((theirs, parameters), activation, id=repr(activation))


FUNCTIONS = [
    function("Relu", "relu"),
    function("Tanh", "tanh"),
    function("Sigmoid", "sigmoid"),
    function("Affine", "affine", alpha=0.625, beta=-0.25),
    function("Affine", "affine", alpha=-0.5, beta=0.375),
    function("LeakyRelu", "leaky_relu", alpha=0.375),
    function("ThresholdedRelu", "thresholded_relu", alpha=0.375),
    function("ScaledTanh", "scaled_tanh", alpha=0.75, beta=1.25),
    function("ScaledTanh", "scaled_tanh", alpha=-0.625, beta=0.75),
    function("HardSigmoid", "hard_sigmoid", alpha=0.375, beta=0.4375),
    function("Elu", "elu", alpha=0.75),
    function("Softsign", "softsign"),
    function("Softplus", "softplus"),
]
SIGMOID: Named = ("Sigmoid", {})
TANH: Named = ("Tanh", {})


# -------------------------------------------------------------------------------------- a GRU of the evaluator


@cache
def operator(name: str, alpha: float | None, beta: float | None) -> Any:
    """The evaluator's own operator; Affine and ScaledTanh, which ONNX no longer has, of those that it has."""
    constants = {"alpha": alpha, "beta": beta}
    nodes = {
        "Affine": [("Mul", ["a", "alpha"], "scaled"), ("Add", ["scaled", "beta"], "y")],
        "ScaledTanh": [("Mul", ["a", "beta"], "scaled"), ("Tanh", ["scaled"], "t"), ("Mul", ["t", "alpha"], "y")],
    }.get(name)
    if nodes is None:
        attributes = {key: value for key, value in constants.items() if value is not None}
        made, held = [onnx.helper.make_node(name, ["a"], ["y"], **attributes)], []
    else:
        made = [onnx.helper.make_node(kind, names, [result]) for kind, names, result in nodes]
        held = [onnx.numpy_helper.from_array(np.array(value), key) for key, value in constants.items()]
    ends = [[onnx.helper.make_tensor_value_info(end, onnx.TensorProto.DOUBLE, None)] for end in "ay"]
    graph = onnx.helper.make_graph(made, name, *ends, initializer=held)
    return evaluator.ReferenceEvaluator(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    )


def apply(named: Named, clip: float | None, a: Array) -> Array:
    """An activation of ONNX at a pre-activation that is cut first."""
    a = a if clip is None else np.clip(a, -clip, clip)
    name, parameters = named
    return np.asarray(operator(name, parameters.get("alpha"), parameters.get("beta")).run(None, {"a": a})[0])


def gru_with(gate: Named, new: Named, clip: float | None) -> type:
    """The evaluator's GRU, which ignores ``activations`` and ``clip``, with them."""
    functions = {"f": staticmethod(partial(apply, gate, clip)), "g": staticmethod(partial(apply, new, clip))}
    return type("GRU", (common.CommonGRU,), {"op_domain": "", **functions})


def run_evaluator(
    params: list[GRUParams], direction: str, reset_after: bool, x: Array, h0: Array, node: type
) -> tuple[Array, Array]:
    """Output (T, B, D*H) and h_n (D, B, H); the reverse direction is a forward run over the flipped input."""
    found = []
    for d, own in enumerate(params):
        turn = -1 if direction == "reverse" or d == 1 else 1
        inputs = {"X": x[::turn], **onnx_weights([own]), "initial_h": h0[d : d + 1]}
        model = onnx_model(inputs, hidden_size=h0.shape[-1], linear_before_reset=int(reset_after))
        states, last = evaluator.ReferenceEvaluator(model, new_ops=[node]).run(None, inputs)
        found.append((states[::turn], last.reshape(1, *h0.shape[1:])))
    outputs, last_states = zip(*found, strict=True)
    return our_layout(np.concatenate(outputs, axis=1)), np.concatenate(last_states)


def attributes_of(gate: Named, new: Named, clip: float | None, direction: str) -> dict[str, Any]:
    """The same as a node's attributes, once for each direction."""
    both = [gate, new] * (2 if direction == "bidirectional" else 1)
    given: dict[str, Any] = {"activations": [name for name, _ in both]}
    for key in ("alpha", "beta"):
        given[f"activation_{key}"] = [parameters[key] for _, parameters in both if key in parameters]
    given = {name: value for name, value in given.items() if value}
    return given if clip is None else given | {"clip": clip}


def small_case(direction: str, dtype: str) -> tuple[list[GRUParams], Array, Array]:
    """Few steps and halves, so that unbounded functions stay moderate: ONNX Runtime's Softplus overflows at 89."""
    params, x, h0 = random_case(direction, True, dtype, batch=3, steps=4)
    half = np.dtype(dtype).type(0.5)
    return [GRUParams(*(p if p is None else p * half for p in each)) for each in params], x, h0 * half


# --------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("role", ["new", "gates", "both"])
@pytest.mark.parametrize(("named", "own"), FUNCTIONS)
def test_reference_evaluator(
    named: Named, own: grus.Activation, role: str, direction: str, reset_after: bool, clip: float | None
) -> None:
    params, x, h0 = small_case(direction, "float64")
    node = gru_with(SIGMOID if role == "new" else named, TANH if role == "gates" else named, clip)
    expected = run_evaluator(params, direction, reset_after, x, h0, node)
    found = run_grus(params, direction, reset_after, x, h0, **options_of(own, role, clip))
    assert_same(found, expected, "float64")


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("role", ["new", "gates", "both"])
@pytest.mark.parametrize(("named", "own"), FUNCTIONS)
def test_onnxruntime(
    named: Named, own: grus.Activation, role: str, direction: str, reset_after: bool, clip: float | None
) -> None:
    params, x, h0 = small_case(direction, "float32")
    of = SIGMOID if role == "new" else named, TANH if role == "gates" else named
    expected = run_onnxruntime(params, direction, reset_after, x, h0, **attributes_of(*of, clip, direction))
    found = run_grus(params, direction, reset_after, x, h0, **options_of(own, role, clip))
    assert_same(found, expected, "float32")


def options_of(own: grus.Activation, role: str, clip: float | None) -> dict[str, Any]:
    """The keywords of grus."""
    roles = {"new": ["activation"], "gates": ["gate_activation"], "both": ["activation", "gate_activation"]}[role]
    of = {"activation": grus.Activation("tanh"), "gate_activation": grus.Activation("sigmoid")}
    of |= dict.fromkeys(roles, own)
    return of if clip is None else {name: each.clipped(clip) for name, each in of.items()}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_alpha_and_beta_belong_to_the_functions_in_their_order(direction: str) -> None:
    """Both functions have both parameters, all four of them different."""
    gate, new = ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("ScaledTanh", {"alpha": 0.7, "beta": 1.3})
    params, x, h0 = small_case(direction, "float32")
    expected = run_onnxruntime(params, direction, True, x, h0, **attributes_of(gate, new, None, direction))
    own = {
        "activation": grus.Activation("scaled_tanh", **new[1]),
        "gate_activation": grus.Activation("hard_sigmoid", **gate[1]),
    }
    assert_same(run_grus(params, direction, True, x, h0, **own), expected, "float32")


@pytest.mark.parametrize(
    ("operator_name", "own"),
    [
        ("LeakyRelu", "leaky_relu"),
        ("ThresholdedRelu", "thresholded_relu"),
        ("HardSigmoid", "hard_sigmoid_keras2"),
        ("Elu", "elu"),
    ],
)
def test_defaults_are_those_of_the_operators(operator_name: str, own: str) -> None:
    """A GRU's functions have them too, by the text of its attributes; Affine and ScaledTanh are no operators."""
    schema = onnx.defs.get_schema(operator_name)
    defaults = {name: np.float32(each.default_value.f) for name, each in schema.attributes.items()}
    parameters = grus.Activation(own).parameters
    assert {name: np.float32(value) for name, value in parameters.items()} == defaults


def test_every_function_of_onnx_is_here() -> None:
    """The text of the operator lists them, as in ``* Softsign(x) - x/(1 + |x|)``."""
    listed = set(re.findall(r"^\* (\w+)\(x\)", onnx.defs.get_schema("GRU").doc, re.MULTILINE))
    assert len(listed) == 11
    assert listed == {each.values[0][0] for each in FUNCTIONS}
    assert {each.values[1].name for each in FUNCTIONS} | {"identity", "hard_sigmoid_keras2"} == set(ELEMENTWISE)


def test_defaults_that_onnx_does_not_name_change_nothing() -> None:
    a = np.linspace(-3, 3, 50)
    np.testing.assert_array_equal(grus.Activation("affine")(a), a)
    np.testing.assert_array_equal(grus.Activation("scaled_tanh")(a), np.tanh(a))


def test_softmax_is_refused() -> None:
    """ONNX's GRU does not name it either."""
    for role, direction in itertools.product(("activation", "gate_activation"), DIRECTIONS):
        params, x, h0 = random_case(direction, True, "float32")
        with pytest.raises(ValueError, match=r"got 'softmax', which mixes the units: put it in a Dense layer"):
            run_grus(params, direction, True, x, h0, **{role: "softmax"})
