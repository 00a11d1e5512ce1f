"""The random masks of training: what of a layer they drop, and how they are drawn.

They are drawn in one order, so that a generator gives the same masks on every engine, in every dtype and layout.
First what holds for all steps: layer by layer and direction by direction the masks of the projected input, of the
state and of the recurrent matrices. Then layer by layer what differs from step to step: the dropout of the layer's
input, and direction by direction zoneout. A rate of 0 draws nothing.

Sources: Gal & Ghahramani 2016, arXiv:1512.05287 (one mask for all steps); Merity et al. 2017, arXiv:1708.02182
(dropped weights); Krueger et al. 2016, arXiv:1606.01305 (zoneout).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


_FEW = 2000  # numbers, up to which the plain way is the faster one


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
    rates: Rates, weights: Iterable[Array], batch: int, rng: np.random.Generator
) -> list[Fixed] | None:
    """The masks that hold for all steps, for each weight_hh; None where nothing of the kind is dropped."""
    if not (rates.input_dropout or rates.recurrent_dropout or rates.weight_dropout):
        return None
    return [
        Fixed(
            _scaled(rates.input_dropout, (batch, len(weight)), weight.dtype, rng),
            _scaled(rates.recurrent_dropout, (batch, len(weight)), weight.dtype, rng),
            _scaled(rates.weight_dropout, weight.shape, weight.dtype, rng),
        )
        for weight in weights
    ]


def layer_input_mask(rates: Rates, layer_input: Array, rng: np.random.Generator | None) -> Array | None:
    """Of the input of a layer (T, B, I) above the first; None where nothing is dropped."""
    return _scaled(rates.dropout, layer_input.shape, layer_input.dtype, rng)


def zoneout_mask(
    rates: Rates, shape: tuple[int, int, int], dtype: np.dtype[Any], rng: np.random.Generator | None
) -> Array | None:
    """(T, B, H): 1 where a unit keeps its state. Without a generator it is not training, and the expectation."""
    if not rates.zoneout:
        return None
    if rng is None:
        rates_of_units = np.full(shape[2], rates.zoneout, dtype)
        return np.ndarray(shape, dtype, rates_of_units, strides=(0, 0, dtype.itemsize))  # one row for all
    return bernoulli(rng, rates.zoneout, shape).astype(dtype)


def _scaled(
    rate: float, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator | None
) -> Array | None:
    """Zeros at the given rate and 1/(1-rate) elsewhere; None where nothing is dropped."""
    if rng is None or rate == 0:
        return None
    return np.asarray(bernoulli(rng, 1 - rate, shape) * dtype.type(1 / (1 - rate)))


def bernoulli(rng: np.random.Generator, p: float, shape: tuple[int, ...]) -> Array:
    """Booleans, each True with probability p to within 2**-33.

    A few are drawn as NumPy draws them. Zoneout takes T*B*H of them, so each costs 16 random bits, a quarter of a
    64-bit draw, and a comparison of two bytes. Those bits alone would round p to 1/65536, an error of 1e-3 at
    p = 0.01. So where they equal p's own first 16 bits, one time in 65536, 16 further bits decide.
    """
    size = math.prod(shape)
    if size < _FEW:
        return np.asarray(rng.random(shape) < p)
    first, further = divmod(min(round(p * 2**32), 2**32 - 1), 2**16)
    words = rng.integers(0, 2**64, -(-size // 4), np.uint64)
    bits = words.astype("<u8", copy=False).view("<u2")[:size]  # the same on machines of the other byte order
    result = bits < np.uint16(first)
    undecided = np.flatnonzero(bits == np.uint16(first))
    result[undecided] = rng.integers(0, 2**16, len(undecided), np.uint16) < further
    return np.asarray(result).reshape(shape)
