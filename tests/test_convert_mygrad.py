"""``grus.mygrad``: both ways on the whole grid, and MyGrad itself on what was converted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
import mygrad_layers
from grus.conversion import Report
from grus.mygrad import from_mygrad, to_mygrad
from layouts import GRID, ON_GRID, TOLERANCE, Case, changed, difference, found, inputs, refused, same_function

CONVERTED = [case for case in GRID if case.directions == 1 and case.formulation == "before"]


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.formulation == "after":
        text = (
            "MyGrad is the formulation 'before' and this GRU is 'after'. They are different functions: no weights "
            "turn one into the other. Train one with formulation='before'."
        )
        refused(text, lambda: to_mygrad(gru))
        return
    if case.directions == 2:
        refused(
            "MyGrad has no bidirectional, which this GRU has and which changes its results.",
            lambda: to_mygrad(gru),
        )
        return
    layers = to_mygrad(gru, report=report)
    assert found(report) <= TOLERANCE[case.dtype]
    assert bool(report.notes) == case.bias
    assert {array.dtype.name for layer in layers for array in layer.values()} == {case.dtype}
    back = from_mygrad(layers, report=report)
    same_function(gru, back)
    assert report.found["formulation"] == "reset before the recurrent product"
    for one, other in zip(layers, to_mygrad(back), strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(other[name], array)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine's MyGrad gives for each case."""
    reason = "could not import '{}', which these tests compare with"
    for name in ("numba", "mygrad"):
        pytest.importorskip(name, reason=reason.format(name))
    folder = tmp_path_factory.mktemp("mygrad")
    for k, case in enumerate(CONVERTED):
        gru = case.gru()
        x, h0 = inputs(gru)
        arrays = {f"{n}.{name}": array for n, layer in enumerate(to_mygrad(gru)) for name, array in layer.items()}
        np.savez(folder / f"{k}.npz", x=x, h0=h0, **arrays)
    command = [sys.executable, mygrad_layers.__file__, str(folder)]
    done = subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(("k", "case"), list(enumerate(CONVERTED)), ids=str)
def test_mygrad_itself(folder: Path, k: int, case: Case) -> None:
    gru = case.gru()
    ours = gru(*inputs(gru))
    with np.load(folder / f"{k}.out.npz") as file:
        assert difference(ours, (file["output"], file["h_n"])) <= TOLERANCE[case.dtype]
        assert difference(ours, (file["our_output"], file["our_h_n"])) <= TOLERANCE[case.dtype]


def test_merged_biases_are_noted() -> None:
    report = Report()
    to_mygrad(CONVERTED[0].gru(), report=report)
    assert report.notes == [
        "MyGrad gru has one bias where grus has two: their sum is kept, the results are the same"
    ]


GRU = grus.GRU(3, 5, reset_after=False, seed=0)
LAYER = to_mygrad(GRU)[0]
ALL = "Uz, Wz, bz, Ur, Wr, br, Uh, Wh, bh"


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        (
            f"layers[0] must hold {ALL} as MyGrad has it; missing 'Wr'; unknown 'Vr'.",
            {"Wr": None, "Vr": LAYER["Wr"]},
        ),
        ("layers[0]['Ur'] must have shape (3, 5); got (5, 3).", {"Ur": LAYER["Ur"].T}),
        ("layers[0]['bh'] must have shape (5); got (1, 5).", {"bh": LAYER["bh"][None]}),
        ("layers[0]['Uz'] must have shape (any, 4); got (3, 5).", {"Wz": LAYER["Wz"][:, :4]}),
        ("layers[0]['Wr'] must have shape (5, 5); got (5, 4).", {"Wr": LAYER["Wr"][:, :4]}),
        ("layers[0]['Wz'] must have shape (any, any); got (5,).", {"Wz": LAYER["Wz"][0]}),
        ("layers[0] must be of one dtype; got float32 and float64.", {"br": LAYER["br"].astype("float64")}),
        ("layers[0]['Uh'] must be float32 or float64; got int64.", {"Uh": np.ones((3, 5), int)}),
        (
            "layers[0]['bz'] holds NaN or infinity: a conversion of it can't be checked.",
            {"bz": LAYER["bz"] + np.nan},
        ),
    ],
)
def test_wrong_layers_are_refused(text: str, arrays: dict[str, Any]) -> None:
    refused(text, lambda: from_mygrad(changed(LAYER, **arrays)))


def test_a_layer_that_is_missing_is_refused() -> None:
    layers = to_mygrad(grus.GRU(3, 5, num_layers=3, reset_after=False, seed=0))
    refused(
        "layer 1 reads 3 numbers, but the layer before it gives 5: a layer is missing, or they are in the wrong "
        "order.",
        lambda: from_mygrad([layers[1], layers[0]]),
    )


def test_activations_and_options_that_it_lacks_are_refused() -> None:
    refused(
        "MyGrad knows only tanh and sigmoid; this GRU's new, reset and update gates have relu, sigmoid, sigmoid.",
        lambda: to_mygrad(grus.GRU(3, 5, reset_after=False, activation="relu", seed=0)),
    )
    refused(
        "MyGrad has no clip=2.0, which this GRU has and which changes its results.",
        lambda: to_mygrad(grus.GRU(3, 5, reset_after=False, clip=2.0, seed=0)),
    )
