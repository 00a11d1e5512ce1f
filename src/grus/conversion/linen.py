"""Flax linen's parameters of GRUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.cells import cells_of
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.formulas import Array, Step
from grus.conversion.jax_cells import DIRECTIONS, Cell, Functions, items
from grus.conversion.jax_side import array, library, widened
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

_OURS = CONVENTIONS["linen"]
_GATES = ("ir", "iz", "in", "hr", "hz", "hn")
_BIASED = ("ir", "iz", "in", "hn")
_NAMES = (*(f"{gate}/kernel" for gate in _GATES), *(f"{gate}/bias" for gate in _BIASED))


def write(gru: GRU, report: Report | None) -> dict[str, Any]:
    """The parameters of a ``GRUCell``, of a ``Bidirectional`` of two ``RNN``, or of a ``Sequential`` of layers."""
    cells = [[_write(cell, report) for cell in layer] for layer in cells_of(gru)]
    if gru.num_layers == gru.directions == 1:
        return cells[0][0]
    layers = [_layer([{"cell": cell} for cell in layer]) for layer in cells]
    return layers[0] if len(layers) == 1 else {f"layers_{k}": layer for k, layer in enumerate(layers)}


def _layer(cells: list[dict[str, Any]]) -> dict[str, Any]:
    return cells[0] if len(cells) == 1 else dict(zip(DIRECTIONS, cells, strict=True))


def _write(params: GRUParams, report: Report | None) -> dict[str, Any]:
    blocks = _OURS.pack(params, report)
    size = len(blocks.weight_hh)
    bias, bias_n = blocks.bias_ih, blocks.bias_hh
    if bias is None or bias_n is None:
        bias, bias_n = np.zeros(3 * size, blocks.weight_hh.dtype), np.zeros(size, blocks.weight_hh.dtype)
    kernels = np.split(blocks.weight_ih, 3, axis=1) + np.split(blocks.weight_hh, 3, axis=1)
    biases = [*np.split(bias, 3), bias_n]
    cell: dict[str, Any] = {gate: {"kernel": array(k)} for gate, k in zip(_GATES, kernels, strict=True)}
    for gate, each in zip(_BIASED, biases, strict=True):
        cell[gate]["bias"] = array(each)
    return cell


def read(tree: Any, name: str, functions: Callable[[], Functions]) -> Cell | None:
    """A cell, if the tree is one; ``functions`` give those that it runs with, which parameters don't tell."""
    if not isinstance(tree, Mapping) or not set(_GATES) & set(tree):
        return None
    tree = library("flax.core.meta", "flax").unbox(dict(tree))  # values may carry how they are partitioned
    flat = {f"{key}/{leaf}": a for key, own in tree.items() for leaf, a in items(own)}
    read = given.named(name, flat, _NAMES, _OURS.library)
    params = _params(read, name)
    return Cell(params, lambda: _step(tree, len(read["hn/bias"]), functions()), "linen")


def _params(read: Mapping[str, Array], name: str) -> GRUParams:
    size = given.shaped(f"{name}['hn/kernel']", read["hn/kernel"], (None, None)).shape[1]
    inputs = given.shaped(f"{name}['ir/kernel']", read["ir/kernel"], (None, size)).shape[0]
    for key, a in read.items():
        kernel = (size, size) if key[0] == "h" else (inputs, size)
        given.shaped(f"{name}[{key!r}]", a, kernel if key.endswith("kernel") else (size,))
    w_ih, w_hh = (np.concatenate([read[f"{side}{gate}/kernel"] for gate in "rzn"], axis=1) for side in "ih")
    bias = np.concatenate([read[f"i{gate}/bias"] for gate in "rzn"])
    return _OURS.unpack(Blocks(w_ih, w_hh, bias, read["hn/bias"]))


def _step(tree: Any, size: int, functions: Functions) -> Step:
    run, own = _run(size, *functions), {"params": widened(tree)}
    return lambda x, h: np.asarray(run(own, h, x)[0])


@lru_cache(maxsize=16)
def _run(size: int, new: Any, gate: Any) -> Any:
    """Compiled once for each size: a cell that is not looks at its parameters' shapes every step."""
    cell = library("flax.linen", "flax").GRUCell(size, gate_fn=gate, activation_fn=new, param_dtype="float64")
    return library("jax", "jax").jit(cell.apply)
