"""The random masks: bit for bit what a few lines of Python draw, from every BitGenerator."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import grus
from grus import _core
from grus._masks import Rates, bernoulli, dropout_mask, fixed_masks, layer_input_mask, zoneout_mask

Array = np.ndarray[Any, np.dtype[Any]]
GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]
SIZES = [0, 1, 3, 5, 63, 64, 65, 4097]
PROBABILITIES = [0.0, 1e-6, 2**-16, 0.003, 1 / 3, 0.5, 0.9, 1 - 2**-16, 1 - 2**-40, 1.0]
FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")


def twin(next_word: Callable[[], int], p: float, size: int) -> tuple[Array, int]:
    """Booleans, each True with probability p, and how many of them a further word decided."""
    first, further = divmod(round(p * 2**32), 2**16)
    drawn, decided = np.zeros(size, bool), 0
    for begin in range(0, size, 4):
        word = next_word()
        for i in range(begin, min(begin + 4, size)):
            bits = word >> 16 * (i - begin) & 0xFFFF
            drawn[i] = bits < first
            if bits == first:
                drawn[i] = next_word() & 0xFFFF < further
                decided += 1
    return drawn, decided


def words_of(rng: np.random.Generator) -> Callable[[], int]:
    return lambda: int(rng.integers(0, 2**64, dtype=np.uint64))


def drawn_by_twin(rng: np.random.Generator, rate: float, shape: tuple[int, ...]) -> Array:
    """A mask of dropout."""
    kept, _ = twin(words_of(rng), 1 - rate, int(np.prod(shape)))
    return (kept * (1 / (1 - rate))).reshape(shape)


class Words:
    """These words as a Generator, which has a BitGenerator, which has a capsule and a lock."""

    NAME = b"BitGenerator"  # has to outlive the capsule

    def __init__(self, words: Sequence[int], name: bytes = NAME) -> None:
        self.words, self.used, self.locked = words, 0, True
        self.lock = threading.Lock()
        self.bit_generator = self
        self._name = name
        self._function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(lambda _: self.next())
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        self._interface = (ctypes.c_void_p * 5)(None, address, None, None, None)
        make = ctypes.pythonapi.PyCapsule_New
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.capsule: Any = make(ctypes.addressof(self._interface), self._name, None)

    def next(self) -> int:
        self.locked &= self.lock.locked()
        self.used += 1
        return self.words[self.used - 1]


def packed(bits: Array) -> list[int]:
    """Words of four numbers of 16 bits, the first one lowest."""
    return [sum(int(b) << 16 * lane for lane, b in enumerate(four)) for four in bits.reshape(-1, 4)]


# ---------------------------------------------------------------------------------------------- bit for bit


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("size", SIZES)
def test_a_mask_is_the_twins_and_leaves_the_same_state(kind: Any, size: int) -> None:
    rng, other = (np.random.Generator(kind(size)) for _ in range(2))
    for p in PROBABILITIES:
        expected, _ = twin(words_of(other), p, size)
        found = bernoulli(rng, p, (size,), FLOAT32)
        assert found.dtype == FLOAT32
        np.testing.assert_array_equal(found, expected)
        assert rng.integers(0, 2**64, dtype=np.uint64) == other.integers(0, 2**64, dtype=np.uint64)


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("at", [0, 6, 64, 4096, 70_000])
def test_a_number_left_open_is_decided_by_a_further_word(kind: Any, at: int) -> None:
    """p begins with the very bits that one number gets; for the last mask the core releases the GIL."""
    word = words_of(np.random.Generator(kind(3)))
    for _ in range(at // 4):
        word()
    p = ((word() >> 16 * (at % 4) & 0xFFFF) + 0.5) / 2**16
    rng, other = (np.random.Generator(kind(3)) for _ in range(2))
    expected, decided = twin(words_of(other), p, at + 1)
    assert decided > 0
    np.testing.assert_array_equal(bernoulli(rng, p, (at + 1,), FLOAT64), expected)
    assert rng.random() == other.random()


@pytest.mark.parametrize("first", [0, 1, 40_000, 2**16 - 1])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 255, 256, 257, 1001])
def test_many_numbers_left_open_are_decided_in_their_order(first: int, size: int) -> None:
    rng = np.random.default_rng(size)
    bits = rng.choice([max(first - 1, 0), first, first, min(first + 1, 2**16 - 1)], (2 * size + 4, 4))
    bits = np.where(rng.random(bits.shape) < 0.3, rng.integers(0, 2**16, bits.shape), bits)
    bits[0, 0] = first
    words = packed(bits)
    p, used = (first + rng.random()) / 2**16, iter(words)
    expected, decided = twin(lambda: next(used), p, size)
    source: Any = Words(words)
    np.testing.assert_array_equal(bernoulli(source, p, (size,), FLOAT32), expected)
    assert source.used == -(-size // 4) + decided == len(words) - len(list(used))
    assert decided > size / 5
    assert source.locked
    assert not source.lock.locked()


@pytest.mark.parametrize("p", PROBABILITIES)
def test_the_probability_is_exact(p: float) -> None:
    """Every value of the first 16 bits once; what they leave open is true below the next 16 of p."""
    first, further = divmod(round(p * 2**32), 2**16)
    every = packed(np.arange(2**16))

    def count(decider: int) -> int:
        """True ones, where the value that is left open, if there is one, gets a further word."""
        place = first // 4 + 1
        source: Any = Words([*every[:place], decider, *every[place:]] if first < 2**16 else every)
        return int(bernoulli(source, p, (2**16,), FLOAT64).sum())

    assert count(further) == count(2**16 - 1) == first
    if further:
        assert count(0) == count(further - 1) == first + 1
    assert abs((first * 2**16 + further) / 2**32 - p) <= 2**-33


# ---------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(3,), (5, 9), (7, 4, 33)])
def test_every_dtype_has_the_same_mask(rate: float, shape: tuple[int, ...]) -> None:
    single, double, complex_ = (
        dropout_mask(rate, shape, np.dtype(name), np.random.default_rng(5))
        for name in ("float32", "float64", "complex128")
    )
    assert (single.dtype, double.dtype, complex_.dtype) == ("float32", "float64", "complex128")
    np.testing.assert_array_equal(double, drawn_by_twin(np.random.default_rng(5), rate, shape))
    np.testing.assert_array_equal(single, double.astype("float32"))
    np.testing.assert_array_equal(complex_, double.astype("complex128"))


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.9999])
@pytest.mark.parametrize("kind", GENERATORS)
def test_the_share_is_p(kind: Any, p: float) -> None:
    """Of n independent ones the share has the variance p(1-p)/n; five standard errors."""
    drawn = bernoulli(np.random.Generator(kind(1)), p, (1000, 1001), FLOAT32)
    assert set(np.unique(drawn)) == {0, 1}
    assert abs(drawn.mean(dtype=float) - p) < 5 * np.sqrt(p * (1 - p) / drawn.size)


def test_a_layers_masks_come_in_their_order() -> None:
    rates = dict(zip(Rates._fields, (0.2, 0.3, 0.4, 0.5, 0.1), strict=True))
    gru = grus.GRU(3, 5, 2, bidirectional=True, dtype="float64", seed=0, **rates)
    tape = gru.forward(np.random.default_rng(1).standard_normal((4, 6, 3)), rng=2).tape
    rng = np.random.default_rng(2)
    for fixed in tape.given.fixed:
        np.testing.assert_array_equal(fixed.input, drawn_by_twin(rng, 0.3, (4, 15)))
        np.testing.assert_array_equal(fixed.recurrent, drawn_by_twin(rng, 0.4, (4, 15)))
        np.testing.assert_array_equal(fixed.weight, drawn_by_twin(rng, 0.5, (15, 5)))
    for layer in range(2):
        if layer:
            np.testing.assert_array_equal(tape.masks[layer], drawn_by_twin(rng, 0.2, (6, 4, 10)))
        for run in tape.runs[2 * layer : 2 * layer + 2]:
            kept, _ = twin(words_of(rng), 0.1, 6 * 4 * 5)
            np.testing.assert_array_equal(run.problem.masks.zoneout, kept.reshape(6, 4, 5))


def test_a_rate_of_0_draws_nothing() -> None:
    rng, weight = np.random.default_rng(0), np.empty((12, 4))
    before = rng.bit_generator.state
    assert fixed_masks(Rates(), 1, weight.shape, weight.dtype, 3, rng) is None
    assert layer_input_mask(Rates(), np.empty((5, 3, 4)), rng) is None
    assert zoneout_mask(Rates(), (5, 3, 4), FLOAT64, rng) is None
    (fixed,) = fixed_masks(Rates(weight_dropout=0.5), 1, weight.shape, weight.dtype, 3, rng) or [None]
    assert fixed is not None
    assert fixed.input is fixed.recurrent is None
    again = np.random.default_rng(0)
    assert again.bit_generator.state == before
    np.testing.assert_array_equal(fixed.weight, drawn_by_twin(again, 0.5, (12, 4)))
    assert again.bit_generator.state == rng.bit_generator.state


def test_the_expectation_of_zoneout_is_one_row_that_nobody_writes() -> None:
    mask = zoneout_mask(Rates(zoneout=0.3), (5, 3, 4), FLOAT32, None)
    assert mask is not None
    np.testing.assert_array_equal(mask, np.full((5, 3, 4), 0.3, "float32"))
    assert mask is zoneout_mask(Rates(zoneout=0.3), (5, 3, 4), FLOAT32, None)
    assert mask.strides == (0, 0, 4)
    assert not mask.flags.writeable
    for rate, shape, dtype in ((0.2, (5, 3, 4), FLOAT32), (0.3, (2, 3, 4), FLOAT32), (0.3, (5, 3, 4), FLOAT64)):
        other = zoneout_mask(Rates(zoneout=rate), shape, dtype, None)
        np.testing.assert_array_equal(other, np.full(shape, rate, dtype))


# ---------------------------------------------------------------------------------------------- the core's side


def test_threads_that_share_a_generator_get_masks_of_their_own() -> None:
    """The masks are so large that the core lets other threads run, which then wait for the generator's lock."""
    shape, count = (300, 1001), 12
    alone, shared = np.random.default_rng(4), np.random.default_rng(4)
    expected = sorted(bernoulli(alone, 0.5, shape, FLOAT32).tobytes() for _ in range(count))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: bernoulli(shared, 0.5, shape, FLOAT32).tobytes(), range(count)))
    assert sorted(found) == expected
    assert alone.random() == shared.random()


def refused() -> Iterator[tuple[str, tuple[Any, ...]]]:
    capsule, out = np.random.default_rng(0).bit_generator.capsule, np.empty((4, 6))
    yield "an array with gaps", (out[:, :3], capsule, 0.5, 1.0)
    yield "a transposed array", (out.T, capsule, 0.5, 1.0)
    yield "whole numbers", (np.empty(4, int), capsule, 0.5, 1.0)
    yield "a read-only array", (np.broadcast_to(out[0], (6,)), capsule, 0.5, 1.0)
    yield "a list", ([0.0], capsule, 0.5, 1.0)
    yield "another capsule", (out, Words([], b"bitgen").capsule, 0.5, 1.0)
    yield "no capsule", (out, np.random.default_rng(0), 0.5, 1.0)
    for p in (-0.1, 1.1, float("nan")):
        yield f"p = {p}", (out, capsule, p, 1.0)


@pytest.mark.parametrize("arguments", [pytest.param(given, id=name) for name, given in refused()])
def test_the_core_refuses_what_it_cannot_draw_into(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.draw_mask(*arguments)
