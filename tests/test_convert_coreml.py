"""``grus.coreml``: both ways on the whole grid, against Core ML's specified formula and ONNX's evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import Report, formulas
from grus.coreml import from_coreml, to_coreml
from layouts import GRID, ON_GRID, Case, changed, difference, found, inputs, onnx_output, refused, same_function


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.formulation == "after":
        text = (
            "Core ML before iOS 18 is the formulation 'before' and this GRU is 'after'. They are different "
            "functions: no weights turn one into the other. Train one with formulation='before'."
        )
        refused(text, lambda: to_coreml(gru))
        return
    if case.directions == 2:
        text = "Core ML before iOS 18 has no bidirectional, which this GRU has and which changes its results."
        refused(text, lambda: to_coreml(gru))
        return
    if case.dtype == "float64":
        text = (
            "Core ML before iOS 18 holds float32 and this GRU is float64: digits would be lost. Pass "
            "allow_cast=True to round them."
        )
        refused(text, lambda: to_coreml(gru))
    layers = to_coreml(gru, allow_cast=True, report=report)
    assert found(report) <= 1e-6
    assert len(report.notes) == case.bias + (case.dtype == "float64")
    assert {array.dtype.name for layer in layers for array in layer.values()} == {"float32"}
    assert all(("bias" in layer) == case.bias for layer in layers)
    x, h0 = inputs(gru)
    theirs = formulas.over_time([[formulas.coreml(layer)] for layer in layers], x, h0)
    assert difference(gru(x, h0), theirs) <= 1e-6
    back = from_coreml(layers, report=report)
    assert back.bias == case.bias
    assert difference(gru(x, h0), back(*inputs(back))) <= 1e-6
    assert report.found["gate order"] == "r, o, z"
    assert report.found["biases"] == ("one" if case.bias else "none")


@pytest.mark.parametrize("seed", range(3))
def test_the_formula_is_the_one_that_onnx_has(seed: int) -> None:
    """Rows r | o | z, reset before the product, read once more, by somebody else's code, in float64."""
    rng = np.random.default_rng(seed)
    layer = {"weight_ih": (15, 3), "weight_hh": (15, 5), "bias": (15,)}
    layer = {name: rng.normal(0, 0.6, shape) for name, shape in layer.items()}
    gru = from_coreml(layer)
    x, h0 = inputs(gru)
    blocks = {name: np.split(array, 3) for name, array in layer.items()}
    W, R, B = (np.concatenate([of[2], of[0], of[1]]) for of in blocks.values())
    expected = onnx_output(W, R, np.concatenate([B, np.zeros(15)]), False, x, h0[0])
    assert difference(gru(x, h0), expected) <= 1e-12
    after = onnx_output(W, R, np.concatenate([B, np.zeros(15)]), True, x, h0[0])
    assert difference(gru(x, h0), after) > 1e-3  # so it matters which


def test_half_floats_are_widened() -> None:
    gru = next(case for case in GRID if case.formulation == "before").gru()
    layers = [{name: array.astype("float16") for name, array in layer.items()} for layer in to_coreml(gru)]
    assert from_coreml(layers).dtype == "float32"


def test_layers_with_and_without_a_bias() -> None:
    gru = Case(2, 1, True, "before", "float32").gru()
    layers = to_coreml(gru)
    del layers[0]["bias"]
    for name in ("bias_ih_l0", "bias_hh_l0"):
        gru.parameters[name] = np.zeros(15, "float32")
    same_function(gru, from_coreml(layers))


LAYER = to_coreml(Case(1, 1, True, "before", "float32").gru())[0]


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (
            "layers[0] must hold weight_ih, weight_hh, bias as Core ML before iOS 18 has it; unknown "
            "'input_bias'.",
            {"input_bias": LAYER["bias"]},
        ),
        ("layers[0]['weight_hh'] must have shape (45, 15); got (5, 15).", {"weight_hh": LAYER["weight_hh"].T}),
        ("layers[0]['weight_hh'] must have shape (any, any); got (15,).", {"weight_hh": LAYER["bias"]}),
        ("layers[0]['weight_ih'] must have shape (15, any); got (3, 15).", {"weight_ih": LAYER["weight_ih"].T}),
        ("layers[0]['bias'] must have shape (15); got (2, 15).", {"bias": np.ones((2, 15), "float32")}),
    ],
)
def test_wrong_layers_are_refused(text: str, arrays: dict[str, Any]) -> None:
    refused(text, lambda: from_coreml(changed(LAYER, **arrays)))


def test_other_activations_are_refused() -> None:
    refused(
        "Core ML before iOS 18 knows only tanh and sigmoid; this GRU's new, reset and update gates have tanh, "
        "hard_sigmoid, hard_sigmoid.",
        lambda: to_coreml(grus.GRU(3, 5, reset_after=False, gate_activation="hard_sigmoid", seed=0)),
    )
