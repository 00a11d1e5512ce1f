"""torch.nn.GRU."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.cases import Array, Data
from benchmarks.passes import GRADIENTS
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        torch.set_num_threads(threads)
        H, I = data.h0.shape[1], data.x.shape[2]
        self.gru = torch.nn.GRU(I, H)
        state = {name: torch.from_numpy(array) for name, array in data.state_dict().items()}
        self.gru.load_state_dict(state)
        self.x = torch.from_numpy(data.x).requires_grad_()
        self.h0 = torch.from_numpy(data.h0[None]).requires_grad_()
        self.d_output = torch.from_numpy(data.d_output)
        p = self.gru
        self.of = (self.x, self.h0, p.weight_ih_l0, p.weight_hh_l0, p.bias_ih_l0, p.bias_hh_l0)

    def forward(self) -> torch.Tensor:
        with torch.no_grad():
            return self.gru(self.x, self.h0)[0]

    def training(self) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(self.gru(self.x, self.h0)[0], self.of, self.d_output)

    def answers(self) -> dict[str, Array]:
        d = dict(zip(GRADIENTS, map(np.asarray, self.training()), strict=True))
        return {"output": np.asarray(self.forward()), **d, "dh0": d["dh0"][0]}
