"""``docs/conversions.md``: its code runs, and its table has every row of the one that converters read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import grus
from grus.conversion import CONVENTIONS
from layouts import difference, inputs

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),  # of Keras
]
PAGE = (Path(__file__).parents[1] / "docs" / "conversions.md").read_text(encoding="utf-8")
CODE = re.findall(
    r"^```(?:\{code-cell\} )?python\n(?::tags: [^\n]*\n\n)?(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
START, BLOCKS, TABLE = CODE[:2], CODE[2:-1], CODE[-1]
LIBRARIES = {"torch": "torch", "keras": "keras", "onnx": "onnxruntime", "flax": "flax"}


def library(block: str) -> str | None:
    """Which one it needs."""
    found = re.search(r"^from grus\.(\w+) import", block, re.MULTILINE)
    if found and found[1] == "jax":
        return "haiku" if "haiku" in block else "equinox"
    return LIBRARIES.get(found[1]) if found else None


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_code_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone, after what stands at the top; and the GRUs that come back are those that went."""
    needed = library(block)
    if needed:
        pytest.importorskip(needed, reason=f"could not import {needed!r}, which this code needs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec("".join(START), names)
    went = {name: names[name] for name in ("gru", "before")}
    exec(block, names)
    for name, gru in went.items():
        x, h0 = inputs(gru)
        assert difference(gru(x, h0), names[name](x, h0)) <= 1e-6


def test_every_converter_has_its_code() -> None:
    shown = set(re.findall(r"^from grus\.(\w+) import from_\w+, to_\w+$", PAGE, re.MULTILINE))
    folder = Path(grus.__file__).parent
    assert shown == {p.stem for p in folder.glob("*.py") if re.search(rf"^def to_{p.stem}\(", p.read_text(), re.M)}


def test_its_table_has_every_row() -> None:
    display = pytest.importorskip("IPython.display", reason="could not import 'IPython', which makes the table")
    assert TABLE.count("Markdown(") == 1
    names: dict[str, Any] = {}
    exec(TABLE.replace("Markdown(", "table = Markdown("), names)
    assert isinstance(names["table"], display.Markdown)
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in names["table"].data.splitlines()]
    assert {len(row) for row in rows} == {7}
    assert [row[1:4] for row in rows[2:]] == [
        [row.theirs, " ".join(row.gates), row.formulation] for row in CONVENTIONS.values()
    ]
