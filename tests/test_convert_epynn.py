"""``grus.epynn``: both ways on the whole grid, against the layout that EpyNN documents.

EpyNN itself is not run; its formula, written after its documentation, is compared with ONNX's evaluator instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import Report, formulas
from grus.epynn import from_epynn, to_epynn
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

NAMES = "Uz, Vz, bz, Ur, Vr, br, Uhh, Vhh, bhh"


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.formulation == "after":
        text = (
            "EpyNN is the formulation 'before' and this GRU is 'after'. They are different functions: no weights "
            "turn one into the other. Train one with formulation='before'."
        )
        refused(text, lambda: to_epynn(gru))
        return
    if case.directions == 2:
        text = "EpyNN has no bidirectional, which this GRU has and which changes its results."
        refused(text, lambda: to_epynn(gru))
        return
    layers = to_epynn(gru, report=report)
    assert found(report) <= TOLERANCE[case.dtype]
    assert bool(report.notes) == case.bias
    assert {array.dtype.name for layer in layers for array in layer.values()} == {case.dtype}
    x, h0 = inputs(gru)
    theirs = formulas.over_time([[formulas.epynn(layer)] for layer in layers], x, h0)
    assert difference(gru(x, h0), theirs) <= TOLERANCE[case.dtype]
    same_function(gru, from_epynn(layers, report=report))
    assert report.found["gate order"] == "r, z, hh"


@pytest.mark.parametrize("seed", range(3))
def test_the_formula_is_the_one_that_onnx_has(seed: int) -> None:
    """Equations (4s) to (7s) read once more, by somebody else's code."""
    gru = Case(1, 1, True, "before", "float64").gru(seed=seed)
    layer, (x, h0) = to_epynn(gru)[0], inputs(gru)
    W, R = (np.concatenate([layer[f"{side}{gate}"].T for gate in ("z", "r", "hh")]) for side in "UV")
    B = np.concatenate([*(layer[f"b{gate}"][0] for gate in ("z", "r", "hh")), np.zeros(15)])
    assert difference(gru(x, h0), onnx_output(W, R, B, False, x, h0[0])) <= 1e-12


@pytest.mark.parametrize("gates", [("relu", "sigmoid", "tanh"), ("identity", "tanh", "sigmoid")])
def test_activations(gates: tuple[str, str, str]) -> None:
    new, update, reset = gates
    gru = Case(2, 1, True, "before", "float64").gru(activation=new, gate_activation=(reset, update))
    gru.flat[...] /= 4  # nothing bounds the states otherwise
    report = Report()
    layers = to_epynn(gru, report=report)
    assert (
        report.notes[0]
        == f"EpyNN's GRU must be given activate={new}, activate_update={update}, activate_reset={reset}"
    )
    keywords = dict(zip(("activate", "activate_update", "activate_reset"), gates, strict=True))
    back = from_epynn(layers, **keywords, report=report)
    same_function(gru, back)
    assert report.found["activations"] == f"{new}, {update}, {reset}"
    assert found(report) <= 1e-12
    x, h0 = inputs(gru)
    assert difference(gru(x, h0), from_epynn(layers)(x, h0)) > 1e-2  # so it matters which


@pytest.mark.parametrize("name", ["elu", "leaky_relu", "softsign"])
def test_activations_that_it_lacks(name: str) -> None:
    text = f"activate must be one of tanh, sigmoid, relu, identity between EpyNN and grus; got {name!r}."
    gru = grus.GRU(3, 5, reset_after=False, activation=name, seed=0)
    refused(text, lambda: to_epynn(gru))
    refused(text.replace("activate ", "activate_reset "), lambda: from_epynn(LAYER, activate_reset=name))


LAYER = to_epynn(grus.GRU(3, 5, reset_after=False, seed=0))[0]


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (
            f"layers[0] must hold {NAMES} as EpyNN has it; missing 'bz'; unknown 'b'.",
            {"bz": None, "b": LAYER["bz"]},
        ),
        ("layers[0]['Uhh'] must have shape (3, 5); got (5, 3).", {"Uhh": LAYER["Uhh"].T}),
        ("layers[0]['br'] must have shape (1, 5); got (5,).", {"br": LAYER["br"][0]}),
        ("layers[0]['Vz'] must have shape (5, 5); got (4, 5).", {"Vz": LAYER["Vz"][:4]}),
    ],
)
def test_wrong_layers_are_refused(text: str, arrays: dict[str, Any]) -> None:
    refused(text, lambda: from_epynn(changed(LAYER, **arrays)))


def test_a_gate_handed_over_as_another_is_another_function() -> None:
    """What no shape tells: the docstring says so."""
    case = Case(1, 1, True, "before", "float64")
    layer = to_epynn(case.gru())[0]
    swapped = from_epynn(changed(layer, Uz=layer["Ur"], Ur=layer["Uz"]))
    assert difference(swapped(*inputs(swapped)), case.gru()(*inputs(swapped))) > 1e-2
