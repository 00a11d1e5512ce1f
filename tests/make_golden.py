"""Writes ``golden/*.npz`` from PyTorch, ONNX, ONNX Runtime and MyGrad: ``python tests/make_golden.py``.

Inputs come from NumPy with fixed seeds, so a file changes only where the other library's numbers do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

import grus
import mygrad_runs
from test_golden import FOLDER, PARAMETER
from test_onnx import run_onnx
from test_torch import random_call, run_torch

Array = np.ndarray[Any, np.dtype[Any]]
TORCH: dict[str, tuple[dict[str, Any], int, int, dict[str, Any]]] = {
    # case: arguments of GRU, batch, steps, and what the call gets besides
    "plain": ({"input_size": 2, "hidden_size": 3}, 2, 5, {}),
    "no_bias": ({"input_size": 2, "hidden_size": 3, "num_layers": 3, "bias": False}, 2, 4, {}),
    "lengths": (
        {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True},
        3,
        6,
        {"lengths": np.array([4, 6, 1])},
    ),
}


def random_gru(**options: Any) -> grus.GRU:
    """A time-major GRU, all of whose parameters are random, biases included."""
    gru = grus.GRU(batch_first=False, seed=0, **options)
    gru.flat[...] = np.random.default_rng(7).standard_normal(gru.flat.size) * 0.6
    return gru


def write(name: str, gru: grus.GRU, call: dict[str, Any], results: dict[str, Array]) -> None:
    """One golden file: the GRU's configuration and parameters, the call, and the other library's results."""
    parameters = {f"{PARAMETER}{key}": value for key, value in gru.parameters.items()}
    config = np.array(json.dumps(gru.config()))
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{name}.npz", config=config, **call, **parameters, **results)
    print(f"{name}: {', '.join(results)}")


def main() -> None:
    for case, (options, batch, steps, besides) in TORCH.items():
        for dtype in ("float32", "float64"):
            gru = random_gru(dtype=dtype, **options)
            call = random_call(gru, batch, steps) | besides
            write(f"torch_{case}_{dtype}", gru, call, run_torch(gru, **call))
    for library, dtype, options, besides in (
        ("onnx", "float64", {}, {}),
        ("onnxruntime", "float32", {"bidirectional": True}, {"lengths": np.array([4, 6, 1])}),
    ):
        for reset_after in (True, False):
            gru = random_gru(input_size=3, hidden_size=4, reset_after=reset_after, dtype=dtype, **options)
            drawn = random_call(gru, 3, 6)
            call = {"x": drawn["x"], "h0": drawn["h0"], **besides}
            results = dict(zip(("output", "h_n"), run_onnx(library, gru, **call), strict=True))
            write(f"{library}_{'after' if reset_after else 'before'}_{dtype}", gru, call, results)
    alone = os.environ | {"NUMBA_DISABLE_JIT": "1"}  # else it compiles for a minute
    subprocess.run([sys.executable, mygrad_runs.__file__, str(FOLDER), "0"], env=alone, check=True)


if __name__ == "__main__":
    main()
