"""Haiku's parameters of GRUs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.cells import cells_of
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.formulas import Step
from grus.conversion.jax_cells import Cell
from grus.conversion.jax_side import array, library, widened
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

_OURS = CONVENTIONS["haiku"]
_NAMES = ("w_i", "w_h", "b")


def write(gru: GRU, report: Report | None) -> dict[str, dict[str, Any]]:
    """``gru``, ``gru_1`` ... as Haiku names them when they are made layer by layer, forward before reverse."""
    cells = [_write(cell, report) for layer in cells_of(gru) for cell in layer]
    return {f"gru_{k}" if k else "gru": cell for k, cell in enumerate(cells)}


def _write(params: GRUParams, report: Report | None) -> dict[str, Any]:
    blocks = _OURS.pack(params, report)
    bias = blocks.bias_ih
    if bias is None:
        bias = np.zeros(blocks.weight_hh.shape[1], blocks.weight_hh.dtype)
    arrays = (blocks.weight_ih, blocks.weight_hh, bias)
    return dict(zip(_NAMES, map(array, arrays), strict=True))


def read(tree: Any, name: str) -> Cell | None:
    """A cell, if the tree is one."""
    if not isinstance(tree, Mapping) or not {"w_i", "w_h"} & set(tree):
        return None
    read = given.named(name, tree, _NAMES, _OURS.library)
    size = given.hidden_size(f"{name}['w_h']", read["w_h"], columns=True)
    for key, shape in {"w_i": (None, 3 * size), "b": (3 * size,)}.items():
        given.shaped(f"{name}[{key!r}]", read[key], shape)
    blocks = Blocks(read["w_i"], read["w_h"], read["b"], None)
    return Cell(_OURS.unpack(blocks), lambda: _step(dict(tree), size), "haiku")


def _step(tree: dict[str, Any], size: int) -> Step:
    run, own = _run(size), {"gru": widened(tree)}
    return lambda x, h: np.asarray(run(own, x, h))


@lru_cache(maxsize=16)
def _run(size: int) -> Any:
    """Compiled once for each size."""
    hk = library("haiku", "jax")
    core = hk.without_apply_rng(hk.transform(lambda x, h: hk.GRU(size, name="gru")(x, h)[1]))
    return library("jax", "jax").jit(core.apply)
