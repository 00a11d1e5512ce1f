"""Memory that is used again: what lives never overlaps, what was freed comes back, and not too much is kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import grus
from grus import _core
from grus._memory import empty

MIB, BYTES = 2**20, np.dtype("uint8")
MOST_KEPT = 128 * MIB


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    _core.free_kept_memory()
    yield
    _core.free_kept_memory()


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 4), (100, 64, 32), (70_000,)])
def test_it_is_an_array_as_numpys(shape: tuple[int, ...], dtype: str) -> None:
    made, expected = empty(shape, np.dtype(dtype)), np.empty(shape, dtype)
    assert (made.shape, made.dtype, made.strides) == (shape, expected.dtype, expected.strides)
    assert made.flags.writeable
    assert made.flags.c_contiguous
    assert made.flags.aligned
    made[...] = 1
    assert (made == 1).all()


def test_freed_memory_is_used_again_where_it_fits() -> None:
    first = empty((MIB,), BYTES)
    place = address(first)
    assert place % 64 == 0
    del first
    again = empty((MIB - MIB // 16,), BYTES)
    assert address(again) == place
    del again
    for size in (MIB + 1, MIB // 2):
        assert address(empty((size,), BYTES)) != place


def test_what_lives_never_overlaps() -> None:
    rng, living = np.random.default_rng(0), {}
    for i in range(400):
        a = empty((int(rng.integers(2**16, 2**18)),), BYTES)
        a[...] = i % 251
        living[i] = a
        if len(living) > 12:
            del living[int(rng.choice(list(living)))]
        assert all((a == key % 251).all() for key, a in living.items())


def test_a_view_keeps_its_memory() -> None:
    view = empty((MIB,), BYTES)[5:10]
    view[...] = 7
    others = [empty((MIB,), BYTES) for _ in range(4)]
    for other in others:
        other[...] = 0
    assert (view == 7).all()


def test_not_too_much_is_kept() -> None:
    living = [empty((8 * MIB,), BYTES) for _ in range(20)]
    assert _core.free_kept_memory() == 0
    living.clear()
    assert _core.free_kept_memory() == MOST_KEPT
    assert _core.free_kept_memory() == 0
    few = [empty((MIB,), BYTES) for _ in range(40)]
    few.clear()
    assert _core.free_kept_memory() == 32 * MIB


def test_threads_have_memory_of_their_own() -> None:
    def work(value: int) -> bool:
        right = True
        for size in np.random.default_rng(value).integers(2**16, 2**17, 300):
            a = empty((int(size),), BYTES)
            a[...] = value
            right = right and bool((a == value).all())
        return right

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_results_of_two_calls_share_nothing(bidirectional: bool) -> None:
    gru = grus.GRU(16, 64, bidirectional=bidirectional, seed=0)
    x = np.random.default_rng(0).standard_normal((32, 40, 16)).astype("float32")
    output, _, tape = gru.forward(x)
    gradients = gru.backward(tape, output)
    expected = output.copy(), gradients.x.copy(), gradients.parameters.flat.copy()
    for _ in range(3):
        other = gru.forward(2 * x)
        others = gru.backward(other.tape, other.output)
        for a in (output, gradients.x, gradients.parameters.flat):
            for b in (other.output, others.x, others.parameters.flat):
                assert not np.shares_memory(a, b)
    for a, value in zip((output, gradients.x, gradients.parameters.flat), expected, strict=True):
        np.testing.assert_array_equal(a, value)
