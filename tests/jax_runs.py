"""What the tests of conversions to JAX's libraries share: the grid of GRUs, 64 bits, and a comparison."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import grus

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
GRID = [
    {"num_layers": layers, "bidirectional": both, "bias": bias, "reset_after": after, "dtype": dtype}
    for layers, both, bias, after, dtype in itertools.product(
        (1, 2), (False, True), (True, False), (True, False), ("float32", "float64")
    )
]


def name_of(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def random_gru(seed: int = 3, *, input_size: int = 3, hidden_size: int = 5, **options: Any) -> grus.GRU:
    """With random biases too: none of them is zero."""
    gru = grus.GRU(input_size, hidden_size, **options, seed=seed)
    gru.flat[...] = np.random.default_rng(seed).uniform(-0.8, 0.8, gru.flat.size)
    return gru


def without_recurrent_n(gru: grus.GRU) -> grus.GRU:
    """The same with a zero bias in the recurrent part of the new gate."""
    for name, array in gru.parameters.items():
        if name.startswith("bias_hh"):
            array[2 * gru.hidden_size :] = 0
    return gru


def random_call(gru: grus.GRU, batch: int = 4, steps: int = 7, seed: int = 8) -> tuple[Array, Array]:
    """x (B, T, I) and h0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, steps, gru.input_size)).astype(gru.dtype)
    return x, rng.uniform(-1, 1, (gru.num_layers * gru.directions, batch, gru.hidden_size)).astype(gru.dtype)


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """JAX as a user has set it who works in this dtype."""
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def same(gru: grus.GRU, theirs: Callable[[Array, Array], tuple[Any, Any]]) -> None:
    """Output and states of ``theirs``, in the GRU's own dtype, from a random state."""
    x, h0 = random_call(gru)
    expected = gru(x if gru.batch_first else np.ascontiguousarray(x.swapaxes(0, 1)), h0)
    for ours, got in zip(expected, theirs(x, h0), strict=True):
        got = np.asarray(got)
        ours = ours if got.shape == ours.shape else ours.swapaxes(0, 1)
        assert got.dtype == gru.dtype
        assert np.abs(got - ours).max() <= TOLERANCE[gru.dtype.name]


def equal(gru: grus.GRU, twin: grus.GRU) -> None:
    """The same function: biases may have been merged."""
    same(gru, lambda x, h0: twin(x, h0))
    assert (twin.num_layers, twin.bidirectional, twin.dtype) == (gru.num_layers, gru.bidirectional, gru.dtype)
    assert twin.formulation == gru.formulation
