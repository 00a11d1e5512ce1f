"""ONNX Runtime, a run for each step, which is given the state of the last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.cases import Array, Data
from benchmarks.peers import onnxruntime
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        self.session = onnxruntime.GRU(replace(data, x=data.x[:1]), threads).session
        self.rows, self.start = [x_t[None] for x_t in data.x], np.zeros_like(data.h0[None])

    def forward(self) -> list[Array]:
        h, states, run = self.start, [], self.session.run
        for x_t in self.rows:
            h = run(["Y"], {"X": x_t, "initial_h": h})[0][0]
            states.append(h)
        return states

    def answers(self) -> dict[str, Array]:
        return {"output": np.concatenate(self.forward())}
