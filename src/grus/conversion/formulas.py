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
    """``lib/haste/gru.h``: gates z | r | g, reset after the product with its bias."""
    kernel, recurrent = arrays["kernel"], arrays["recurrent_kernel"]
    bias, recurrent_bias = arrays["bias"], arrays["recurrent_bias"]

    def step(x: Array, h: Array) -> Array:
        xz, xr, xg = np.split(x @ kernel + bias, 3, axis=1)
        hz, hr, hg = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        g = np.tanh(xg + r * hg)
        return np.asarray(z * h + (1 - z) * g)

    return step
