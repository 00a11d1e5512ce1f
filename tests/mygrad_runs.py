"""Runs MyGrad's ``gru`` on random arrays: ``python tests/mygrad_runs.py FOLDER SEED ...`` writes what it got.

In a process of its own, because MyGrad compiles for a minute unless NUMBA_DISABLE_JIT=1 is set before its import,
and because it draws its dropout from NumPy's global state. grus is not used here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
NAMES = ("X", "Uz", "Wz", "bz", "Ur", "Wr", "br", "Uh", "Wh", "bh")  # its arguments, in their order
MASKS = ("dropUz", "dropUr", "dropUh", "dropWz", "dropWr", "dropWh")  # what it drew, where dropout is above 0
SIZES = {0: (5, 2, 2, 3), 1: (4, 3, 1, 2), 2: (6, 1, 3, 4), 3: (1, 2, 2, 5)}  # seed: T, N, C, D
DROPOUT = {"plain": 0.0, "dropout": 0.4}


def arguments(seed: int, dtype: str) -> dict[str, Array]:
    """The arrays that it is given, the initial state, and the gradient of what it returns."""
    rng = np.random.default_rng(seed)
    T, N, C, D = SIZES[seed]
    shapes = {"X": (T, N, C)}
    for gate in "zrh":
        shapes |= {f"U{gate}": (C, D), f"W{gate}": (D, D), f"b{gate}": (D,)}
    shapes |= {"s0": (N, D), "d_s": (T + 1, N, D)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def run(given: dict[str, Array], dropout: float, bp_lim: int | None) -> dict[str, Array]:
    """What it returns and drew, and as ``gradient.<name>`` its gradients."""
    import mygrad
    from mygrad.nnet.layers import gru

    np.random.seed(0)  # noqa: NPY002  # where MyGrad draws its masks from
    tensors = {name: mygrad.tensor(given[name]) for name in NAMES}
    s = gru(*tensors.values(), s0=given["s0"], bp_lim=bp_lim, dropout=dropout)
    drawn = {name: getattr(s.creator, f"_{name}") for name in MASKS if dropout}
    results = {"s": s.data.copy(), **drawn}
    s.backward(given["d_s"].copy())  # which it changes
    return results | {f"gradient.{name}": tensor.grad for name, tensor in tensors.items()}


def write(folder: Path, case: str, dtype: str, seed: int = 0) -> None:
    """One file: arguments, results, and the gradients for ``bp_lim`` of None, 0, 1 ... T-1 along a first axis."""
    given = arguments(seed, dtype)
    limits = [None, *range(len(given["X"]))]
    runs = [run(given, DROPOUT[case], bp_lim) for bp_lim in limits]
    gradients = {name: np.stack([each[name] for each in runs]) for name in runs[0] if name.startswith("gradient.")}
    name = f"mygrad_{case}_{dtype}" + (f"_{seed}" if seed else "")
    np.savez_compressed(folder / f"{name}.npz", **given, **(runs[0] | gradients))


if __name__ == "__main__":
    for seed in sys.argv[2:]:
        for case in DROPOUT:
            for dtype in ("float32", "float64"):
                write(Path(sys.argv[1]), case, dtype, int(seed))
