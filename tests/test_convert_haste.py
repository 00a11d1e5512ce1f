"""``grus.haste``: both ways on the whole grid, against the layout that haste documents.

haste needs a GPU and is not run; its formula is compared with ONNX's evaluator instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import Report, formulas
from grus.haste import from_haste, to_haste
from layouts import (
    ON_GRID,
    TOLERANCE,
    Case,
    changed,
    difference,
    found,
    inputs,
    onnx_output,
    refused,
    same_function,
)


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.formulation == "before":
        text = (
            "haste is the formulation 'after' and this GRU is 'before'. They are different functions: no weights "
            "turn one into the other. Train one with formulation='after'."
        )
        refused(text, lambda: to_haste(gru))
        return
    if case.directions == 2:
        text = "haste has no bidirectional, which this GRU has and which changes its results."
        refused(text, lambda: to_haste(gru))
        return
    layers = to_haste(gru, report=report)
    assert found(report) <= TOLERANCE[case.dtype]
    assert report.notes == []
    for layer, width in zip(layers, (3, 5), strict=False):  # docs/pytorch/haste_pytorch/GRU.md, "Variables"
        shapes = {name: array.shape for name, array in layer.items()}
        assert shapes == {
            "kernel": (width, 15), "recurrent_kernel": (5, 15), "bias": (15,), "recurrent_bias": (15,)
        }  # fmt: skip
    x, h0 = inputs(gru)
    theirs = formulas.over_time([[formulas.haste(layer)] for layer in layers], x, h0)
    assert difference(gru(x, h0), theirs) <= TOLERANCE[case.dtype]
    back = from_haste(layers, report=report)
    same_function(gru, back)
    assert report.found["gate order"] == "z, r, g"
    if case.bias:
        assert all(np.array_equal(back.parameters[name], array) for name, array in gru.parameters.items())


@pytest.mark.parametrize("seed", range(3))
def test_the_formula_is_the_one_that_onnx_has(seed: int) -> None:
    """Blocks z | r | g, reset after the product with its bias, read once more, by somebody else's code."""
    gru = Case(1, 1, True, "after", "float64").gru(seed=seed)
    layer, (x, h0) = to_haste(gru)[0], inputs(gru)
    B = np.concatenate([layer["bias"], layer["recurrent_bias"]])
    expected = onnx_output(layer["kernel"].T, layer["recurrent_kernel"].T, B, True, x, h0[0])
    assert difference(gru(x, h0), expected) <= 1e-12


LAYER = to_haste(grus.GRU(3, 5, seed=0))[0]
ALL = "kernel, recurrent_kernel, bias, recurrent_bias"


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (f"layers[0] must hold {ALL} as haste has it; missing 'recurrent_bias'.", {"recurrent_bias": None}),
        (f"layers[0] must hold {ALL} as haste has it; unknown 'gamma'.", {"gamma": LAYER["bias"]}),
        ("layers[0]['kernel'] must have shape (any, 15); got (15, 3).", {"kernel": LAYER["kernel"].T}),
        (
            "layers[0]['recurrent_kernel'] must have shape (15, 45); got (15, 5).",
            {"recurrent_kernel": LAYER["recurrent_kernel"].T},
        ),
        ("layers[0]['bias'] must have shape (15); got (2, 15).", {"bias": np.ones((2, 15), "float32")}),
    ],
)
def test_wrong_layers_are_refused(text: str, arrays: dict[str, Any]) -> None:
    refused(text, lambda: from_haste(changed(LAYER, **arrays)))


def test_a_zoneout_is_refused() -> None:
    """haste has one, but in its layer and not in its arrays."""
    refused(
        "haste has no zoneout=0.1, which this GRU has and which changes its results.",
        lambda: to_haste(grus.GRU(3, 5, zoneout=0.1, seed=0)),
    )


def test_no_layers() -> None:
    refused("layers must hold at least one of haste's layers; got none.", lambda: from_haste([]))
    refused(
        "layers must be a mapping from haste's names to arrays, or a sequence of them; got int.",
        lambda: from_haste(3),  # type: ignore[arg-type]
        TypeError,
    )
    refused(
        "layers[0] must map kernel, recurrent_kernel, bias, recurrent_bias to arrays; got ndarray.",
        lambda: from_haste([np.ones(3)]),  # type: ignore[list-item]
        TypeError,
    )
