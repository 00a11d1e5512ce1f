"""What the tests of the array layouts share: the grid, random GRUs and inputs, differences, ONNX's evaluator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

import grus
from grus.conversion import ConversionError, Report

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


class Case(NamedTuple):
    layers: int
    directions: int
    bias: bool
    formulation: str
    dtype: str

    def __str__(self) -> str:
        return "-".join(map(str, self))

    def gru(self, input_size: int = 3, hidden_size: int = 5, seed: int = 0, **options: Any) -> grus.GRU:
        """A GRU with random numbers in every array, biases too."""
        gru = grus.GRU(
            input_size, hidden_size, self.layers, bias=self.bias, bidirectional=self.directions == 2,
            formulation=self.formulation, reset_after=self.formulation != "before", dtype=self.dtype, seed=0,
            **options,
        )  # fmt: skip
        gru.flat[...] = np.random.default_rng(seed).normal(0, 0.6, gru.flat.shape)
        return gru


GRID = [Case(*each) for each in itertools.product((1, 2), (1, 2), (True, False), ("after", "before"), TOLERANCE)]
ON_GRID = pytest.mark.parametrize("case", GRID, ids=str)


def inputs(gru: grus.GRU, dtype: str | None = None) -> tuple[Array, Array]:
    """x (B, T, I) and h0 (layers*directions, B, H)."""
    rng, shape = np.random.default_rng(1), (gru.num_layers * gru.directions, 4, gru.hidden_size)
    x, h0 = rng.standard_normal((4, 7, gru.input_size)), rng.uniform(-1, 1, shape)
    return x.astype(dtype or gru.dtype), h0.astype(dtype or gru.dtype)


def difference(ours: Any, theirs: Any) -> float:
    """The largest, of all arrays: absolute where numbers are below 1, relative above."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=True):
        one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
        assert one.shape == other.shape
        worst = max(worst, float(np.max(np.abs(one - other) / np.maximum(1, np.abs(one)))))
    return worst


def same_function(one: grus.GRU, other: grus.GRU) -> None:
    """The two have the same shapes and options, and give the same outputs."""
    assert (one.num_layers, one.directions, one.formulation) == (
        other.num_layers,
        other.directions,
        other.formulation,
    )
    assert one.dtype == other.dtype
    x, h0 = inputs(one)
    assert difference(one(x, h0), other(x, h0)) <= TOLERANCE[one.dtype.name]


def found(report: Report) -> float:
    """The difference that the self-check found."""
    assert report.difference is not None
    return report.difference


def refused(text: str, call: Callable[[], Any], error: type[Exception] = ConversionError) -> None:
    """The call raises exactly this."""
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == text
    assert type(caught.value) is error


def changed(layer: Mapping[str, Any], **arrays: Any) -> dict[str, Any]:
    """The layer with other arrays; None leaves a name out."""
    return {name: array for name, array in {**layer, **arrays}.items() if array is not None}


def onnx_output(W: Array, R: Array, B: Array, after: bool, x: Array, h0: Array) -> tuple[Array, Array]:
    """ONNX's reference evaluator on one GRU node: rows z | r | h of W (3H, I), R (3H, H) and B (6H,), forwards."""
    onnx = pytest.importorskip("onnx", reason="could not import 'onnx', which these tests compare with")
    evaluator = pytest.importorskip("onnx.reference")
    given = {"X": x.swapaxes(0, 1), "W": W[None], "R": R[None], "B": B[None], "h0": h0[None]}
    node = onnx.helper.make_node(
        "GRU", ["X", "W", "R", "B", "", "h0"], ["Y", "Y_h"], hidden_size=R.shape[1], linear_before_reset=int(after)
    )
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    described = [onnx.helper.make_tensor_value_info(name, kind, None) for name in (*given, "Y", "Y_h")]
    graph = onnx.helper.make_graph([node], "gru", described[:-2], described[-2:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    y, h_n = evaluator.ReferenceEvaluator(model).run(None, given)
    return y[:, 0].swapaxes(0, 1), h_n
