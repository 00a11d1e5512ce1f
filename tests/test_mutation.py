"""The checks can fail: every small change to the equations, one at a time in a copy, must be noticed.

The copies are run against the golden files of PyTorch and ONNX Runtime (forward) and against complex steps through
the true equations (backward), so a survivor is either a hole in those checks or a change that changes nothing.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grus import equations
from grus.activations import Activation
from grus.gradcheck import complex_step, relative_error
from test_golden import load
from tolerances import relative

Array = np.ndarray[Any, np.dtype[Any]]
SOURCE = Path(equations.__file__).read_text(encoding="utf-8")
TAG = re.compile(r"#.*\(([FB]\d'?)\)")
TAGGED = {number: match[1] for number, line in enumerate(SOURCE.splitlines(), 1) if (match := TAG.search(line))}
WHOLE = [  # mutated throughout, tagged lines and others
    "step_forward", "step_backward", "sequence_forward", "sequence_backward", "_weight_gradients", "_blocks",
    "_outer_sum", "_order", "_used", "_projected", "reset_before", "_previous_states",
]  # fmt: skip

OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Add, ast.Sub),
}
NAMES = {"r": "z", "z": "r", "n": "h_prev", "h_prev": "n", "gh_n": "n", "gx_r": "gx_z", "gx_z": "gx_r", "dz": "dr"}
NAMES |= {
    "dr": "dz",
    "dgx_n": "dn",
    "dn": "dgx_n",
    "q": "dgx_n",
    "dh": "dh_prev",
    "dgh_n": "dgx_n",
    "gx_n": "gh_n",
}
ROLES = {
    "reset_activation": "update_activation",
    "update_activation": "activation",
    "activation": "update_activation",
}

# Mutants that compute the same function, by name and with the reason: they can't be noticed.
EQUIVALENT = {
    "step_backward: h_prev -> n, column 4 of H = h_prev.shape[-1]": "both have the same shape",
    "_used: 0 -> 1, column 73 of return x if steps.valid is None else np.where(steps.valid[..., None], x, 0)": (
        "what a masked step reads is used nowhere, as long as it is finite"
    ),
    **{
        f"_outer_sum: 1 -> 2, column {column} of "
        "return np.asarray(dg.reshape(-1, dg.shape[-1]).T @ inputs.reshape(-1, inputs.shape[-1]))": (
            "reshape takes any negative length as the one to be found"
        )
        for column in (30, 67)
    },
}

Mutant = tuple[str, types.CodeType]


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What can be changed at a node, each change with its name."""
    if isinstance(node, ast.BinOp):
        for other in OPERATORS.get(type(node.op), ()):
            yield f"{type(node.op).__name__} -> {other.__name__}", lambda n, to=other: setattr(n, "op", to())
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
        yield f"{node.id} -> {NAMES[node.id]}", lambda n: setattr(n, "id", NAMES[n.id])
    elif isinstance(node, ast.Attribute) and node.attr in ROLES:
        yield f"{node.attr} -> {ROLES[node.attr]}", lambda n: setattr(n, "attr", ROLES[n.attr])
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} -> {node.value + 1}", lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "the condition is turned round", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))


def mutants() -> list[Mutant]:
    """Every change in those functions; a name tells the tag or the function, the change and the line's code."""
    tree, lines = ast.parse(SOURCE), SOURCE.splitlines()
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in WHOLE]
    assert [function.name for function in functions] == WHOLE
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        owner = next((f for f in functions if f.body[0].lineno <= line <= (f.end_lineno or 0)), None)
        if owner is None:
            continue
        for what, change in changes(node):
            original = dict(vars(node))
            change(node)
            mutated = compile(ast.fix_missing_locations(tree), "mutant", "exec")
            vars(node).update(original)
            place = f"({TAGGED[line]})" if line in TAGGED else owner.name
            code = lines[line - 1].partition("  #")[0]
            column = node.col_offset - (len(code) - len(code.lstrip()))
            found.append((f"{place}: {what}, column {column} of {code.strip()}", mutated))
    return found


def module_of(code: types.CodeType) -> Any:
    """The changed equations as a module."""
    module = types.ModuleType("mutant")
    exec(code, vars(module))
    return module


# ------------------------------------------------------------------------------------------------- the two checks


def forward_agrees(module: Any) -> bool:
    """Outputs equal PyTorch's (reset after) and the ONNX evaluator's (reset before), from the golden files."""
    for name in ("torch_plain_float64", "onnx_before_float64"):
        gru, call, expected = load(name)
        weights = module.Weights(*(gru.parameters[f"{field}_l0"] for field in module.Weights._fields))
        form = module.Formulation(*gru.formulation)
        output = np.empty_like(expected["output"])
        steps = module.Steps(reset_state=np.zeros_like(call["h0"][0]))
        module.sequence_forward(output, call["x"], call["h0"][0], weights, form, steps)
        if not relative_error(output, expected["output"]) <= relative("other library"):
            return False
    return True


class Problem:
    """Small random sequences, perhaps with masked steps and resets: their true states, and the true gradients."""

    def __init__(self, reset_after: bool, reverse: bool, T: int = 3, plain: bool = False) -> None:
        rng = np.random.default_rng(6)
        B, I, H = 2, 2, 3
        shapes = {"x": (T, B, I), "h0": (B, H), "weight_ih": (3 * H, I), "weight_hh": (3 * H, H)}
        shapes |= {"bias_ih": (3 * H,), "bias_hh": (3 * H,), "reset_state": (B, H)}
        self.arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        self.d_output, self.d_h_n = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))
        # Three different activations, so that a gate which takes another's is noticed.
        activations = (Activation("elu", alpha=0.5), Activation("softsign"), Activation("sigmoid"))
        self.form = equations.Formulation(reset_after, *activations)
        self.steps: dict[str, Any] = {"reverse": reverse}
        if not plain:
            self.steps |= {"valid": rng.random((T, B)) < 0.7, "reset": rng.random((T, B)) < 0.4}
        self.states = self.forward(equations, self.arrays)[:2]
        stepped = {name: array.astype(complex) for name, array in self.arrays.items()}
        self.exact = {name: complex_step(lambda: self.loss(stepped), array) for name, array in stepped.items()}

    def loss(self, arrays: dict[str, Array]) -> complex:
        states, h_n, _ = self.forward(equations, arrays)
        return complex((self.d_output * states).sum() + (self.d_h_n * h_n).sum())

    def given(self, module: Any, arrays: dict[str, Array]) -> tuple[Any, ...]:
        x, h0, *weights, reset_state = arrays.values()
        steps = module.Steps(reset_state=reset_state, **self.steps)
        return x, h0, module.Weights(*weights), module.Formulation(*self.form), steps

    def forward(self, module: Any, arrays: dict[str, Array]) -> tuple[Array, Array, Any]:
        states = np.empty(self.d_output.shape, arrays["x"].dtype)
        return states, *module.sequence_forward(states, *self.given(module, arrays))

    def agrees(self, module: Any) -> bool:
        """A module's states are the true ones, and so are its gradients, each by name, gates kept or not."""
        states, h_n, gates = self.forward(module, self.arrays)
        return self.gradients_agree(module, states, h_n, gates) and self.gradients_agree(module, states, h_n, None)

    def gradients_agree(self, module: Any, states: Array, h_n: Array, gates: Any) -> bool:
        d = module.sequence_backward(self.d_output, self.d_h_n, states, gates, *self.given(module, self.arrays))
        found = {"x": d.x, "h0": d.h0, "reset_state": d.reset_state, **d.weights._asdict()}
        pairs = [
            *zip((states, h_n), self.states, strict=True),
            *((found[name], e) for name, e in self.exact.items()),
        ]
        return all(relative_error(value, exact) <= relative("complex step") for value, exact in pairs)


PROBLEMS = [Problem(reset_after, reverse) for reset_after in (True, False) for reverse in (False, True)]
PROBLEMS += [Problem(True, False, plain=True), Problem(True, False, T=0)]


def survives(code: types.CodeType) -> bool:
    """True where all checks pass; a mutant that raises, or that warns of an overflow, is dead."""
    try:
        with np.errstate(all="ignore"):
            module = module_of(code)
            return forward_agrees(module) and all(problem.agrees(module) for problem in PROBLEMS)
    except (AttributeError, IndexError, NameError, TypeError, ValueError):
        return False


MUTANTS = mutants()


def test_the_true_equations_survive() -> None:
    assert survives(compile(SOURCE, "equations", "exec"))


@pytest.mark.parametrize(("name", "code"), MUTANTS, ids=[name for name, _ in MUTANTS])
def test_a_mutant_is_noticed(name: str, code: types.CodeType) -> None:
    assert name in EQUIVALENT or not survives(code)


def test_there_are_mutants_of_every_equation() -> None:
    names = [name for name, _ in MUTANTS]
    assert len(set(names)) == len(names)
    for tag in ("F1", "F2", "F3", "F3'", "F4", "B1", "B2", "B3", "B3'", "B4"):
        assert sum(name.startswith(f"({tag})") for name in names) >= 2, tag
    assert sum(name.startswith("(") for name in names) >= 20
    assert set(names) >= set(EQUIVALENT)
