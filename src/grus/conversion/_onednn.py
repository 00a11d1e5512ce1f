"""The arrays of one primitive of oneDNN: read, checked, written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.conventions import Blocks, Convention
from grus.conversion.errors import ConversionError
from grus.conversion.layered import optional_bias
from grus.conversion.report import Report
from grus.functional import GRUParams

Array = np.ndarray[Any, np.dtype[Any]]
_NAMES = ("weights_layer", "weights_iter", "bias")
_ROWS = {4: "after", 3: "before"}  # of the bias


class Primitive(NamedTuple):
    """Checked arrays, and what their shapes tell."""

    arrays: dict[str, Array]
    directions: int
    formulation: str | None  # None without a bias

    def cells(self, ours: Convention) -> list[list[GRUParams]]:
        """``[layer][direction]``."""
        layers = range(len(self.arrays["weights_iter"]))
        return [[self._cell(layer, each, ours) for each in range(self.directions)] for layer in layers]

    def _cell(self, layer: int, direction: int, ours: Convention) -> GRUParams:
        of = {name: array[layer, direction] for name, array in self.arrays.items()}
        w_ih, w_hh = (of[name].reshape(len(of[name]), -1) for name in _NAMES[:2])
        if "bias" not in of:
            return ours.unpack(Blocks(w_ih, w_hh, None, None))
        own = of["bias"][:3].reshape(-1)
        return ours.unpack(Blocks(w_ih, w_hh, own, of["bias"][3] if len(of["bias"]) == 4 else None))


def read_primitive(primitive: Mapping[str, Any], name: str, formulation: str | None) -> Primitive:
    """A primitive's arrays, whose every shape must fit; they must be of the ``formulation``, if one is given."""
    if formulation not in (None, *_ROWS.values()):
        raise ConversionError(f'formulation must be "after" (lbr_gru) or "before" (gru); got {formulation!r}.')
    read = given.named(name, primitive, optional_bias(_NAMES, primitive), "oneDNN")
    states = given.shaped(f"{name}['weights_iter']", read["weights_iter"], (None, None, None, 3, None))
    layers, directions, size = states.shape[:3]
    given.shaped(f"{name}['weights_iter']", states, (layers, directions, size, 3, size))
    wide = size if layers > 1 else None
    given.shaped(f"{name}['weights_layer']", read["weights_layer"], (layers, directions, wide, 3, size))
    _check_directions(name, layers, directions)
    if "bias" not in read:
        return Primitive(read, directions, None)
    bias = given.shaped(f"{name}['bias']", read["bias"], (layers, directions, None, size))
    return Primitive(read, directions, _formulation(name, bias.shape[2], formulation))


def written(layers: Sequence[Sequence[GRUParams]], ours: Convention, report: Report | None) -> dict[str, Array]:
    """The arrays of a primitive with these cells, ``layers[layer][direction]``: copies."""
    packed = [[_blocks(cell, ours, report) for cell in directions] for directions in layers]
    names = packed[0][0]
    return {name: np.stack([np.stack([cell[name] for cell in each]) for each in packed]) for name in names}


def _blocks(cell: GRUParams, ours: Convention, report: Report | None) -> dict[str, Array]:
    """One cell's; a bias of zeros where it has none, without which oneDNN 3.2 makes no GRU on a CPU."""
    blocks = ours.pack(cell, report)
    size = len(blocks.weight_hh)
    of: dict[str, Array] = {"weights_layer": blocks.weight_ih.reshape(-1, 3, size)}
    of["weights_iter"] = blocks.weight_hh.reshape(-1, 3, size)
    rows = 4 if ours.formulation == "after" else 3
    of["bias"] = np.zeros((rows, size), cell.weight_hh.dtype)
    given = [each for each in (blocks.bias_ih, blocks.bias_hh) if each is not None]
    if given:
        of["bias"][...] = np.concatenate(given).reshape(rows, size)
    return of


def _check_directions(name: str, layers: int, directions: int) -> None:
    if directions > 2:
        raise ConversionError(f"{name}['weights_iter'] must hold 1 or 2 directions; got {directions}.")
    if layers > 1 and directions == 2:
        raise ConversionError(
            f"{name} holds {layers} layers in 2 directions: oneDNN never mixes the directions of a stack, and "
            "in a grus.GRU each layer reads both of the one before. They are different functions."
        )


def _formulation(name: str, rows: int, formulation: str | None) -> str:
    if rows not in _ROWS:
        raise ConversionError(f"{name}['bias'] must have 4 rows a layer (lbr_gru), or 3 (gru); got {rows}.")
    if formulation not in (None, _ROWS[rows]):
        raise ConversionError(
            f"formulation is {formulation!r}, but {name}['bias'] has {rows} rows a layer, which is "
            f"{_ROWS[rows]!r}: they are different functions."
        )
    return _ROWS[rows]
