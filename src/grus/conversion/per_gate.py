"""Layouts with one array for each gate and side, as MyGrad and EpyNN have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.conventions import Blocks, Convention
from grus.conversion.layered import with_zeros
from grus.conversion.report import Report
from grus.functional import GRUParams

Array = np.ndarray[Any, np.dtype[Any]]
Names = tuple[str, str, str]


class PerGate(NamedTuple):
    """The names, each triple in the order of the convention's gates; weights are columns, (I, H) and (H, H)."""

    convention: Convention
    layout: str
    order: tuple[str, ...]  # in which the arrays are listed
    inputs: Names
    states: Names
    biases: Names
    rows: bool  # a bias is (1, H), not (H,)

    def write(self, cell: GRUParams, report: Report | None) -> dict[str, Array]:
        """The arrays of a cell: copies, biases of zeros where it has none."""
        blocks = with_zeros(self.convention.pack(cell, report))
        named: dict[str, Array] = {}
        for names, block in zip((self.inputs, self.states, self.biases), blocks[:3], strict=True):
            named |= dict(zip(names, np.split(np.asarray(block), 3, axis=-1), strict=True))
        for name in self.biases if self.rows else ():
            named[name] = named[name][None]
        return {name: np.ascontiguousarray(named[name]) for name in self.order}

    def read(self, layer: Mapping[str, Any], name: str) -> GRUParams:
        """The cell of such arrays, after a look at every name and shape."""
        read = given.named(name, layer, self.order, self.layout)
        size = given.shaped(f"{name}[{self.states[0]!r}]", read[self.states[0]], (None, None)).shape[1]
        width = given.shaped(f"{name}[{self.inputs[0]!r}]", read[self.inputs[0]], (None, size)).shape[0]
        bias = (1, size) if self.rows else (size,)
        for names, shape in ((self.states, (size, size)), (self.inputs, (width, size)), (self.biases, bias)):
            for each in names:
                given.shaped(f"{name}[{each!r}]", read[each], shape)
        sides = (self.inputs, self.states, self.biases)
        stacked = [np.concatenate([read[each] for each in names], axis=-1) for names in sides]
        return self.convention.unpack(Blocks(stacked[0], stacked[1], stacked[2].reshape(-1), None))
