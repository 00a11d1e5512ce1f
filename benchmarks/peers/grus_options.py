"""A grus.GRU with an option. Its answers here are of the masks that the others are given; ``options.py`` checks
those that it draws itself."""

from __future__ import annotations

import grus
from benchmarks import passes
from benchmarks.cases import Array, Data
from benchmarks.layer import Layer
from benchmarks.option_table import OPTIONS, as_function
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int, option: str) -> None:
        grus.set_num_threads(threads)
        self.layer = Layer(data.case, OPTIONS[option])
        self.data, self.given = as_function(OPTIONS[option], data)

    def forward(self) -> object:
        return getattr(self.layer, self.layer.option.passes["forward"][0])()

    def training(self) -> object:
        return self.layer.training()

    def answers(self) -> dict[str, Array]:
        return passes.answers(self.data, **self.given)
