"""keras.layers.GRU on JAX, compiled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from benchmarks.cases import Array, Data
from benchmarks.peers.base import Peer, zrn


class GRU(Peer):
    def __init__(self, data: Data, threads: int, mask: Array | None = None, **options: Any) -> None:
        self.layer = layer = keras.layers.GRU(data.h0.shape[1], return_sequences=True, **options)
        x = jnp.asarray(data.x.swapaxes(0, 1))  # Keras is batch-first
        layer.build(x.shape)
        p = data.params
        bias = np.stack([zrn(p.bias_ih), zrn(p.bias_hh)])
        layer.set_weights(
            [zrn(p.weight_ih).T, zrn(p.weight_hh).T, bias if layer.reset_after else bias.sum(axis=0)]
        )
        self.inputs = (x, jnp.asarray(data.h0), [variable.value for variable in layer.trainable_variables])
        self.mask, self.d_output = mask, jnp.asarray(data.d_output.swapaxes(0, 1))
        self.compile()

    def compile(self) -> None:
        layer, mask = self.layer, None if self.mask is None else jnp.asarray(self.mask)
        state = [variable.value for variable in layer.non_trainable_variables]
        draws = layer.recurrent_dropout > 0

        def run(x: Any, h0: Any, weights: list[Any]) -> Any:
            return layer.stateless_call(weights, state, x, initial_state=h0, mask=mask, training=draws)[0]

        def train(inputs: tuple[Any, ...], d_output: Any) -> tuple[Any, Any]:
            output, pullback = jax.vjp(run, *inputs)
            return output, pullback(d_output)

        self.run, self.train = jax.jit(run), jax.jit(train)

    def forward(self) -> Any:
        return jax.block_until_ready(self.run(*self.inputs))

    def training(self) -> Any:
        return jax.block_until_ready(self.train(self.inputs, self.d_output))

    def answers(self) -> dict[str, Array]:
        dx, dh0, (dkernel, drecurrent, dbias) = jax.tree.map(np.asarray, self.training()[1])
        dbias = np.broadcast_to(dbias, (2, dbias.shape[-1]))  # one bias stands for two where it is alone
        return {
            "output": np.asarray(self.forward()).swapaxes(0, 1),
            "dx": dx.swapaxes(0, 1),
            "dh0": dh0,
            "dweight_ih": zrn(dkernel.T),
            "dweight_hh": zrn(drecurrent.T),
            "dbias_ih": zrn(dbias[0]),
            "dbias_hh": zrn(dbias[1]),
        }
