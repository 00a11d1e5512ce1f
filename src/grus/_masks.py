"""The random masks of training: what of a layer they drop, and how they are drawn.

They are drawn in one order, so that a generator gives the same masks on every engine, in every dtype and layout.
First what holds for all steps: layer by layer and direction by direction the masks of the projected input, of the
state and of the recurrent matrices. Then layer by layer what differs from step to step: the dropout of the layer's
input, and direction by direction zoneout. A rate of 0 draws nothing.

The numbers of a mask come one after another, in the order of their memory. Four take a word of 64 random bits, the
lowest 16 bits first. A number's bits are compared with the first 16 bits of its probability p as a fraction of 32:
below them it is drawn, above them it is not. They alone would round p to 1/65536, an error of 1e-3 at p = 0.01. So
where they are equal, one time in 65536, the lowest 16 bits of a further word decide, compared with p's next 16. It
is drawn when it is needed: before the next word, and for the numbers of one word in their order.

Sources: Gal & Ghahramani 2016, arXiv:1512.05287 (one mask for all steps); Merity et al. 2017, arXiv:1708.02182
(dropped weights); Krueger et al. 2016, arXiv:1606.01305 (zoneout).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from grus import _core

Array = np.ndarray[Any, np.dtype[Any]]


class Rates(NamedTuple):
    """How often training drops what, each 0 ... 1."""

    dropout: float = 0.0  # of the input of every layer but the first
    input_dropout: float = 0.0  # of the projected input
    recurrent_dropout: float = 0.0  # of the state, on its way into the gates
    weight_dropout: float = 0.0  # of the recurrent matrices' entries
    zoneout: float = 0.0  # of a unit's update


class Fixed(NamedTuple):
    """What is drawn once a pass for one layer in one direction; each may be absent."""

    input: Array | None  # (B, 3H)
    recurrent: Array | None  # (B, 3H)
    weight: Array | None  # of weight_hh's shape


def fixed_masks(
    rates: Rates, runs: int, shape: tuple[int, int], dtype: np.dtype[Any], batch: int, rng: np.random.Generator
) -> list[Fixed] | None:
    """The masks that hold for all steps, for so many weight_hh of that shape; None where there are none."""
    if not (rates.input_dropout or rates.recurrent_dropout or rates.weight_dropout):
        return None
    rows = batch, shape[0]
    return [
        Fixed(
            _dropped(rates.input_dropout, rows, dtype, rng),
            _dropped(rates.recurrent_dropout, rows, dtype, rng),
            _dropped(rates.weight_dropout, shape, dtype, rng),
        )
        for _ in range(runs)
    ]


def layer_input_mask(rates: Rates, layer_input: Array, rng: np.random.Generator | None) -> Array | None:
    """Of the input of a layer (T, B, I) above the first; None where nothing is dropped."""
    return None if rng is None else _dropped(rates.dropout, layer_input.shape, layer_input.dtype, rng)


def zoneout_mask(
    rates: Rates, shape: tuple[int, int, int], dtype: np.dtype[Any], rng: np.random.Generator | None
) -> Array | None:
    """(T, B, H): 1 where a unit keeps its state. Without a generator it is not training, and the expectation."""
    if not rates.zoneout:
        return None
    if rng is None:
        return _everywhere(rates.zoneout, shape, dtype)
    return bernoulli(rng, rates.zoneout, shape, dtype)


@functools.lru_cache(maxsize=64)
def _everywhere(rate: float, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Array:
    """The same number everywhere, read-only; its memory is one row."""
    return np.broadcast_to(np.full(shape[2], rate, dtype), shape)


def _dropped(rate: float, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> Array | None:
    """None where nothing is dropped."""
    return dropout_mask(rate, shape, dtype, rng) if rate else None


def dropout_mask(rate: float, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> Array:
    """Zeros at the given rate, which is below 1, and 1/(1-rate) elsewhere, so that the mean is 1."""
    return bernoulli(rng, 1 - rate, shape, dtype, 1 / (1 - rate))


def bernoulli(
    rng: np.random.Generator, p: float, shape: tuple[int, ...], dtype: np.dtype[Any], value: float = 1.0
) -> Array:
    """The value with probability p, to within 2**-33, and zeros."""
    if dtype.kind == "c":  # the core draws real numbers
        return bernoulli(rng, p, shape, np.dtype("float64"), value).astype(dtype)
    drawn = np.empty(shape, dtype)
    source = rng.bit_generator
    lock = source.lock  # NumPy takes it for the same reason: other threads may draw from the same generator
    lock.acquire()  # `with` would make small masks a sixth slower
    try:
        _core.draw_mask(drawn, source.capsule, p, value)
    finally:
        lock.release()
    return drawn
