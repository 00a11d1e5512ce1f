"""``grus.tensorflow``: both ways on the whole grid, and TensorFlow's GRUBlockCell on what was converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import Report, formulas
from grus.tensorflow import from_tensorflow, to_tensorflow
from layouts import GRID, ON_GRID, Case, changed, difference, found, inputs, onnx_output, refused, same_function

CONVERTED = [case for case in GRID if case.directions == 1 and case.formulation == "before"]


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.formulation == "after":
        text = (
            "GRUBlockCell is the formulation 'before' and this GRU is 'after'. They are different functions: no "
            "weights turn one into the other. Train one with formulation='before'."
        )
        refused(text, lambda: to_tensorflow(gru))
        return
    if case.directions == 2:
        text = "GRUBlockCell has no bidirectional, which this GRU has and which changes its results."
        refused(text, lambda: to_tensorflow(gru))
        return
    if case.dtype == "float64":
        text = (
            "GRUBlockCell holds float32 and this GRU is float64: digits would be lost. Pass allow_cast=True to "
            "round them."
        )
        refused(text, lambda: to_tensorflow(gru))
    layers = to_tensorflow(gru, allow_cast=True, report=report)
    assert found(report) <= 1e-6
    assert len(report.notes) == case.bias + (case.dtype == "float64")
    assert {array.dtype.name for layer in layers for array in layer.values()} == {"float32"}
    x, h0 = inputs(gru)
    theirs = formulas.over_time([[formulas.tensorflow(layer)] for layer in layers], x, h0)
    assert difference(gru(x, h0), theirs) <= 1e-6
    back = from_tensorflow(layers, report=report)
    assert difference(gru(x, h0), back(*inputs(back))) <= 1e-6
    assert report.found["gate order"] == "r, u, c"
    if case.dtype == "float32":
        same_function(gru, back)


@pytest.mark.parametrize("case", CONVERTED, ids=str)
def test_tensorflow_itself(case: Case) -> None:
    tf = pytest.importorskip("tensorflow", reason="could not import 'tensorflow', which these tests compare with")
    gru = case.gru()
    x, h0 = inputs(gru, "float32")
    states, ends = list(x.swapaxes(0, 1)), []
    for layer, h in zip(to_tensorflow(gru, allow_cast=True), h0, strict=True):
        for t, x_t in enumerate(states):
            h = tf.raw_ops.GRUBlockCell(x=x_t, h_prev=h, **layer).h.numpy()
            states[t] = h
        ends.append(h)
    ours = gru(*inputs(gru))
    assert difference(ours, (np.stack(states, axis=1), np.stack(ends))) <= 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_the_formula_is_the_one_that_onnx_has(seed: int) -> None:
    """Columns r | u, rows of [x, h], reset before the product, read once more, in float64."""
    rng, shapes = np.random.default_rng(seed), {"w_ru": (8, 10), "w_c": (8, 5), "b_ru": (10,), "b_c": (5,)}
    layer = {name: rng.normal(0, 0.6, shape) for name, shape in shapes.items()}
    gru = from_tensorflow(layer)
    (r, u), c = np.split(layer["w_ru"].T, 2), layer["w_c"].T
    (b_r, b_u), b_c = np.split(layer["b_ru"], 2), layer["b_c"]
    W, R = np.split(np.concatenate([u, r, c]), [3], axis=1)
    x, h0 = inputs(gru)
    expected = onnx_output(W, R, np.concatenate([b_u, b_r, b_c, np.zeros(15)]), False, x, h0[0])
    assert difference(gru(x, h0), expected) <= 1e-12


LAYER = to_tensorflow(grus.GRU(3, 5, reset_after=False, seed=0))[0]


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("layers[0] must hold w_ru, w_c, b_ru, b_c as GRUBlockCell has it; missing 'b_c'.", {"b_c": None}),
        ("layers[0] must hold w_ru, w_c, b_ru, b_c as GRUBlockCell has it; unknown 'w_x'.", {"w_x": LAYER["w_c"]}),
        ("layers[0]['w_c'] must have shape (any, any); got (5,).", {"w_c": LAYER["b_c"]}),
        (
            "layers[0]['w_c'] must have shape (I+H, H), more rows than columns; got (5, 8).",
            {"w_c": LAYER["w_c"].T},
        ),
        ("layers[0]['w_ru'] must have shape (8, 10); got (10, 8).", {"w_ru": LAYER["w_ru"].T}),
        ("layers[0]['b_ru'] must have shape (10); got (5,).", {"b_ru": LAYER["b_c"]}),
    ],
)
def test_wrong_layers_are_refused(text: str, arrays: dict[str, Any]) -> None:
    refused(text, lambda: from_tensorflow(changed(LAYER, **arrays)))


def test_columns_in_another_order_are_another_function() -> None:
    """What no shape tells: the docstring says so."""
    swapped = from_tensorflow(changed(LAYER, w_ru=np.roll(LAYER["w_ru"], 5, axis=1)))
    right = from_tensorflow(LAYER)
    assert difference(swapped(*inputs(swapped)), right(*inputs(right))) > 1e-2
