"""The GRU's mathematics is written once: every tag stands on one line of equations.py or reference.py."""

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
EQUATIONS, REFERENCE = FOLDER / "equations.py", FOLDER / "reference.py"
TAGS = {  # a step's equations, and what happens to the state between two steps
    EQUATIONS: [f"{way}{which}" for way in "FB" for which in ("1", "2", "3", "3'", "3''", "4", "5", "6")],
    REFERENCE: ["F0", "B0"],
}
FORMULAS = set((FOLDER / "conversion").glob("*formula*.py"))  # those of others, to check conversions against
OTHERS = sorted(path for path in FOLDER.rglob("*.py") if path not in (*TAGS, *FORMULAS))

# What code that mixes gates looks like, as ast.unparse writes it; the names are those that the project uses.
STATE = r"(?:h|dh|h_prev|dh_prev|h_next|before|state|states|n|new|candidate)\b"
OF = r"(?:\w+\.)*"  # what a name is an attribute of
AT = r"(?:\[[^]]*\])?"  # and which entries of it are taken
MIXING = {
    "(1 - z)": re.compile(rf"\b1(?:\.0)? - {OF}(?:z|zt|z_t|update|update_gate)\b"),
    "z * (h - n)": re.compile(rf"\b(?:z|zt|z_t|update_gate) \* \(?{OF}{STATE}"),
    "r * h": re.compile(rf"\b(?:r|rt|r_t|reset_gate) \* \(?{OF}(?:g[xh]|{STATE})"),
    "h * z": re.compile(rf"\b{STATE} \*=? {OF}(?:z|r)\b"),
    "zoneout * (h_prev - h)": re.compile(rf"\bzoneout{AT} \* \(?{OF}{STATE}"),
    "dh * zoneout": re.compile(rf"\b{STATE}{AT} \*=? {OF}zoneout\b"),
    "1 - zoneout": re.compile(rf"\b1(?:\.0)? - {OF}zoneout\b"),
    "a - a.mean": re.compile(r" - \w+\.mean\(axis=-1| - np\.mean\(\w+, axis=-1"),
    "centred / deviation": re.compile(r" / (?:_?deviation\b|np\.sqrt\(.*(?:var|EPSILON|epsilon|\beps)\b)"),
    "gain * normalised": re.compile(rf"\bgain(?:_ih|_hh)?{AT} \*| \*=? {OF}gain(?:_ih|_hh)?\b"),
    "decay * before": re.compile(rf"\bdecay{AT} \* \(?{OF}{STATE}"),
    "dh_prev * decay": re.compile(rf"\b{STATE}{AT} \*=? {OF}decay\b"),
}
GATE = re.compile(r"\b(?:form(?:ulation)?\.activation|(?:reset|update)_activation)(?:\.derivative)?$")


def tags_on_code(path: Path) -> Counter[str]:
    """How often each tag begins a comment behind code; other comments may speak of it."""
    text = path.read_text(encoding="utf-8")
    found: Counter[str] = Counter()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            found.update(re.findall(r"^# \(([FB]\d'*)\)", token.string))
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


@pytest.mark.parametrize(("path", "tag"), [(path, tag) for path, tags in TAGS.items() for tag in tags])
def test_a_tag_stands_on_its_line_of_code(path: Path, tag: str) -> None:
    assert tags_on_code(path)[tag] == 1


@pytest.mark.parametrize("path", TAGS, ids=lambda path: path.name)
def test_there_are_no_other_tags(path: Path) -> None:
    assert set(tags_on_code(path)) == set(TAGS[path])


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_no_other_module_has_the_mathematics(path: Path) -> None:
    assert not tags_on_code(path)
    assert not mixes(path)


def test_sequences_mix_gates_in_one_other_place() -> None:
    """Besides its tags reference.py writes what multiplies weight_hn where the reset acts before it."""
    tagged = ("decay * before", "dh_prev * self.steps.decay[t]")
    assert sorted(mixes(REFERENCE)) == sorted(("back.gates.r * back.h_prev", *tagged))


def test_the_patterns_recognise_the_mathematics() -> None:
    """What is asserted to be absent elsewhere is present here, so the patterns are not vacuous."""
    code = expressions(EQUATIONS) + expressions(REFERENCE)
    for name in MIXING.keys() - {"h * z"}:
        assert any(MIXING[name].search(each) for each in code), name
    assert len(gate_calls(EQUATIONS)) == 8  # (F1)-(F3), (F3'), (F3''), and the derivatives of three gates


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
        "n = tanh(r * (gx_n + gh_n))",
        "h = h_prev * gates.z",
        "h = h + zoneout * (h_prev - h)",
        "h = zoneout[t] * h_prev + (1 - zoneout[t]) * h",
        "dh_prev = dh * masks.zoneout",
        "dh *= 1 - masks.zoneout",
        "y = a - a.mean(axis=-1, keepdims=True)",
        "y = a - np.mean(a, axis=-1, keepdims=True)",
        "y = centred / np.sqrt(a.var(axis=-1) + 1e-5)",
        "y = centred / deviation",
        "g = weights.gain_hh[rows] * product",
        "dy = dg * gain",
        "h_prev = steps.decay[t] * before",
        "h = decay * h",
        "dh_prev = dh_prev * decay[t]",
    ],
)
def test_a_module_with_the_mathematics_is_noticed(line: str, tmp_path: Path) -> None:
    (module := tmp_path / "other.py").write_text(f'"""(F4) h = n + z * (h_prev - n)"""\n{line}\n')
    assert mixes(module)
    module.write_text(f'"""(F4) h = n + z * (h_prev - n)"""\n# {line}\nh = gru(x)\n')
    assert not mixes(module)
