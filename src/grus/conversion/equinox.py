"""Equinox's GRU cells."""

from __future__ import annotations

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

_OURS = CONVENTIONS["equinox"]


def write(gru: GRU, report: Report | None) -> Any:
    """A cell, or a list of layers: of cells, or of pairs (forward, reverse) of them."""
    cells = [[_write(cell, report) for cell in layer] for layer in cells_of(gru)]
    layers = [layer[0] if len(layer) == 1 else tuple(layer) for layer in cells]
    return layers[0] if gru.num_layers == gru.directions == 1 else layers


def _write(params: GRUParams, report: Report | None) -> Any:
    eqx, jax = library("equinox", "jax"), library("jax", "jax")
    blocks = _OURS.pack(params, report)
    cell = eqx.nn.GRUCell(
        blocks.weight_ih.shape[1], blocks.weight_hh.shape[1], blocks.bias_ih is not None,
        dtype=blocks.weight_hh.dtype, key=jax.random.PRNGKey(0),
    )  # fmt: skip
    new = [array(a) for a in blocks if a is not None]
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n)[: len(new)], cell, new)


def read(tree: Any, name: str) -> Cell | None:
    """A cell, if the tree is one."""
    if not isinstance(tree, library("equinox", "jax").nn.GRUCell):
        return None
    names = ("weight_ih", "weight_hh", "bias", "bias_n")[: 4 if tree.use_bias else 2]
    read = given.one_dtype(name, {key: getattr(tree, key) for key in names})
    size = given.hidden_size(f"{name}.weight_hh", read["weight_hh"], columns=False)
    shapes: dict[str, tuple[int | None, ...]] = {
        "weight_ih": (3 * size, None), "weight_hh": (3 * size, size), "bias": (3 * size,), "bias_n": (size,),
    }  # fmt: skip
    for key, a in read.items():
        given.shaped(f"{name}.{key}", a, shapes[key])
    blocks = Blocks(read["weight_ih"], read["weight_hh"], read.get("bias"), read.get("bias_n"))
    return Cell(_OURS.unpack(blocks), lambda: _step(tree), "equinox")


def _step(cell: Any) -> Step:
    run = library("jax", "jax").vmap(widened(cell))
    return lambda x, h: np.asarray(run(x, h))
