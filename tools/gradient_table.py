"""Print, as Markdown, the worst relative error of every gradient of the GRU against complex steps.

Run: ``python tools/gradient_table.py``. It exits with status 1 if any error is above the bound.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

import grus
from grus.activations import ELEMENTWISE

BOUND = 1e-12
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "x", "h0", "reset_state")
STEPS = ("plain", "lengths", "mask", "reset", "all")


def options(steps: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The call keywords of one way to use sequences, for 3 rows of 5 steps."""
    found = {
        "lengths": np.array([5, 0, 3]),
        "mask": rng.random((3, 5)) < 0.7,
        "reset": rng.random((3, 5)) < 0.4,
    }
    return {name: value for name, value in found.items() if steps in (name, "all")}


def errors(steps: str, num_layers: int = 1, bidirectional: bool = False, **settings: object) -> dict[str, float]:
    """The worst relative error of each kind of gradient, over layers and directions."""
    gru = grus.GRU(2, 3, num_layers, bidirectional=bidirectional, dtype="float64", **settings)
    rng = np.random.default_rng(0)
    gru.flat[...] = rng.standard_normal(gru.flat.size) * 0.7
    found = grus.gradcheck(gru, rng.standard_normal((3, 5, 2)), rng=rng, **options(steps, rng))
    worst: dict[str, float] = {}
    for name, error in found.items():
        kind = name.split("_l")[0]
        worst[kind] = max(worst.get(kind, 0.0), error)
    return worst


def row(title: str, cases: list[dict[str, float]]) -> float:
    """Print the worst of the cases, name by name; return the worst of all."""
    worst = {name: max((case[name] for case in cases if name in case), default=None) for name in NAMES}
    print(f"| {title} |" + "|".join("–" if e is None else f" {e:.1e} " for e in worst.values()) + "|")
    return max(e for e in worst.values() if e is not None)


def main() -> int:
    """Print the tables."""
    print("| case |" + "|".join(f" {name} " for name in NAMES) + "|")
    print("|---" * (len(NAMES) + 1) + "|")
    worst = []
    for reset_after, layers, bidirectional in itertools.product((True, False), (1, 2, 3), (False, True)):
        title = (
            f"reset_after={reset_after}, {layers} layers, {2 if bidirectional else 1} directions, 5 kinds of steps"
        )
        worst.append(row(title, [errors(s, layers, bidirectional, reset_after=reset_after) for s in STEPS]))
    for steps in STEPS:
        both = itertools.product((True, False), (False, True))
        cases = [errors(steps, 2, bidirectional, reset_after=after) for after, bidirectional in both]
        worst.append(row(f"{steps}: 2 layers, both formulations, 1 and 2 directions", cases))
    for name in ELEMENTWISE:
        cases = [
            errors(steps, reset_after=after, **settings)
            for after, steps in itertools.product((True, False), ("plain", "all"))
            for settings in ({"activation": name}, {"gate_activation": name})
        ]
        worst.append(row(f"activation {name}, as φ and as σ, both formulations", cases))
    print(f"\nworst: {max(worst):.1e}; bound: {BOUND:.0e}")
    return int(max(worst) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
