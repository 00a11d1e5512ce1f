"""Runs layers of MyGrad's ``gru``: ``python tests/mygrad_layers.py FOLDER``.

For each ``N.npz``, which holds x, h0 and as ``K.NAME`` the arrays of layer K, it writes ``N.out.npz``: their
output and last states, and those of grus after ``from_mygrad`` of MyGrad's tensors.

In a process of its own, because MyGrad compiles for a minute unless NUMBA_DISABLE_JIT=1 is set before its import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from grus.mygrad import from_mygrad

Array = np.ndarray[Any, np.dtype[Any]]


def run(x: Array, h0: Array, layers: list[dict[str, Any]]) -> tuple[Array, Array]:
    """What the stack gives for x (B, T, I) from h0 (layers, B, H)."""
    from mygrad.nnet.layers import gru

    states, ends = x.swapaxes(0, 1), []
    for layer, start in zip(layers, h0, strict=True):
        states = gru(states, **layer, s0=start).data[1:]
        ends.append(states[-1])
    return states.swapaxes(0, 1), np.stack(ends)


def write(path: Path) -> None:
    import mygrad

    with np.load(path) as file:
        given = dict(file)
    x, h0 = given.pop("x"), given.pop("h0")
    layers: list[dict[str, Any]] = [{} for _ in h0]
    for name, array in given.items():
        k, key = name.split(".")
        layers[int(k)][key] = mygrad.tensor(array)
    output, h_n = run(x, h0, layers)
    ours = from_mygrad(layers)(x, h0)
    np.savez(path.with_suffix(".out.npz"), output=output, h_n=h_n, our_output=ours.output, our_h_n=ours.h_n)


if __name__ == "__main__":
    for path in Path(sys.argv[1]).glob("*.npz"):
        write(path)
