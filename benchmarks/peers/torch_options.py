"""Options that torch.nn.GRU lacks, as its users write them: a loop over the steps.

Around ``torch.nn.GRUCell`` where that can be, else the cell itself in few operations; what all steps share, the
input's product above all, is computed once before the loop.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.cases import Array, Data
from benchmarks.option_table import OPTIONS, as_function
from benchmarks.peers.base import Peer

Tensor = torch.Tensor


class Loop(Peer):
    """One option: the parameters, and all that enters."""

    only_training = False  # does nothing in inference

    def __init__(self, data: Data, threads: int, option: str) -> None:
        torch.set_num_threads(threads)
        data, given = as_function(OPTIONS[option], data)
        entered = {"x": data.x, "h0": data.h0, **data.params._asdict()} | given
        tensors = {name: torch.from_numpy(a) for name, a in entered.items() if a is not None}
        self.of = {name: tensors[name] for name in ("x", "h0", *data.params._fields, "decay") if name in tensors}
        for tensor in self.of.values():
            tensor.requires_grad_()
        self.tensors, self.d_output = tensors, torch.from_numpy(data.d_output)
        self.rate = next(iter(OPTIONS[option].model.values()), None)
        self.given: Tensor | None = None  # instead of random numbers

    def run(self, training: bool) -> Tensor:
        """The states (T, B, H)."""
        steps, h, states = self.begin(training), self.tensors["h0"], []
        for inputs in zip(*steps, strict=True):
            h = self.step(h, *inputs)
            states.append(h)
        return torch.stack(states)

    @abstractmethod
    def begin(self, training: bool) -> list[Any]:
        """What the steps are given, each a sequence over time."""

    @abstractmethod
    def step(self, h: Tensor, *inputs: Tensor) -> Tensor: ...

    def forward(self) -> Tensor:
        if self.only_training:
            return self.run(True)
        with torch.no_grad():
            return self.run(False)

    def training(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.run(True), list(self.of.values()), self.d_output)

    def answers(self) -> dict[str, Array]:
        self.given = self.tensors.get("recurrent_mask", self.tensors.get("zoneout"))
        output = self.run(True).detach().numpy()
        gradients = map(np.asarray, self.training())
        self.given = None
        return {"output": output, **{f"d{name}": d for name, d in zip(self.of, gradients, strict=True)}}


class AroundCell(Loop):
    """One ``GRUCell`` a step, which the option changes the state before or after."""

    def __init__(self, data: Data, threads: int, option: str) -> None:
        super().__init__(data, threads, option)
        self.cell = torch.nn.GRUCell(data.case.I, data.case.H)
        self.cell.load_state_dict({n: self.of[n].detach() for n in self.cell.state_dict()})
        self.of |= dict(self.cell.named_parameters())


class Zoneout(AroundCell):
    def begin(self, training: bool) -> list[Any]:
        x, rate = self.tensors["x"], torch.tensor(self.rate)
        if not training:
            return [x, rate.expand(len(x))]
        drawn = torch.bernoulli(rate.expand_as(self.d_output)) if self.given is None else self.given
        return [x, drawn]

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        x_t, stays = inputs
        new = self.cell(x_t, h)
        return new + stays * (h - new)


class Decay(AroundCell):
    def begin(self, training: bool) -> list[Any]:
        return [self.tensors["x"], self.tensors["decay"]]

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        x_t, decay = inputs
        return self.cell(x_t, decay * h)


class Reset(AroundCell):
    def begin(self, training: bool) -> list[Any]:
        return [self.tensors["x"], (~self.tensors["reset"]).to(torch.float32)[..., None]]

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        x_t, keeps = inputs
        return self.cell(x_t, keeps * h)


def gates(gx: Tensor, gh: Tensor, h: Tensor) -> Tensor:
    """The state after a step, from (..., 3, B, H) of the input and of the state."""
    r, z = torch.sigmoid(gx[:2] + gh[:2])
    n = torch.tanh(gx[2] + r * gh[2])
    return n + z * (h - n)


class RecurrentDropout(Loop):
    """A mask for each gate, which GRUCell can't have: three products at once, as (3, B, H) times (3, H, H)."""

    only_training = True

    def begin(self, training: bool) -> list[Any]:
        t, (T, B, H) = self.tensors, self.d_output.shape
        keep = torch.tensor(1 - self.rate)
        drawn = torch.bernoulli(keep.expand(B, 3 * H)) / keep if self.given is None else self.given
        self.mask = drawn.view(B, 3, H).transpose(0, 1)
        self.weight, self.bias = t["weight_hh"].view(3, H, H).transpose(1, 2), t["bias_hh"].view(3, 1, H)
        gx = functional.linear(t["x"], t["weight_ih"], t["bias_ih"]).view(T, B, 3, H).transpose(1, 2)
        return [gx]

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        return gates(inputs[0], torch.baddbmm(self.bias, self.mask * h, self.weight), h)


class LayerNorm(Loop):
    def begin(self, training: bool) -> list[Any]:
        t, (T, B, H) = self.tensors, self.d_output.shape
        gain, bias = t["gain_ih"].view(3, 1, H), t["bias_ih"].view(3, 1, H)
        self.gain, self.bias = t["gain_hh"].view(3, 1, H), t["bias_hh"].view(3, 1, H)
        products = functional.linear(t["x"], t["weight_ih"]).view(T, B, 3, H).transpose(1, 2)
        return [bias + gain * functional.layer_norm(products, (H,))]

    def step(self, h: Tensor, *inputs: Tensor) -> Tensor:
        B, H = h.shape
        products = functional.linear(h, self.tensors["weight_hh"]).view(B, 3, H).transpose(0, 1)
        return gates(inputs[0], self.bias + self.gain * functional.layer_norm(products, (H,)), h)


LOOPS: dict[str, type[Loop]] = {
    "recurrent_dropout": RecurrentDropout,
    "zoneout": Zoneout,
    "layer_norm": LayerNorm,
    "decay": Decay,
    "reset": Reset,
}


def GRU(data: Data, threads: int, option: str) -> Loop:  # noqa: N802  # the name that every file offers
    return LOOPS[option](data, threads, option)
