"""JAX: the recurrence as a scan, the projection of the input before it, all of it compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.cases import Array, Data
from benchmarks.passes import GRADIENTS
from benchmarks.peers.base import Peer


class GRU(Peer):
    def __init__(self, data: Data, threads: int) -> None:
        self.inputs = tuple(map(jnp.asarray, (data.x, data.h0, *data.params[:4])))
        self.d_output = jnp.asarray(data.d_output)

    def forward(self) -> Any:
        return jax.block_until_ready(_forward(*self.inputs))

    def training(self) -> Any:
        return jax.block_until_ready(_training(self.inputs, self.d_output))

    def answers(self) -> dict[str, Array]:
        d = dict(zip(GRADIENTS, map(np.asarray, self.training()[1]), strict=True))
        return {"output": np.asarray(self.forward()), **d}


@jax.jit
def _forward(x: Any, h0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any) -> Any:
    def step(h: Any, gx: Any) -> tuple[Any, Any]:
        gx_r, gx_z, gx_n = jnp.split(gx, 3, axis=-1)
        gh_r, gh_z, gh_n = jnp.split(h @ weight_hh.T + bias_hh, 3, axis=-1)
        r, z = jax.nn.sigmoid(gx_r + gh_r), jax.nn.sigmoid(gx_z + gh_z)
        n = jnp.tanh(gx_n + r * gh_n)
        h = n + z * (h - n)
        return h, h

    return lax.scan(step, h0, x @ weight_ih.T + bias_ih)[1]


@jax.jit
def _training(inputs: tuple[Any, ...], d_output: Any) -> tuple[Any, Any]:
    output, pullback = jax.vjp(_forward, *inputs)
    return output, pullback(d_output)
