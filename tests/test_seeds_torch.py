"""Seed 003's module itself, run in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import grus
from helpers import assert_close

torch = pytest.importorskip("torch")


def test_seed_003_module_in_pytorch() -> None:

    class Module(torch.nn.Module):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            for gate in "rzh":
                setattr(self, f"x{gate}", torch.nn.Linear(input_size, hidden_size))
                setattr(self, f"h{gate}", torch.nn.Linear(hidden_size, hidden_size))

        def forward(self, x: object, hidden: object) -> object:
            reset_gate = torch.sigmoid(self.xr(x) + self.hr(hidden))
            update_gate = torch.sigmoid(self.xz(x) + self.hz(hidden))
            candidate = torch.tanh(self.xh(x) + reset_gate * self.hh(hidden))
            return update_gate * hidden + (1 - update_gate) * candidate

    torch.manual_seed(0)
    module = Module(4, 5).double()
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    gru = grus.GRU(4, 5, dtype="float64")
    for kind, side in (("ih", "x"), ("hh", "h")):
        for part in ("weight", "bias"):
            gru.parameters[f"{part}_{kind}_l0"] = np.concatenate([state[f"{side}{gate}.{part}"] for gate in "rzh"])
    x, hidden = torch.randn(2, 4, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    expected = module(x, hidden[0]).detach().numpy()
    assert_close(gru.step(x.numpy(), hidden.numpy())[-1], expected, "other library")
