"""The GRU's mathematics is written once: every tag stands on its line of equations.py, and nowhere else."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import pytest

import grus

FOLDER = Path(grus.__file__).parent
EQUATIONS = FOLDER / "equations.py"
TAGS = ("F1", "F2", "F3", "F3'", "F4", "B1", "B2", "B3", "B3'", "B4")
OTHERS = sorted(path for path in FOLDER.rglob("*.py") if path != EQUATIONS)

# What code that mixes gates looks like, as ast.unparse writes it; the names are those that the project uses.
STATE = r"(?:h|h_prev|h_next|state|states|n|new|candidate)\b"
MIXING = {
    "(1 - z)": re.compile(r"\b1(?:\.0)? - (?:z|zt|z_t|update|update_gate)\b"),
    "z * (h - n)": re.compile(rf"\b(?:z|zt|z_t|update_gate) \* \(?{STATE}"),
    "r * h": re.compile(rf"\b(?:r|rt|r_t|reset_gate) \* \(?(?:gh|{STATE})"),
    "h * z": re.compile(rf"\b{STATE} \*=? (?:z|r)\b"),
}
GATE = re.compile(r"\b(?:form(?:ulation)?\.activation|(?:reset|update)_activation)(?:\.derivative)?$")


def tags_on_code(path: Path) -> Counter[str]:
    """How often each tag stands in a comment behind code."""
    text = path.read_text(encoding="utf-8")
    found: Counter[str] = Counter()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            found.update(re.findall(r"\(([FB]\d'?)\)", token.string))
    return found


def expressions(path: Path) -> list[str]:
    """All arithmetic of a module, without comments and docstrings, spaced as ast.unparse does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.BinOp, ast.AugAssign))]


def gate_calls(path: Path) -> list[str]:
    """Calls of a formulation's activations: only who computes gates has a use for them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if GATE.search(call)]


def mixes(path: Path) -> list[str]:
    """The expressions of a module that mix gates, and its calls of a gate's activation."""
    code = [each for each in expressions(path) if any(pattern.search(each) for pattern in MIXING.values())]
    return code + gate_calls(path)


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_stands_on_its_line_of_code(tag: str) -> None:
    assert tags_on_code(EQUATIONS)[tag] == 1


def test_there_are_no_other_tags() -> None:
    assert set(tags_on_code(EQUATIONS)) == set(TAGS)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_no_other_module_has_the_mathematics(path: Path) -> None:
    assert not tags_on_code(path)
    assert not mixes(path)


def test_the_patterns_recognise_the_mathematics() -> None:
    """What is asserted to be absent elsewhere is present here, so the patterns are not vacuous."""
    code = expressions(EQUATIONS)
    for name in ("(1 - z)", "z * (h - n)", "r * h"):
        assert any(MIXING[name].search(each) for each in code), name
    assert len(gate_calls(EQUATIONS)) == 7  # (F1)-(F3), (F3'), and the derivatives of three gates


@pytest.mark.parametrize(
    "line",
    [
        "h = (1 - z) * n + z * h_prev",
        "h = (1.0 - z) * n",
        "h = n + z*(h_prev - n)",
        "n = tanh(gx_n + r*gh_n)",
        "n = tanh(W @ (r * h))",
        "h *= z",
        "h = h_prev * z",
        "r = form.reset_activation(a)",
        "n = self.formulation.activation(a)",
        "d = form.update_activation.derivative(z)",
    ],
)
def test_a_module_with_the_mathematics_is_noticed(line: str, tmp_path: Path) -> None:
    (module := tmp_path / "other.py").write_text(f'"""(F4) h = n + z * (h_prev - n)"""\n{line}\n')
    assert mixes(module)
    module.write_text(f'"""(F4) h = n + z * (h_prev - n)"""\n# {line}\nh = gru(x)\n')
    assert not mixes(module)
