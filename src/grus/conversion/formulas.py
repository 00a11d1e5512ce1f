"""The formulas of layouts that come without a library to run, as their sources write them.

These are other people's equations in other people's gate order and sign, over their own arrays: a conversion is
checked against them, so nothing here may use grus. Each makes a step: the input (B, I) and the state (B, H) to the
next state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Step = Callable[[Array, Array], Array]


def sigmoid(a: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * a))  # never overflows


def over_time(steps: Sequence[Sequence[Step]], x: Array, h0: Array) -> tuple[Array, Array]:
    """A stack of such cells, ``steps[layer][direction]``, over x (B, T, I) from h0 (layers*directions, B, H)."""
    output, ends, states = x, [], iter(h0)
    for directions in steps:
        sides = []
        for step, order in zip(directions, (1, -1), strict=False):
            h, side = next(states), []
            for x_t in output.swapaxes(0, 1)[::order]:
                side.append(h := step(x_t, h))
            sides.append(np.stack(side[::order], axis=1))
            ends.append(h)
        output = np.concatenate(sides, axis=2)
    return output, np.stack(ends)


def torch(arrays: Mapping[str, Array]) -> Step:
    """The documentation of ``nn.GRU``: gates r | z | n, reset after the product with its bias, if any."""
    weight_ih, weight_hh = arrays["weight_ih"], arrays["weight_hh"]
    bias_ih, bias_hh = (arrays.get(name, np.zeros(len(weight_hh))) for name in ("bias_ih", "bias_hh"))

    def step(x: Array, h: Array) -> Array:
        xr, xz, xn = np.split(x @ weight_ih.T + bias_ih, 3, axis=1)
        hr, hz, hn = np.split(h @ weight_hh.T + bias_hh, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        return np.asarray((1 - z) * n + z * h)

    return step


def haste(arrays: Mapping[str, Array]) -> Step:
    """haste's ``lib/gru_forward_gpu.cu.cc``: gates z | r | g, reset after the product with its bias."""
    kernel, recurrent = arrays["kernel"], arrays["recurrent_kernel"]
    bias, recurrent_bias = arrays["bias"], arrays["recurrent_bias"]

    def step(x: Array, h: Array) -> Array:
        xz, xr, xg = np.split(x @ kernel + bias, 3, axis=1)
        hz, hr, hg = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        g = np.tanh(xg + r * hg)
        return np.asarray(z * h + (1 - z) * g)

    return step


def mygrad(arrays: Mapping[str, Array]) -> Step:
    """The docstring of ``mygrad.nnet.layers.gru``: reset before the product."""
    of = arrays

    def step(x: Array, h: Array) -> Array:
        z = sigmoid(x @ of["Uz"] + h @ of["Wz"] + of["bz"])
        r = sigmoid(x @ of["Ur"] + h @ of["Wr"] + of["br"])
        candidate = np.tanh(x @ of["Uh"] + (r * h) @ of["Wh"] + of["bh"])
        return np.asarray((1 - z) * candidate + z * h)

    return step


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {  # those of EpyNN without parameters
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda a: np.maximum(a, 0),
    "identity": lambda a: a,
}


def epynn(
    arrays: Mapping[str, Array],
    activate: str = "tanh",
    activate_update: str = "sigmoid",
    activate_reset: str = "sigmoid",
) -> Step:
    """Equations (4s) to (7s) of EpyNN's page on its GRU: reset before the product."""
    of = arrays
    act, act_z, act_r = (ACTIVATIONS[name] for name in (activate, activate_update, activate_reset))

    def step(x: Array, h: Array) -> Array:
        r = act_r(x @ of["Ur"] + h @ of["Vr"] + of["br"])
        z = act_z(x @ of["Uz"] + h @ of["Vz"] + of["bz"])
        hat = act(x @ of["Uhh"] + (r * h) @ of["Vhh"] + of["bhh"])
        return np.asarray(z * h + (1 - z) * hat)

    return step


def onednn(arrays: Mapping[str, Array]) -> Step:
    """oneDNN's developer guide, *GRU*, of one layer and direction: gates u | r | o, reset before the product."""
    W, U = (arrays[name].swapaxes(0, 1) for name in ("weights_layer", "weights_iter"))
    B = arrays["bias"] if "bias" in arrays else np.zeros((3, U.shape[2]))

    def step(x: Array, h: Array) -> Array:
        u, r = (sigmoid(x @ W[gate] + h @ U[gate] + B[gate]) for gate in (0, 1))
        o = np.tanh(x @ W[2] + (r * h) @ U[2] + B[2])
        return np.asarray(u * h + (1 - u) * o)

    return step


def onednn_lbr(arrays: Mapping[str, Array]) -> Step:
    """The same guide, *Linear-before-reset GRU*: reset after the product, whose bias is the fourth, u'."""
    W, U = (arrays[name].swapaxes(0, 1) for name in ("weights_layer", "weights_iter"))
    B = arrays["bias"] if "bias" in arrays else np.zeros((4, U.shape[2]))

    def step(x: Array, h: Array) -> Array:
        u, r = (sigmoid(x @ W[gate] + h @ U[gate] + B[gate]) for gate in (0, 1))
        o = np.tanh(x @ W[2] + r * (h @ U[2] + B[3]) + B[2])
        return np.asarray(u * h + (1 - u) * o)

    return step


def tensorflow(arrays: Mapping[str, Array]) -> Step:
    """The documentation of ``GRUBlockCell``: columns r | u, rows of [x, h], reset before the product."""
    of = arrays

    def step(x: Array, h: Array) -> Array:
        r, u = np.split(sigmoid(np.concatenate([x, h], axis=1) @ of["w_ru"] + of["b_ru"]), 2, axis=1)
        c = np.tanh(np.concatenate([x, h * r], axis=1) @ of["w_c"] + of["b_c"])
        return np.asarray((1 - u) * c + u * h)

    return step


def coreml(arrays: Mapping[str, Array]) -> Step:
    """Core ML's specification of its GRU, reset before the product, with the operation's rows r | o | z."""
    (w_r, w_o, w_z), (r_r, r_o, r_z) = (np.split(arrays[name], 3) for name in ("weight_ih", "weight_hh"))
    b_r, b_o, b_z = np.split(arrays["bias"] if "bias" in arrays else np.zeros(3 * len(r_r)), 3)

    def step(x: Array, h: Array) -> Array:
        z = sigmoid(x @ w_z.T + h @ r_z.T + b_z)
        r = sigmoid(x @ w_r.T + h @ r_r.T + b_r)
        o = np.tanh(x @ w_o.T + (h * r) @ r_o.T + b_o)
        return np.asarray((1 - z) * o + z * h)

    return step


def keras(
    arrays: Mapping[str, Array],
    *,
    reset_after: bool,
    activation: Callable[[Array], Array],
    recurrent_activation: Callable[[Array], Array],
) -> Step:
    """``keras/src/layers/rnn/gru.py``, ``GRUCell.call``: gates z | r | h, the bias (2, 3H), or (3H,) before."""
    kernel, recurrent = arrays["kernel"], arrays["recurrent_kernel"]
    units = len(recurrent)
    bias = arrays.get("bias", np.zeros((2, 3 * units)) if reset_after else np.zeros(3 * units))
    input_bias, recurrent_bias = bias if reset_after else (bias, np.zeros(3 * units))

    def step(x: Array, h: Array) -> Array:
        x_z, x_r, x_h = np.split(x @ kernel + input_bias, 3, axis=1)
        inner = h @ recurrent + recurrent_bias
        z = recurrent_activation(x_z + inner[:, :units])
        r = recurrent_activation(x_r + inner[:, units : 2 * units])
        reset = r * inner[:, 2 * units :] if reset_after else (r * h) @ recurrent[:, 2 * units :]
        return np.asarray(z * h + (1 - z) * activation(x_h + reset))

    return step
