"""``tools/conversion_matrix.py``: it runs, on the layouts that need no library, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import grus
from layouts import GRID, Case
from library_sides import SIDES
from tools import conversion_matrix
from tools.conversion_matrix import Outcome

CASE = Case(1, 1, True, "before", "float64")
RIGHT = Outcome("epynn", "haste", CASE, None, "formulation", "They are different functions", None)


def test_layouts(capsys: pytest.CaptureFixture[str]) -> None:
    assert conversion_matrix.main(["epynn", "coreml", "haste"]) == 0
    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if "|" in line]
    assert lines[0] == ["float64, source ↓ target →", "EpyNN", "Core ML", "haste"]
    assert lines[2:4] == [
        ["EpyNN", "0", "refused: float64", "refused: before"],
        ["haste", "refused: after", "refused: after", "0"],
    ]
    assert lines[4][0] == "float32, source ↓ target →"
    assert lines[6][:2] == ["EpyNN", "0"]
    assert float(lines[6][2]) <= 1e-6
    assert lines[7][2:] == ["0", "refused: before"]
    assert "refused, float64: *Core ML before iOS 18 holds float32" in printed
    assert "float64: 4 converted, worst 0.0e+00, bound 1e-12; 8 refused." in printed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (RIGHT._replace(difference=1e-3, refused=None, wrong="another function"), "another function (0.001)"),
        (RIGHT._replace(refused=None, message="no", wrong="refused"), "refused (no)"),
    ],
)
def test_what_is_wrong_is_said(
    wrong: Outcome, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for found, status in (([RIGHT], 0), ([RIGHT, wrong], 1)):
        monkeypatch.setattr(conversion_matrix, "outcomes", lambda names, found=found: found)
        assert conversion_matrix.main(["epynn", "haste"]) == status
    assert f"WRONG: epynn to haste, 1-1-True-before-float64: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("epynn", {}, None),
        ("haste", {}, None),
        ("haste", {"formulations": ("after", "before")}, "refused"),
        ("haste", {"formulations": ("after", "before"), "directions": (2,)}, "refused for another reason"),
        ("epynn", {"formulations": ("after",)}, "converted"),
    ],
)
def test_a_side_that_is_not_as_it_is_said_to_be(
    name: str, change: dict[str, object], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion_matrix.write_sources(tmp_path, "epynn")
    for field, value in change.items():
        original = SIDES[name]
        monkeypatch.setitem(SIDES, name, type(original)(**{**vars(original), field: value}))
    assert conversion_matrix.outcome(tmp_path / f"epynn {CASE}.npz", name).wrong == said


def test_another_function_is_noticed(tmp_path: Path) -> None:
    """The answer of the source itself is what counts, not what grus made of it."""
    conversion_matrix.write_sources(tmp_path, "epynn")
    path = tmp_path / f"epynn {CASE}.npz"
    gru = grus.load(path.with_suffix(".safetensors"))
    gru.parameters["weight_hh_l0"][0, 0] += 1e-6
    grus.save(gru, path.with_suffix(".safetensors"))
    found = conversion_matrix.outcome(path, "epynn")
    assert found.wrong == "another function"
    assert found.difference is not None
    assert 1e-12 < found.difference < 1e-5


def test_sides_have_what_they_say() -> None:
    assert len({str(case) for case in GRID}) == len(GRID) == 32
    for name, side in SIDES.items():
        made = [case for case in GRID if side.makes(case)]
        assert {case.formulation for case in made} == set(side.formulations), name
        assert {case.dtype for case in made} == set(side.dtypes), name
        assert {case.bias for case in made} == ({True, False} if side.none else {True}), name
    assert np.all([SIDES["nnx"].lacks(case, b_hn=True) >= {"b_hn"} for case in GRID])
