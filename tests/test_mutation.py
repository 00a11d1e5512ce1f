"""The checks can fail: every small change to the equations, one at a time in a copy, must be noticed.

The copies are run against the golden files of PyTorch and ONNX (forward), and on random problems of every option
against gradients that this file works out in other ways: complex steps through the true forward pass; windows of
it, unrolled one by one, where gradients are truncated; an explicit loop where they are clipped. So a survivor is
either a hole in those checks or a change that changes nothing.

Longer than 300 lines because the mutants and what finds them belong together.
"""

from __future__ import annotations

import ast
import re
import types
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from grus import equations, reference
from grus._gradcheck import complex_step, relative_error
from grus.activations import Activation
from test_golden import load
from tolerances import relative

Array = np.ndarray[Any, np.dtype[Any]]
TAG = re.compile(r"# \(([FB]\d'*)\)")

# --------------------------------------------------------------------------------------------------- the mutants

MUTATED = {  # throughout: lines with a tag and others
    equations: [
        "step_forward", "step_backward", "from_input", "to_input", "from_state", "to_state", "normalised",
        "normalised_backward", "block_product", "blocks", "rows", "_by_gate", "_deviation",
    ],
    reference: [
        "sequences_forward", "sequences_backward", "sequence_forward", "sequence_backward", "_Backward",
        "_weight_gradients", "_outer_sum", "_sum", "_order", "_decayed", "_at", "_stacked", "_used",
        "reset_before", "_states_before",
    ],
}  # fmt: skip

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Add, ast.Sub),
    ast.Div: (ast.Mult,),
    ast.Gt: (ast.Lt,),
}
NAMES = {  # each for others of the same kind; only those that the function knows are tried
    "r": "z", "z": "r", "n": "h_prev", "h_prev": "n", "gh_n": "n", "gx_r": "gx_z", "gx_z": "gx_r", "gx_n": "gh_n",
    "gh_r": "gh_z", "gh_z": "gh_r", "product_r": "product_z", "product_z": "product_n", "product_n": "product_r",
    "dz": "dr", "dr": "dz", "dn": "dgx_n", "dgx_n": "dn", "dgh_n": "dgx_n", "q": "dgx_n", "dg_r": "dg_z",
    "dg_z": "dg_r", "dproduct_r": "dproduct_z", "dproduct_z": "dproduct_n", "dproduct_n": "dproduct_r",
    "from_r": "from_z", "from_z": "q", "stays": "dh", "product": "gh", "gh": "product", "gx": "product",
    "centred": "a", "y": "dy", "dy": "y", "inner": "dy", "before": "h", "h": "before", "dh_prev": "dh",
    "left": "dh", "carried": "left", "arrived": "dh", "dgx": "d_product_ih", "R": "Z", "Z": "N", "N": "R",
}  # fmt: skip
ATTRIBUTES = {
    "reset_activation": "update_activation", "update_activation": "activation", "activation": "update_activation",
    "weight_ih": "weight_hh", "weight_hh": "weight_ih", "bias_ih": "bias_hh", "bias_hh": "bias_ih",
    "gain_ih": "gain_hh", "gain_hh": "gain_ih", "recurrent": "input", "input": "recurrent", "gx": "gh", "gh": "gx",
    "products": "gh", "h_prev": "before", "before": "h_prev", "d_h0": "d_reset_state", "d_reset_state": "d_h0",
    "valid": "reset", "reset": "valid", "r": "z",
}  # fmt: skip

# Mutants that compute the same function, by name and with the reason: they can't be noticed.
TOGETHER = "the two gains are given together or not at all"
SHAPE = "both have the same shape, and nothing else of it is used"
EQUIVALENT = {
    "step_forward: gain_hh -> gain_ih, column 19 of products = None if weights.gain_hh is None else "
    "np.concatenate([product_r, product_z, product_n], axis=-1)": TOGETHER,
    "from_input: gain_ih -> gain_hh, column 16 of gx = product if weights.gain_ih is None else "
    "weights.gain_ih * normalised(product)": TOGETHER,
    "to_input: gain_ih -> gain_hh, column 3 of if weights.gain_ih is None or product is None:": TOGETHER,
    "from_state: gain_hh -> gain_ih, column 16 of gh = product if weights.gain_hh is None else "
    "weights.gain_hh[own] * normalised(product, 1)": TOGETHER,
    "to_state: gain_hh -> gain_ih, column 3 of if weights.gain_hh is not None and products is not None:": TOGETHER,
    "_weight_gradients: gain_ih -> gain_hh, column 3 of if weights.gain_ih is not None and "
    "back.gates.products is not None:": TOGETHER,
    "_stacked: gain_hh -> gain_ih, column 8 of None if weights.gain_hh is None else "
    "np.empty((*states.shape[:2], 3 * states.shape[2]), states.dtype)": TOGETHER,
    "state_gradients: before -> h_prev, column 28 of arrived, dh = np.empty_like(self.before), d_h_n": SHAPE,
    "_weight_gradients: h_prev -> before, column 4 of H = back.h_prev.shape[-1]": SHAPE,
    "_decayed: 1 -> 2, column 51 of decay = np.where(steps.valid[t][..., None], decay, 1)": (
        "what a step that is not valid starts from is used nowhere, as long as it is finite"
    ),
    "_used: 0 -> 1, column 77 of return problem.x if valid is None else "
    "np.where(valid[..., None], problem.x, 0)": (
        "what a step that is not valid reads is used nowhere, as long as it is finite"
    ),
}


class Mutant(NamedTuple):
    """One change: what it is called, where, and how it is made."""

    name: str
    module: types.ModuleType
    node: ast.AST
    change: Callable[[Any], None]


SOURCES = {module: Path(module.__file__ or "").read_text(encoding="utf-8") for module in MUTATED}
TREES = {module: ast.parse(source) for module, source in SOURCES.items()}


def changes(node: ast.AST, known: set[str]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """What can be changed at a node of a function that knows these names, each change with its name."""
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in OPERATORS.get(type(node.op), ()):
            yield f"{type(node.op).__name__} -> {other.__name__}", lambda n, to=other: setattr(n, "op", to())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield "> -> <", lambda n: setattr(n, "ops", [ast.Lt()])
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and NAMES.get(node.id) in known:
        yield f"{node.id} -> {NAMES[node.id]}", lambda n: setattr(n, "id", NAMES[n.id])
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in ATTRIBUTES:
        yield f"{node.attr} -> {ATTRIBUTES[node.attr]}", lambda n: setattr(n, "attr", ATTRIBUTES[n.attr])
    elif isinstance(node, ast.Constant) and type(node.value) in (int, bool, str):
        other = {int: lambda v: v + 1, bool: lambda v: not v, str: lambda v: f"not {v}"}[type(node.value)]
        yield f"{node.value} -> {other(node.value)}", lambda n: setattr(n, "value", other(n.value))
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield "the condition is turned round", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "nothing is done", lambda n: setattr(n, "value", ast.Constant(0))


def mutants() -> list[Mutant]:
    """Every change in those functions; a name tells the tag or the function, the change and the line's code."""
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    for module, wanted in MUTATED.items():
        lines, owners = SOURCES[module].splitlines(), functions(module, wanted)
        for owner in owners:
            known = {n.id for n in ast.walk(owner) if isinstance(n, ast.Name)} | {"R", "Z", "N"}
            known |= {n.arg for n in ast.walk(owner) if isinstance(n, ast.arg)}
            for node in body_of(owner):
                for what, change in changes(node, known):
                    name = described(owner, node, what, lines)
                    names[name] += 1
                    found.append(Mutant(name + " again" * (names[name] - 1), module, node, change))
    return found


def functions(module: types.ModuleType, wanted: list[str]) -> list[ast.FunctionDef]:
    """The functions of those names, and the methods of those classes."""
    top = {node.name: node for node in TREES[module].body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    found = []
    for name in wanted:
        node = top[name]
        found += [
            f
            for f in ([node] if isinstance(node, ast.FunctionDef) else node.body)
            if isinstance(f, ast.FunctionDef)
        ]
    return found


def body_of(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """All nodes of a function but its signature, its docstring, its annotations and ``strict=True``."""
    for statement in function.body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            left_out: set[ast.AST] = set()
            for node in ast.walk(statement):
                if isinstance(node, ast.AnnAssign):
                    left_out.update(ast.walk(node.annotation))
                elif isinstance(node, ast.keyword) and node.arg == "strict":
                    left_out.update(ast.walk(node))
                if node not in left_out:
                    yield node


def described(owner: ast.FunctionDef, node: Any, what: str, lines: list[str]) -> str:
    line = lines[node.lineno - 1]
    place = f"({match[1]})" if (match := TAG.search(line)) else owner.name
    code = line.partition("  #")[0]
    return f"{place}: {what}, column {node.col_offset - (len(code) - len(code.lstrip()))} of {code.strip()}"


def module_of(mutant: Mutant | None) -> types.ModuleType:
    """Both files as one module, with the change."""
    result = types.ModuleType("mutant")
    for module in MUTATED:
        exec(code_of(module) if mutant is None or mutant.module is not module else mutated(mutant), vars(result))
    return result


@cache
def code_of(module: types.ModuleType) -> types.CodeType:
    return compile(without_imports(TREES[module]), module.__name__, "exec")


def mutated(mutant: Mutant) -> types.CodeType:
    original = dict(vars(mutant.node))
    mutant.change(mutant.node)
    try:
        tree = without_imports(TREES[mutant.module])
        return compile(ast.fix_missing_locations(tree), "mutant", "exec")
    finally:
        vars(mutant.node).update(original)


def without_imports(tree: ast.Module) -> ast.Module:
    """The file without its import of the other one, whose names are there already."""
    body = [
        node for node in tree.body if not (isinstance(node, ast.ImportFrom) and node.module == "grus.equations")
    ]
    return ast.Module(body, [])


# ------------------------------------------------------------------------------------------- forward, as others


GOLDEN = [load(name) for name in ("torch_plain_float64", "onnx_before_float64")]


def forward_agrees(module: Any) -> bool:
    """Outputs equal PyTorch's (reset after) and the ONNX evaluator's (reset before), from the golden files."""
    for gru, call, expected in GOLDEN:
        weights = module.Weights(*(gru.parameters[f"{name}_l0"] for name in module.Weights._fields[:4]))
        output, h0 = np.empty_like(expected["output"]), call["h0"][0]
        problem = module.Problem(
            call["x"], h0, weights, module.Formulation(*gru.formulation), module.Steps(np.zeros_like(h0))
        )
        module.sequence_forward(output, problem)
        if not relative_error(output, expected["output"]) <= relative("other library"):
            return False
    return True


# ------------------------------------------------------------------------------- backward, worked out otherwise


class Case:
    """Small random sequences with some options: their true states and gradients."""

    def __init__(
        self, *options: str, reset: str = "after", reverse: bool = False, T: int = 3, **form: Any
    ) -> None:
        rng = np.random.default_rng(6)
        B, I, H, blocks = 2, 2, 4, 2 if "blocks" in options else 1
        shapes = {"x": (T, B, I), "h0": (B, H), "reset_state": (B, H)}
        shapes |= {
            "weight_ih": (3 * H, I),
            "weight_hh": (3 * H, H // blocks),
            "bias_ih": (3 * H,),
            "bias_hh": (3 * H,),
        }
        if "norm" in options:
            shapes |= {"gain_ih": (3 * H,), "gain_hh": (3 * H,)}
        if "decay" in options:
            shapes |= {"decay": (T, B, H)}
        self.arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        self.d_output, self.d_h_n = rng.standard_normal((T, B, H)), rng.standard_normal((B, H))
        drawn = {
            "recurrent": rng.random((B, 3 * H)),
            "input": rng.random((B, 3 * H)),
            "zoneout": rng.random((T, B, H)),
        }
        self.masks = {
            name: 2 * mask if name != "zoneout" else mask for name, mask in drawn.items() if name in options
        }
        # Three different activations, so that a gate which takes another's is noticed.
        activations = (Activation("elu", alpha=0.5), Activation("softsign"), Activation("sigmoid"))
        self.form = {**equations.Formulation(reset, *activations, blocks=blocks)._asdict(), **form}
        self.steps: dict[str, Any] = {"reverse": reverse}
        flags = {"valid": rng.random((T, B)) < 0.7, "reset": rng.random((T, B)) < 0.4}
        self.steps |= {name: flag for name, flag in flags.items() if name in options}

    def given(self, module: Any, arrays: dict[str, Array]) -> Any:
        """The problem, of a module's own types."""
        steps = module.Steps(arrays["reset_state"], **self.steps, decay=arrays.get("decay"))
        weights = module.Weights(**{name: a for name, a in arrays.items() if name in module.Weights._fields})
        form, masks = module.Formulation(**self.form), module.Masks(**self.masks)
        return module.Problem(arrays["x"], arrays["h0"], weights, form, steps, masks)

    def forward(self, module: Any, arrays: dict[str, Array], keep: bool = True) -> tuple[Array, Array, Any]:
        """All states, the last one, and the gates."""
        states = np.empty(self.d_output.shape, arrays["x"].dtype)
        (h_n,), (gates,) = module.sequences_forward([(states, self.given(module, arrays), keep)])
        return states, h_n, gates

    # ------------------------------------------------------------------------------------------------- the truth

    @cached_property
    def states(self) -> tuple[Array, Array]:
        return self.forward(reference, self.arrays)[:2]

    @cached_property
    def exact(self) -> dict[str, Array]:
        """The true gradients, by name."""
        stepped = {name: array.astype(complex) for name, array in self.arrays.items()}
        loss: Callable[[], complex]
        if self.form["truncate"] is not None:
            loss = lambda: self.windows(stepped)  # noqa: E731
        elif self.form["gradient_clip"] is not None:
            arrived, ends = self.clipped()
            loss = lambda: self.one_by_one(stepped, arrived, ends)  # noqa: E731
        else:
            loss = lambda: self.loss(stepped)  # noqa: E731
        return {name: complex_step(loss, array) for name, array in stepped.items()}

    def loss(self, arrays: dict[str, Array]) -> complex:
        states, h_n, _ = self.forward(reference, arrays)
        return complex((self.d_output * states).sum() + (self.d_h_n * h_n).sum())

    @cached_property
    def order(self) -> list[int]:
        order = list(range(len(self.d_output)))
        return order[::-1] if self.steps["reverse"] else order

    @cached_property
    def valid(self) -> Array:
        return self.steps.get("valid", np.ones(self.d_output.shape[:2], bool))

    @cached_property
    def begins(self) -> Array:
        """(T, B): a reset replaces the state before this step is taken."""
        reset = self.steps.get("reset", np.zeros(self.d_output.shape[:2], bool))
        if not self.steps["reverse"]:
            return np.asarray(reset)
        return np.concatenate([reset, np.zeros_like(reset[:1])])[1:]  # the last step has none after it

    def step(self, arrays: dict[str, Array], t: int, b: int, h: Array) -> Array:
        """The state of row b after step t, from the one that it starts from."""
        problem = self.given(reference, arrays)
        if not self.valid[t, b]:
            return h
        h = h if problem.steps.decay is None else problem.steps.decay[t, b] * h
        masks = {name: mask[t, b] if name == "zoneout" else mask[b] for name, mask in self.masks.items()}
        own = equations.Masks(**masks)
        _, gx = equations.from_input(problem.x[t, b], problem.weights, own)
        return equations.step_forward(gx, h, problem.weights, problem.form, own)[0]

    def true_state(self, i: int, b: int) -> Array:
        """The state of row b that step order[i] starts from, a reset aside."""
        return self.states[0][self.order[i - 1], b] if i else self.arrays["h0"][b]

    def windows(self, arrays: dict[str, Array]) -> complex:
        """The loss, each step's share of it unrolled over a window: of k valid steps before its own, and its own.

        The state that a window begins with is held fixed; where there are fewer steps, h0 is what it begins with.
        """
        total = 0j
        for b in range(self.d_output.shape[1]):
            for i, t in enumerate(self.order):
                d = self.d_output[t, b] + (self.d_h_n[b] if i == len(self.order) - 1 else 0)
                total += (d * self.window(arrays, i, b)).sum()
        return complex(total if self.order else (self.d_h_n * arrays["h0"]).sum())

    def window(self, arrays: dict[str, Array], last: int, b: int) -> Array:
        used = [i for i in range(last + 1) if self.valid[self.order[i], b]]
        most = self.form["truncate"]
        whole = len(used) <= most
        first = 0 if whole else used[-1 - most]
        h = arrays["h0"][b] if whole else self.true_state(first, b)
        if not whole and self.begins[self.order[first], b]:
            h = self.arrays["reset_state"][b]
        for i in range(first, last + 1):
            if self.begins[self.order[i], b] and (whole or i > first):
                h = arrays["reset_state"][b]
            h = self.step(arrays, self.order[i], b, h)
        return h

    def clipped(self) -> tuple[Array, dict[str, Array]]:
        """The gradient that arrives at each state, and at those that sequences begin with, step by step."""
        limit, arrived = self.form["gradient_clip"], np.zeros_like(self.d_output)
        ends = {"h0": np.zeros_like(self.d_h_n), "reset_state": np.zeros_like(self.d_h_n)}
        for b in range(self.d_output.shape[1]):
            d = self.d_h_n[b]
            for i in reversed(range(len(self.order))):
                t = self.order[i]
                arrived[t, b] = d = d + self.d_output[t, b]
                origin = self.arrays["reset_state"][b] if self.begins[t, b] else self.true_state(i, b)
                h = origin.astype(complex)
                if self.valid[t, b]:
                    d = complex_step(lambda: (d * self.step(self.arrays, t, b, h)).sum(), h)  # noqa: B023
                    d = np.array([max(-limit, min(limit, each)) for each in d])
                if self.begins[t, b]:
                    ends["reset_state"][b] += d
                    d = np.zeros_like(d)
            ends["h0"][b] = d
        return arrived, ends

    def one_by_one(self, arrays: dict[str, Array], arrived: Array, ends: dict[str, Array]) -> complex:
        """A loss whose gradients are those: each step by itself, from a state that is held fixed."""
        total = sum(complex((d * arrays[name]).sum()) for name, d in ends.items())
        for b in range(self.d_output.shape[1]):
            for i, t in enumerate(self.order):
                origin = self.arrays["reset_state"][b] if self.begins[t, b] else self.true_state(i, b)
                if self.valid[t, b]:
                    total += complex((arrived[t, b] * self.step(arrays, t, b, origin)).sum())
        return total

    # ---------------------------------------------------------------------------------------------- the comparison

    def agrees(self, module: Any) -> bool:
        """A module's states are the true ones, and so are its gradients, each by name, gates kept or not.

        Where x's gradient isn't asked for, those of the biases are not either.
        """
        states, h_n, gates = self.forward(module, self.arrays)
        again, _, none = self.forward(module, self.arrays, keep=False)
        pairs = [*zip((states, h_n, again), (*self.states, self.states[0]), strict=True)]
        if none is not None or not close(pairs):
            return False
        return all(
            self.gradients_agree(module, states, of, with_x) for of, with_x in ((gates, True), (None, False))
        )

    def gradients_agree(self, module: Any, states: Array, gates: Any, with_x: bool) -> bool:
        problem = self.given(module, self.arrays)
        weights = {
            name: w
            for name, w in problem.weights._asdict().items()
            if w is not None and (with_x or not name.startswith("bias"))
        }
        out = np.empty(sum(w.size for w in weights.values()))
        d_h0 = np.empty_like(self.d_h_n)
        call = (self.d_output, self.d_h_n, states, gates, problem, d_h0, out, with_x)
        ((d_x, d_reset_state, d_decay),) = module.sequences_backward([call])
        parts = np.split(out, np.cumsum([w.size for w in weights.values()])[:-1])
        found = {"x": d_x, "h0": d_h0, "reset_state": d_reset_state, "decay": d_decay}
        found |= {name: part.reshape(weights[name].shape) for name, part in zip(weights, parts, strict=True)}
        if (d_x is not None) != with_x or (d_decay is not None) != ("decay" in self.arrays):
            return False
        return close(
            [(found[name], e) for name, e in self.exact.items() if with_x or (name != "x" and name in found)]
        )


def close(pairs: list[tuple[Any, Array]]) -> bool:
    return all(
        value.shape == exact.shape and relative_error(value, exact) <= relative("complex step")
        for value, exact in pairs
    )


ALL = ("norm", "blocks", "recurrent", "input", "zoneout", "decay", "valid", "reset")
CASES = [  # those that find most come first
    Case(*ALL, reset="before", reverse=True),
    Case(*ALL),
    Case(*ALL, reset="candidate"),
    Case("decay", "recurrent", "reset", reset="before"),
    Case("norm", "valid", reverse=True),
    Case(*ALL, truncate=1, T=5),
    Case(*ALL, truncate=2, T=5, reset="before", reverse=True),
    Case(*ALL, gradient_clip=0.3, T=4),
    Case("valid", gradient_clip=0.3, T=4, reverse=True),
    Case("blocks", "input", "reset", reverse=True),
    Case(T=1),
    Case(truncate=0),
    Case("valid", truncate=2, T=5),
    Case("reset", truncate=9, reset="candidate"),
    Case("norm", "valid", "reset", T=0),
    Case("norm", T=0, truncate=1, reverse=True),
]


def survives(mutant: Mutant | None) -> bool:
    """True where all checks pass; a mutant that raises, or that warns of an overflow, is dead."""
    try:
        with np.errstate(all="ignore"):
            module = module_of(mutant)
            return forward_agrees(module) and all(case.agrees(module) for case in CASES)
    except (AttributeError, IndexError, NameError, RuntimeWarning, TypeError, ValueError):
        return False


MUTANTS = mutants()


def test_the_true_equations_survive() -> None:
    assert forward_agrees(module_of(None))
    for i, case in enumerate(CASES):
        assert case.agrees(module_of(None)), i


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_is_noticed(mutant: Mutant) -> None:
    assert mutant.name in EQUIVALENT or not survives(mutant)


def test_there_are_mutants_of_every_equation() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    tags = {match[1] for source in SOURCES.values() for match in re.finditer(rf"  {TAG.pattern}", source)}
    assert len(tags) == 18
    for tag in tags:
        assert sum(name.startswith(f"({tag})") for name in names) >= 2, tag
    assert set(names) >= set(EQUIVALENT)
