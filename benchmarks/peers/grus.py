"""grus through its public functions."""

from __future__ import annotations

import grus
from benchmarks import passes
from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        grus.set_num_threads(threads)
        self.data = data

    def forward(self) -> Array:
        return passes.forward(self.data)

    def training(self) -> grus.GRUGradients:
        return passes.training(self.data)

    def answers(self) -> dict[str, Array]:
        return passes.answers(self.data)
