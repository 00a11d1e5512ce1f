"""Options that keras.layers.GRU has, on JAX, compiled."""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Array, Data
from benchmarks.option_table import OPTIONS, as_function
from benchmarks.peers import keras


class GRU(keras.GRU):
    def __init__(self, data: Data, threads: int, option: str) -> None:
        data, given = as_function(OPTIONS[option], data)
        self.recurrent_mask, mask = given.get("recurrent_mask"), given.get("mask")
        super().__init__(data, threads, None if mask is None else mask.T, **OPTIONS[option].model)

    def answers(self) -> dict[str, Array]:
        """With the mask that it is given, then compiled anew to draw its own."""
        if self.recurrent_mask is None:
            return super().answers()
        cell, drawn = self.layer.cell, self.layer.cell.get_recurrent_dropout_mask
        r, z, n = np.split(self.recurrent_mask, 3, axis=-1)
        cell.get_recurrent_dropout_mask = lambda _: [z, r, n]
        found = super().answers()
        cell.get_recurrent_dropout_mask = drawn
        self.compile()
        return found
