"""torch.nn.GRUCell, a call for each step."""

from __future__ import annotations

import torch

from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        torch.set_num_threads(threads)
        self.cell = torch.nn.GRUCell(data.case.I, data.case.H)
        p = data.params._asdict()
        self.cell.load_state_dict({name: torch.from_numpy(p[name]) for name in self.cell.state_dict()})
        self.rows, self.start = list(torch.from_numpy(data.x)), torch.zeros(data.h0.shape)

    @torch.inference_mode()
    def forward(self) -> list[torch.Tensor]:
        h, states = self.start, []
        for x_t in self.rows:
            h = self.cell(x_t, h)
            states.append(h)
        return states

    def answers(self) -> dict[str, Array]:
        return {"output": torch.stack(self.forward()).numpy()}
