"""Both formulations against ONNX: the reference evaluator in float64, and ONNX Runtime in float32.

ONNX stacks its gates z | r | n, and calls ``reset_after`` ``linear_before_reset``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import grus
from grus.functional import GRUParams
from helpers import assert_close
from test_golden import files_of, load

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install grus[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install grus[onnx]")
evaluator = pytest.importorskip("onnx.reference")

Array = np.ndarray[Any, np.dtype[Any]]
DIRECTIONS = ("forward", "reverse", "bidirectional")


def zrn(a: Array) -> Array:
    """Blocks stacked r | z | n as z | r | n."""
    r, z, n = np.split(a, 3)
    return np.concatenate([z, r, n])


def onnx_weights(params: list[GRUParams]) -> dict[str, Array]:
    """W (D, 3H, I), R (D, 3H, H) and, where there are biases, B (D, 6H) of the directions' parameters."""
    weights = {
        "W": np.stack([zrn(p.weight_ih) for p in params]),
        "R": np.stack([zrn(p.weight_hh) for p in params]),
    }
    if params[0].bias_ih is not None:
        weights["B"] = np.stack([np.concatenate([zrn(p.bias_ih), zrn(p.bias_hh)]) for p in params])
    return weights


def tensor_info(name: str, dtype: np.dtype[Any], shape: Any) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def onnx_model(inputs: dict[str, Array], **attributes: Any) -> Any:
    """A model of one GRU node, whose absent inputs are left out."""
    order = ("X", "W", "R", "B", "sequence_lens", "initial_h")
    names = [name if name in inputs else "" for name in order]
    node = onnx.helper.make_node("GRU", names, ["Y", "Y_h"], **attributes)
    given = [tensor_info(name, array.dtype, array.shape) for name, array in inputs.items()]
    results = [tensor_info(name, inputs["X"].dtype, list(axes)) for name, axes in (("Y", "TDBH"), ("Y_h", "DBH"))]
    graph = onnx.helper.make_graph([node], "gru", given, results)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def our_layout(y: Array) -> Array:
    """ONNX's Y (T, D, B, H) as output (T, B, D*H)."""
    T, D, B, H = y.shape
    return y.transpose(0, 2, 1, 3).reshape(T, B, D * H)


def run_evaluator(
    params: list[GRUParams], direction: str, reset_after: bool, x: Array, h0: Array, lengths: Array | None = None
) -> tuple[Array, Array]:
    """Output (T, B, D*H) and h_n (D, B, H).

    The evaluator ignores ``sequence_lens``, and older ones any direction but forward: so each row is cut to its
    length and run by itself, and the reverse direction is a forward run over the flipped row.
    """
    T, B = x.shape[:2]
    y, h_n = np.zeros((T, len(params), B, h0.shape[-1]), x.dtype), np.empty_like(h0)
    for d, b in itertools.product(range(len(params)), range(B)):
        length = T if lengths is None else int(lengths[b])
        turn = -1 if direction == "reverse" or d == 1 else 1
        row = slice(b, b + 1)
        inputs = {"X": x[:length, row][::turn], **onnx_weights([params[d]]), "initial_h": h0[d : d + 1, row]}
        model = onnx_model(inputs, hidden_size=h0.shape[-1], linear_before_reset=int(reset_after))
        states, last = evaluator.ReferenceEvaluator(model).run(None, inputs)
        y[:length, d, b], h_n[d, b] = states[::turn, 0, 0], last.reshape(-1)
    return our_layout(y), h_n


def run_onnxruntime(
    params: list[GRUParams],
    direction: str,
    reset_after: bool,
    x: Array,
    h0: Array | None,
    lengths: Array | None = None,
    **attributes: Any,
) -> tuple[Array, Array]:
    """Output (T, B, D*H) and h_n (D, B, H), with its own direction and sequence_lens."""
    inputs = {"X": x, **onnx_weights(params)}
    if lengths is not None:
        inputs["sequence_lens"] = lengths.astype(np.int32)
    if h0 is not None:
        inputs["initial_h"] = h0
    attributes |= {"hidden_size": params[0].weight_hh.shape[1], "linear_before_reset": int(reset_after)}
    model = onnx_model(inputs, direction=direction, **attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, y_h = session.run(None, inputs)
    return our_layout(y), y_h


def run_grus(
    params: list[GRUParams], direction: str, reset_after: bool, x: Array, h0: Array | None, **options: Any
) -> tuple[Array, Array]:
    """One direction by ``gru_forward``, both by ``GRU``."""
    options["reset_after"] = reset_after
    if direction != "bidirectional":
        state = None if h0 is None else h0[0]
        output, h_n, _ = grus.gru_forward(x, state, params[0], reverse=direction == "reverse", **options)
        return output, h_n[None]
    rows, bias = params[0].weight_hh.shape, params[0].bias_ih is not None
    lengths = options.pop("lengths", None)
    gru = grus.GRU(
        x.shape[2], rows[1], bidirectional=True, bias=bias, batch_first=False, dtype=x.dtype.name, **options
    )
    for suffix, each in zip(("", "_reverse"), params, strict=True):
        for name, array in each._asdict().items():
            if array is not None:
                gru.parameters[f"{name}_l0{suffix}"] = array
    return gru(x, h0, lengths=lengths)


def random_case(
    direction: str, bias: bool, dtype: str, batch: int = 4, steps: int = 6, seed: int = 0
) -> tuple[list[GRUParams], Array, Array]:
    """Parameters of each direction, x (T, B, 3) and h0 (D, B, 5), all random."""
    rng = np.random.default_rng(seed)
    params = [GRUParams.random(3, 5, rng, dtype) for _ in range(2 if direction == "bidirectional" else 1)]
    if not bias:
        params = [p._replace(bias_ih=None, bias_hh=None) for p in params]
    x = rng.standard_normal((steps, batch, 3)).astype(dtype)
    return params, x, rng.standard_normal((len(params), batch, 5)).astype(dtype)


def assert_same(found: tuple[Array, Array], expected: tuple[Array, Array], dtype: str) -> None:
    for name, value, exact in zip(("output", "h_n"), found, expected, strict=True):
        assert_close(value, exact, "other library", dtype, name)


ALL = pytest.mark.parametrize(
    ("reset_after", "direction", "bias"), list(itertools.product((True, False), DIRECTIONS, (True, False)))
)
# None is 0: of an empty row, ONNX Runtime's last state is zeros, where ours is h0 (PyTorch refuses the row).
LENGTHS = pytest.mark.parametrize("lengths", [None, (3, 6, 1, 5)], ids=["whole", "lengths"])


@ALL
@LENGTHS
def test_reference_evaluator(reset_after: bool, direction: str, bias: bool, lengths: Any) -> None:
    params, x, h0 = random_case(direction, bias, "float64")
    rows = None if lengths is None else np.array(lengths)
    expected = run_evaluator(params, direction, reset_after, x, h0, rows)
    assert_same(run_grus(params, direction, reset_after, x, h0, lengths=rows), expected, "float64")


@ALL
@LENGTHS
def test_onnxruntime(reset_after: bool, direction: str, bias: bool, lengths: Any) -> None:
    params, x, h0 = random_case(direction, bias, "float32")
    rows = None if lengths is None else np.array(lengths)
    expected = run_onnxruntime(params, direction, reset_after, x, h0, rows)
    assert_same(run_grus(params, direction, reset_after, x, h0, lengths=rows), expected, "float32")


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_without_biases_and_without_states(batch: int, reset_after: bool) -> None:
    """Other libraries read a stale buffer here from three rows on."""
    params, x, _ = random_case("forward", False, "float32", batch)
    expected = run_onnxruntime(params, "forward", reset_after, x, None)
    assert_same(run_grus(params, "forward", reset_after, x, None), expected, "float32")


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    ("gate", "new", "attributes"),
    [
        ("sigmoid", "relu", {"activations": ["Sigmoid", "Relu"]}),
        ("sigmoid", "softsign", {"activations": ["Sigmoid", "Softsign"]}),
        ("hard_sigmoid_keras2", "tanh", {"activations": ["HardSigmoid", "Tanh"]}),
        (
            {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.4},
            {"name": "leaky_relu", "alpha": 0.1},
            {
                "activations": ["HardSigmoid", "LeakyRelu"],
                "activation_alpha": [0.3, 0.1],
                "activation_beta": [0.4],
            },
        ),
        (
            "sigmoid",
            {"name": "elu", "alpha": 0.7},
            {"activations": ["Sigmoid", "Elu"], "activation_alpha": [0.7]},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_activations(gate: Any, new: Any, attributes: dict[str, Any], reset_after: bool) -> None:
    params, x, h0 = random_case("forward", True, "float32")
    expected = run_onnxruntime(params, "forward", reset_after, x, h0, **attributes)
    found = run_grus(params, "forward", reset_after, x, h0, activation=new, gate_activation=gate)
    assert_same(found, expected, "float32")


@pytest.mark.parametrize("file", files_of("onnx*"))
def test_the_golden_files_are_what_this_onnx_gives(file: str) -> None:
    gru, call, golden = load(file)
    found = run_onnx(file.split("_")[0], gru, **call)
    assert_same(found, (golden["output"], golden["h_n"]), gru.dtype.name)


def run_onnx(library: str, gru: grus.GRU, x: Array, h0: Array, lengths: Any = None) -> tuple[Array, Array]:
    """A GRU of one layer, time-major, in one of the two libraries."""
    names = GRUParams._fields[:4]  # layer normalisation is not in ONNX's GRU
    suffixes = ("", "_reverse")[: gru.directions]
    params = [GRUParams(*(gru.parameters[f"{name}_l0{suffix}"] for name in names)) for suffix in suffixes]
    direction = "bidirectional" if gru.bidirectional else "forward"
    run = {"onnx": run_evaluator, "onnxruntime": run_onnxruntime}[library]
    return run(params, direction, gru.formulation.reset == "after", x, h0, lengths)
