"""A grus.Stream; a pass is all steps of the sequence, each a call from Python."""

from __future__ import annotations

import numpy as np

import grus
from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        grus.set_num_threads(threads)
        self.gru = grus.GRU(data.case.I, data.case.H, seed=0)
        self.gru.load_state_dict(data.state_dict())
        self.stream, self.rows = self.gru.stream(), list(data.x)  # of (1, I)

    def forward(self) -> None:
        step = self.stream.step
        for x_t in self.rows:
            step(x_t)

    def answers(self) -> dict[str, Array]:
        stream = self.gru.stream()
        return {"output": np.stack([stream.step(x_t).copy() for x_t in self.rows])}
