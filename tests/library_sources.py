"""Random GRUs that other libraries made: ``<library>(case, rng)`` gives what :mod:`library_runs` runs.

Each is built by its library's own means, 3 numbers to 5 units, then every array, biases too, gets random numbers.
grus is not used. What JAX makes is in the dtype that it is set to: see ``jax_runs.precision``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from layouts import Case
from library_runs import Array, haiku_model, linen_layer

I, H = 3, 5


def numbers(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    return rng.normal(0, 0.5, shape).astype(dtype)


def width(case: Case, layer: int) -> int:
    """How many numbers a layer reads."""
    return H * case.directions if layer else I


# ---------------------------------------------------------------------------------------------- PyTorch and Keras


def torch(case: Case, rng: np.random.Generator) -> Any:
    import torch

    options: dict[str, Any] = {"bidirectional": case.directions == 2, "dtype": getattr(torch, case.dtype)}
    module = torch.nn.GRU(I, H, case.layers, bias=case.bias, batch_first=True, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.tensor(numbers(rng, parameter.shape, case.dtype)))
    return module


def keras(case: Case, rng: np.random.Generator) -> Any:
    import keras

    options = {"use_bias": case.bias, "reset_after": case.formulation == "after", "dtype": case.dtype}
    layers = [keras.layers.GRU(H, return_sequences=True, **options) for _ in range(case.layers)]
    if case.directions == 2:
        layers = [keras.layers.Bidirectional(layer, dtype=case.dtype) for layer in layers]
    model = keras.Sequential([keras.Input((None, I), dtype=case.dtype), *layers])
    model.set_weights([numbers(rng, weight.shape, case.dtype) for weight in model.weights])
    return model


# ---------------------------------------------------------------------------------------------- JAX's libraries


def randomised(tree: Any, rng: np.random.Generator, dtype: str) -> Any:
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda leaf: jnp.asarray(numbers(rng, leaf.shape, dtype)), tree)


def linen(case: Case, rng: np.random.Generator) -> Any:
    """Parameters of a Sequential, of its one layer, or of a lone cell."""
    import jax
    from flax import linen as nn

    x = np.zeros((2, 4, I), case.dtype)
    layers = [linen_layer(H, case.directions == 2, False, param_dtype=case.dtype) for _ in range(case.layers)]
    model = layers[0] if case.layers == 1 else nn.Sequential(layers)
    params = randomised(model.init(jax.random.key(0), x)["params"], rng, case.dtype)
    return params["cell"] if case.layers == case.directions == 1 else params


def nnx(case: Case, rng: np.random.Generator) -> Any:
    from flax import nnx

    def rnn(layer: int) -> Any:
        return nnx.RNN(nnx.GRUCell(width(case, layer), H, param_dtype=case.dtype, rngs=nnx.Rngs(0)))

    layers = [nnx.Bidirectional(rnn(k), rnn(k)) if case.directions == 2 else rnn(k) for k in range(case.layers)]
    module = layers[0] if case.layers == 1 else nnx.Sequential(*layers)
    nnx.update(module, randomised(nnx.state(module, nnx.Param), rng, case.dtype))
    return module


def equinox(case: Case, rng: np.random.Generator) -> Any:
    """A cell, or a list of layers, of which two directions are a tuple."""
    import equinox as eqx
    import jax

    def cell(layer: int) -> Any:
        return eqx.nn.GRUCell(width(case, layer), H, case.bias, key=jax.random.key(0))

    layers = [(cell(k), cell(k)) if case.directions == 2 else cell(k) for k in range(case.layers)]
    arrays, rest = eqx.partition(layers, eqx.is_array)
    layers = eqx.combine(randomised(arrays, rng, case.dtype), rest)
    return layers[0] if case.layers == case.directions == 1 else layers


def haiku(case: Case, rng: np.random.Generator) -> Any:
    import haiku as hk
    import jax

    x, h0 = (np.zeros(shape, case.dtype) for shape in ((2, 4, I), (case.layers * case.directions, 2, H)))
    model = hk.transform(lambda x, h0: haiku_model(x, h0, case.directions))
    return randomised(model.init(jax.random.key(0), x, h0), rng, case.dtype)


# ----------------------------------------------------------------------------------------------------------- ONNX


def onnx(case: Case, rng: np.random.Generator) -> Any:
    """A graph as exporters write it: from x, batch first, and h0 to output and h_n."""
    from onnx import checker, helper, numpy_helper

    L, D, kind = case.layers, case.directions, helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    stored = {"parts": np.full(L, D), "shape": np.array([0, 0, D * H])}
    for k in range(L):
        shapes = {"W": (D, 3 * H, width(case, k)), "R": (D, 3 * H, H), **({"B": (D, 6 * H)} if case.bias else {})}
        stored |= {f"{name}_{k}": numbers(rng, shape, case.dtype) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["x_0"], perm=[1, 0, 2]),
        helper.make_node("Split", ["h0", "parts"], [f"h0_{k}" for k in range(L)], axis=0),
        *(node for k in range(L) for node in onnx_layer(case, k)),
        helper.make_node("Concat", [f"h_{k}" for k in range(L)], ["h_n"], axis=0),
        helper.make_node("Transpose", [f"x_{L}"], ["output"], perm=[1, 0, 2]),
    ]
    states = [L * D, "B", H]
    shapes = {"x": ["B", "T", I], "h0": states, "output": ["B", "T", D * H], "h_n": states}
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    kept = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "gru", ends[:2], ends[2:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    return model


def onnx_layer(case: Case, k: int) -> list[Any]:
    """From x_k and h0_k to x_{k+1}, both time first, and h_k."""
    from onnx import helper

    side = "bidirectional" if case.directions == 2 else "forward"
    own = {"hidden_size": H, "direction": side, "linear_before_reset": int(case.formulation == "after")}
    given = [f"x_{k}", f"W_{k}", f"R_{k}", f"B_{k}" if case.bias else "", "", f"h0_{k}"]
    return [
        helper.make_node("GRU", given, [f"y_{k}", f"h_{k}"], **own),
        helper.make_node("Transpose", [f"y_{k}"], [f"turned_{k}"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [f"turned_{k}", "shape"], [f"x_{k + 1}"]),
    ]


# -------------------------------------------------------------------------------------------------- array layouts


def layered(
    shapes: Mapping[str, tuple[Any, ...]],
) -> Callable[[Case, np.random.Generator], list[dict[str, Array]]]:
    """One mapping for each layer; "I" stands for what it reads; "bias" is left out without biases."""

    def make(case: Case, rng: np.random.Generator) -> list[dict[str, Array]]:
        def sized(shape: tuple[Any, ...], layer: int) -> tuple[int, ...]:
            reads = {"I": width(case, layer), "I+H": width(case, layer) + H, "D": case.directions}
            return tuple(reads.get(each, each) for each in shape)

        return [
            {
                name: numbers(rng, sized(shape, k), case.dtype)
                for name, shape in shapes.items()
                if case.bias or "bias" not in name
            }
            for k in range(case.layers)
        ]

    return make


def onednn(case: Case, rng: np.random.Generator) -> list[dict[str, Array]]:
    rows = 4 if case.formulation == "after" else 3
    shapes = {"weights_layer": (1, "D", "I", 3, H), "weights_iter": (1, "D", H, 3, H), "bias": (1, "D", rows, H)}
    return layered(shapes)(case, rng)


mygrad = layered(
    {f"U{g}": ("I", H) for g in "zrh"} | {f"W{g}": (H, H) for g in "zrh"} | {f"b{g}": (H,) for g in "zrh"}
)
epynn = layered(
    {f"U{g}": ("I", H) for g in ("z", "r", "hh")}
    | {f"V{g}": (H, H) for g in ("z", "r", "hh")}
    | {f"b{g}": (1, H) for g in ("z", "r", "hh")}
)
tensorflow = layered({"w_ru": ("I+H", 2 * H), "w_c": ("I+H", H), "b_ru": (2 * H,), "b_c": (H,)})
coreml = layered({"weight_ih": (3 * H, "I"), "weight_hh": (3 * H, H), "bias": (3 * H,)})
haste = layered(
    {"kernel": ("I", 3 * H), "recurrent_kernel": (H, 3 * H), "bias": (3 * H,), "recurrent_bias": (3 * H,)}
)
