"""Runs other libraries' own GRUs: ``run_<library>(thing, x, h0, directions)``, never through grus.

Each takes x (B, T, I) and h0 (layers*directions, B, H) as arrays and gives the output (B, T, directions*H) and the
last states (layers*directions, B, H). A library is imported when its GRU is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import formulas

Array = np.ndarray[Any, np.dtype[Any]]
Answer = tuple[Any, Any]


def by_layer(h0: Array, directions: int) -> Array:
    """(layers, directions, B, H)."""
    return h0.reshape(len(h0) // directions, directions, *h0.shape[1:])


def ends_of(output: Any, directions: int) -> list[Any]:
    """Each direction's last state, from the output (B, T, directions*H) of a layer."""
    size = output.shape[2] // directions
    return [output[:, -1, :size], output[:, 0, size:]][:directions]


# ---------------------------------------------------------------------------------------------- PyTorch and Keras


def run_torch(module: Any, x: Array, h0: Array, directions: int) -> Answer:
    import torch

    order = (0, 1, 2) if module.batch_first else (1, 0, 2)
    with torch.no_grad():
        output, h_n = module.eval()(torch.tensor(x).permute(order), torch.tensor(h0))
    return output.permute(order).numpy(), h_n.numpy()


def run_keras(model: Any, x: Array, h0: Array, directions: int) -> Answer:
    """A model of GRUs with ``return_sequences=True``, layer by layer, so that each gets its h0."""
    import keras

    def array(tensor: Any) -> Array:
        return np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)

    output, ends = keras.ops.convert_to_tensor(x), []
    for layer, states in zip(model.layers, by_layer(h0, directions), strict=True):
        output = layer(output, initial_state=[keras.ops.convert_to_tensor(h) for h in states])
        ends += [array(end) for end in ends_of(output, directions)]
    return array(output), np.stack(ends)


# ---------------------------------------------------------------------------------------------- JAX's libraries


def linen_layer(size: int, both: bool, return_carry: bool = True, **functions: Any) -> Any:
    from flax import linen

    rnns = [linen.RNN(linen.GRUCell(size, **functions), return_carry=return_carry) for _ in range(1 + both)]
    return linen.Bidirectional(*rnns, return_carry=return_carry) if both else rnns[0]


def run_linen(params: Any, x: Any, h0: Array, directions: int, **functions: Any) -> Answer:
    """The layers of a Sequential one by one, so that each gets its h0; of a lone cell its own parameters."""
    ends: list[Any] = []
    for k, h in enumerate(by_layer(h0, directions)):
        own = params[f"layers_{k}"] if len(h0) > directions else params
        own = {"cell": own} if len(h0) == 1 else own
        layer = linen_layer(h.shape[2], directions == 2, **functions)
        carry, x = layer.apply({"params": own}, x, initial_carry=tuple(h) if directions == 2 else h[0])
        ends += carry if directions == 2 else [carry]
    return x, np.stack(ends)


def run_nnx(module: Any, x: Any, h0: Array, directions: int) -> Answer:
    from flax import nnx

    layers = list(module.layers) if len(h0) > directions else [module]
    layers = [nnx.RNN(layer) if isinstance(layer, nnx.GRUCell) else layer for layer in layers]
    first = layers[0].forward_rnn if directions == 2 else layers[0]
    order = (1, 0, 2) if first.time_major else (0, 1, 2)
    x, ends = np.transpose(x, order), list[Any]()
    for layer, h in zip(layers, by_layer(h0, directions), strict=True):
        carry, x = layer(x, initial_carry=tuple(h) if directions == 2 else h[0], return_carry=True)
        ends += carry if directions == 2 else [carry]
    return np.transpose(x, order), np.stack(ends)


def run_equinox(cells: Any, x: Any, h0: Array, directions: int) -> Answer:
    import jax.numpy as jnp

    states, ends = iter(jnp.asarray(h0)), []
    for layer in cells if isinstance(cells, list) else [cells]:
        pair = layer if isinstance(layer, tuple) else (layer,)
        sides = [_scanned(cell, x, next(states), reverse=k == 1) for k, cell in enumerate(pair)]
        x = jnp.concatenate([side for side, _ in sides], axis=-1)
        ends += [end for _, end in sides]
    return x, jnp.stack(ends)


def _scanned(cell: Any, x: Any, h: Any, reverse: bool) -> Answer:
    """One Equinox cell over x (B, T, I), as its documentation does it."""
    import jax

    def step(h: Any, x_t: Any) -> tuple[Any, Any]:
        h = jax.vmap(cell)(x_t, h)
        return h, h

    end, output = jax.lax.scan(step, h, x.swapaxes(0, 1), reverse=reverse)
    return output.swapaxes(0, 1), end


def haiku_model(x: Any, h0: Any, directions: int) -> Answer:
    """To be transformed: it makes its cores layer by layer, forward before reverse."""
    import haiku as hk
    import jax.numpy as jnp

    x, ends = x.swapaxes(0, 1), []
    for states in by_layer(h0, directions):
        sides = [
            hk.dynamic_unroll(hk.GRU(h0.shape[2]), x, state, reverse=k == 1) for k, state in enumerate(states)
        ]
        x = jnp.concatenate([side for side, _ in sides], axis=-1)
        ends += [end for _, end in sides]
    return x.swapaxes(0, 1), jnp.stack(ends)


def run_haiku(params: Any, x: Any, h0: Array, directions: int) -> Answer:
    import haiku as hk
    import jax.numpy as jnp

    model = hk.without_apply_rng(hk.transform(lambda x, h0: haiku_model(x, h0, directions)))
    output, h_n = model.apply(params, x, jnp.asarray(h0))
    return output, h_n


# ----------------------------------------------------------------------------------------------------------- ONNX


def run_onnxruntime(model: Any, x: Array, h0: Array, directions: int) -> Answer:
    """A model from x, batch first, and h0 to output and h_n."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output, h_n = session.run(["output", "h_n"], {"x": x, "h0": h0})
    return output, h_n


def run_evaluator(model: Any, x: Array, h0: Array, directions: int) -> Answer:
    """The same in ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    output, h_n = ReferenceEvaluator(model).run(["output", "h_n"], {"x": x, "h0": h0})
    return output, h_n


# -------------------------------------------------------------------------------------------------- array layouts


def run_mygrad(layers: Sequence[Mapping[str, Array]], x: Array, h0: Array, directions: int) -> Answer:
    """Set NUMBA_DISABLE_JIT=1 before, or MyGrad compiles for a minute."""
    from mygrad_layers import run

    return run(x, h0, [dict(layer) for layer in layers])


def run_onednn(primitives: Sequence[Mapping[str, Array]], x: Array, h0: Array, directions: int) -> Answer:
    """oneDNN itself, which has float32 alone; each primitive reads what the one before gives."""
    from onednn_library import onednn_output

    ends, states = [], h0
    for primitive in primitives:
        rows = len(primitive["weights_iter"]) * directions
        x, last = onednn_output(primitive, primitive["bias"].shape[2] == 4, x, states[:rows])
        states = states[rows:]
        ends.append(last)
    return x, np.concatenate(ends)


def by_formula(formula: Callable[[Mapping[str, Array]], formulas.Step]) -> Callable[..., Answer]:
    """Runs the documented formula of a layout, of one direction, over the arrays of each layer."""

    def run(layers: Sequence[Mapping[str, Array]], x: Array, h0: Array, directions: int) -> Answer:
        return formulas.over_time([[formula(layer)] for layer in layers], x, h0)

    return run
