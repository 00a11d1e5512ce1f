"""``grus.onednn``: both ways on the whole grid, and oneDNN itself on what was converted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grus
from grus.conversion import Report, formulas
from grus.onednn import from_onednn, to_onednn
from layouts import (
    GRID,
    ON_GRID,
    TOLERANCE,
    Array,
    Case,
    changed,
    difference,
    found,
    inputs,
    refused,
    same_function,
)
from onednn_library import onednn_output


def in_turn(case: Case, primitives: list[dict[str, Array]], x: Array, h0: Array) -> tuple[Array, Array]:
    """oneDNN's own answer: each primitive reads what the one before gives."""
    ends, D = [], case.directions
    for primitive in primitives:
        rows = len(primitive["weights_iter"]) * D
        states, h0 = h0[:rows], h0[rows:]
        x, last = onednn_output(primitive, case.formulation == "after", x, states)
        ends.append(last)
    return x, np.concatenate(ends)


@ON_GRID
def test_grid(case: Case) -> None:
    gru, report = case.gru(), Report()
    if case.dtype == "float64":
        text = "oneDNN holds float32 and this GRU is float64: digits would be lost."
        text += " Pass allow_cast=True to round them."
        refused(text, lambda: to_onednn(gru))
    primitives = to_onednn(gru, allow_cast=True, report=report)
    assert found(report) <= 1e-6
    assert len(report.notes) == case.bias + (case.dtype == "float64")
    assert len(primitives) == case.layers
    for primitive, width in zip(primitives, (3, 5 * case.directions), strict=False):
        shapes = {
            "weights_layer": (1, case.directions, width, 3, 5),
            "weights_iter": (1, case.directions, 5, 3, 5),
        }
        shapes["bias"] = (1, case.directions, 4 if case.formulation == "after" else 3, 5)
        assert {name: array.shape for name, array in primitive.items()} == shapes
        assert {array.dtype.name for array in primitive.values()} == {"float32"}
    back = from_onednn(primitives, report=report)
    assert difference(gru(*inputs(gru)), back(*inputs(back))) <= 1e-6
    assert report.found["gate order"] == "u, r, o"
    if case.dtype == "float32":
        same_function(gru, back)


@ON_GRID
def test_onednn_itself(case: Case) -> None:
    gru = case.gru()
    x, h0 = inputs(gru, "float32")
    theirs = in_turn(case, to_onednn(gru, allow_cast=True), x, h0)
    assert difference(gru(*inputs(gru)), theirs) <= TOLERANCE["float32"]


STACKED = [case for case in GRID if case.directions == 1]


@pytest.mark.parametrize("case", STACKED, ids=str)
def test_all_layers_in_one_primitive(case: Case) -> None:
    gru = case.gru(input_size=5)
    (primitive,) = to_onednn(gru, stacked=True, allow_cast=True)
    assert primitive["weights_layer"].shape == (case.layers, 1, 5, 3, 5)
    back = from_onednn(primitive)
    assert back.num_layers == case.layers
    ours = gru(*inputs(gru))
    assert difference(ours, back(*inputs(back))) <= 1e-6
    assert difference(ours, in_turn(case, [primitive], *inputs(gru, "float32"))) <= 1e-6


@pytest.mark.parametrize("formulation", ["after", "before"])
def test_onednn_does_not_mix_the_directions_of_a_stack(formulation: str) -> None:
    """Why such a stack is refused: it is two stacks of one direction side by side."""
    case = Case(2, 2, True, formulation, "float32")
    rng, rows = np.random.default_rng(3), 4 if formulation == "after" else 3
    shapes = {"weights_layer": (2, 2, 5, 3, 5), "weights_iter": (2, 2, 5, 3, 5), "bias": (2, 2, rows, 5)}
    primitive = {name: rng.normal(0, 0.6, shape).astype("float32") for name, shape in shapes.items()}
    x, h0 = rng.standard_normal((4, 7, 5)).astype("f"), rng.uniform(-1, 1, (4, 4, 5)).astype("f")
    output, _ = in_turn(case, [primitive], x, h0)
    alone = Case(2, 1, True, formulation, "float32")
    for direction, order in enumerate((1, -1)):
        part = {name: array[:, direction : direction + 1] for name, array in primitive.items()}
        one, _ = in_turn(alone, [part], x[:, ::order], h0[direction::2])
        side = output[:, :, direction * 5 : direction * 5 + 5]
        assert difference([side], [one[:, ::order]]) <= 1e-6
    refused(
        "primitives[0] holds 2 layers in 2 directions: oneDNN never mixes the directions of a stack, and in a "
        "grus.GRU each layer reads both of the one before. They are different functions.",
        lambda: from_onednn(primitive),
    )


@pytest.mark.parametrize("case", [case for case in GRID if case.dtype == "float32"], ids=str)
def test_the_formula_is_what_onednn_computes(case: Case) -> None:
    """So that the self-check, which knows no oneDNN, checks against oneDNN."""
    primitives = to_onednn(case.gru(seed=5))
    x, h0 = inputs(case.gru())
    formula = formulas.onednn_lbr if case.formulation == "after" else formulas.onednn
    steps = [
        [formula({n: a[0, d] for n, a in each.items()}) for d in range(case.directions)] for each in primitives
    ]
    assert difference(formulas.over_time(steps, x, h0), in_turn(case, primitives, x, h0)) <= 1e-6


LAYER, BEFORE = (
    to_onednn(Case(1, 1, True, formulation, "float32").gru())[0] for formulation in ("after", "before")
)
NO_BIAS = changed(LAYER, bias=None)
BOTH = to_onednn(Case(1, 2, True, "after", "float32").gru())[0]
LIE = "is 'before', but primitives[0]['bias'] has 4 rows a layer, which is 'after': they are different functions."
STACK = (
    "in one primitive of oneDNN every layer reads hidden_size numbers, and no direction reads the other's. There "
    "is one for each layer then."
)
UNKNOWN = 'formulation must be "after" (lbr_gru) or "before" (gru)'


@pytest.mark.parametrize(
    ("text", "call"),
    [
        (f"formulation {LIE}", lambda: from_onednn(LAYER, formulation="before")),
        (f"{UNKNOWN}; got 'lbr'.", lambda: from_onednn(LAYER, formulation="lbr")),
        (f"{UNKNOWN} where no bias tells which; got None.", lambda: from_onednn(NO_BIAS)),
        (
            "primitives hold biases of 4 rows (lbr_gru) and of 3 (gru): they are different functions.",
            lambda: from_onednn([LAYER, BEFORE]),
        ),
        (
            "primitives must all have one direction or all two; got [1, 2].",
            lambda: from_onednn([LAYER, BOTH]),
        ),
        (
            "primitives[0] must hold weights_layer, weights_iter, bias as oneDNN has it; unknown "
            "'weights_peephole'.",
            lambda: from_onednn(changed(LAYER, weights_peephole=LAYER["bias"])),
        ),
        (
            "primitives[0] must hold weights_layer, weights_iter as oneDNN has it; missing 'weights_iter'.",
            lambda: from_onednn(changed(NO_BIAS, weights_iter=None)),
        ),
        (
            "primitives[0]['bias'] must have 4 rows a layer (lbr_gru), or 3 (gru); got 2.",
            lambda: from_onednn(changed(LAYER, bias=LAYER["bias"][:, :, :2])),
        ),
        (
            "primitives[0]['bias'] must have shape (1, 1, any, 5); got (4, 5).",
            lambda: from_onednn(changed(LAYER, bias=LAYER["bias"][0, 0])),
        ),
        (
            "primitives[0]['weights_iter'] must have shape (any, any, any, 3, any); got (1, 1, 3, 5, 5).",
            lambda: from_onednn(changed(LAYER, weights_iter=LAYER["weights_iter"].transpose(0, 1, 3, 4, 2))),
        ),
        (
            "primitives[0]['weights_iter'] must have shape (1, 1, 4, 3, 4); got (1, 1, 4, 3, 5).",
            lambda: from_onednn(changed(LAYER, weights_iter=LAYER["weights_iter"][:, :, :4])),
        ),
        (
            "primitives[0]['weights_layer'] must have shape (1, 1, any, 3, 5); got (1, 1, 3, 5, 3).",
            lambda: from_onednn(changed(LAYER, weights_layer=LAYER["weights_layer"].transpose(0, 1, 3, 4, 2))),
        ),
        (
            "primitives[0]['weights_layer'] must have shape (2, 1, 5, 3, 5); got (2, 1, 3, 3, 5).",
            lambda: from_onednn({name: np.concatenate([array, array]) for name, array in LAYER.items()}),
        ),
        (
            "primitives[0]['weights_iter'] must hold 1 or 2 directions; got 3.",
            lambda: from_onednn({name: np.concatenate([array] * 3, axis=1) for name, array in LAYER.items()}),
        ),
        (
            f"stacked must be False for GRU(3, 5, num_layers=2) float32, 330 parameters: {STACK}",
            lambda: to_onednn(grus.GRU(3, 5, num_layers=2, seed=0), stacked=True),
        ),
        (
            "stacked must be False for GRU(5, 5, num_layers=2, bidirectional=True) float32, 870 parameters: "
            + STACK,
            lambda: to_onednn(grus.GRU(5, 5, num_layers=2, bidirectional=True, seed=0), stacked=True),
        ),
        (
            "oneDNN is the formulation 'after' or 'before' and this GRU is 'candidate'. They are different "
            "functions: no weights turn one into the other. Train one with formulation='after'.",
            lambda: to_onednn(grus.GRU(3, 5, formulation="candidate", seed=0)),
        ),
    ],
)
def test_what_is_refused(text: str, call: Callable[[], Any]) -> None:
    refused(text, call)


def test_no_bias() -> None:
    """Which oneDNN documents as optional: the weights alone, with the formulation in words."""
    for formulation in ("after", "before"):
        gru = Case(2, 2, False, formulation, "float32").gru()
        primitives = [changed(each, bias=None) for each in to_onednn(gru)]
        back = from_onednn(primitives, formulation=formulation)
        assert not back.bias
        same_function(gru, back)


def test_a_bias_of_some_layers() -> None:
    """The formulation that one layer's tells holds for the one without."""
    gru = Case(2, 1, True, "before", "float32").gru()
    first, second = to_onednn(gru)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        gru.parameters[name] = np.zeros(15, "float32")
    same_function(gru, from_onednn([changed(first, bias=None), second]))
