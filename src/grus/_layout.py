"""Between the user's arrays (batch-first or time-first, with a batch axis or without) and time-major ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]
_BOOL = np.dtype(bool)


class Layout(NamedTuple):
    """How the arrays of one call are laid out; ``enter`` and ``leave`` make views, never copies."""

    batch_first: bool
    batched: bool
    steps: int
    batch: int

    @staticmethod
    def of(x: Array, input_size: int, batch_first: bool) -> Layout:
        """The layout of x, after checking its shape."""
        shape = x.shape
        if len(shape) == 2:
            if shape[1] != input_size:
                why = f"input_size is {input_size} and x has no batch axis"
                _check.shaped("x", x, ("T", input_size), why)
            return _layout(batch_first, False, shape[0], 1)
        if len(shape) != 3 or shape[2] != input_size:
            expected = ("B", "T", input_size) if batch_first else ("T", "B", input_size)
            _check.shaped("x", x, expected, f"input_size is {input_size}")
        first, second, _ = shape
        return _layout(True, True, second, first) if batch_first else _layout(False, True, first, second)

    @property
    def is_time_major(self) -> bool:
        """Whether the user's arrays are (T, B, ...) as they are."""
        return self.batched and not self.batch_first

    def enter(self, a: Array) -> Array:
        """The user's array, time axis and all, as (T, B, ...)."""
        if not self.batched:
            return a[:, None]
        return a.swapaxes(0, 1) if self.batch_first else a

    def leave(self, a: Array) -> Array:
        """(T, B, ...) as the user's layout has it."""
        if not self.batched:
            return a[:, 0]
        return a.swapaxes(0, 1) if self.batch_first else a

    def leave_states(self, a: Array) -> Array:
        """(layers*directions, B, H) without the batch axis that the user's x did not have."""
        return a if self.batched else a[:, 0]

    def leave_each(self, a: Array) -> Array:
        """(layers*directions, T, B, ...) as the user's layout has each of them."""
        if not self.batched:
            return a[:, :, 0]
        return a.swapaxes(1, 2) if self.batch_first else a

    def flags(self, name: str, value: Any) -> Array | None:
        """A mask or resets as (T, B)."""
        if value is None:
            return None
        if not _check.ready(value, self._outer(), _BOOL):
            why = f"x holds {self.batch} sequences of {self.steps} steps and batch_first is {self.batch_first}"
            value = _check.flags(name, value, self._outer(), why)
        return self.enter(value)

    def lengths(self, value: Any) -> Any:
        """Lengths as (B,), from one number where x has no batch axis."""
        if value is None or self.batched:
            return value
        return _check.shaped("lengths", _check.array("lengths", value), (), "x has no batch axis")[None]

    def output(self, name: str, value: Array | None, width: int, dtype: np.dtype[Any]) -> Array:
        """The output's gradient as (T, B, width)."""
        if value is None:
            return np.zeros((self.steps, self.batch, width), dtype)
        shape = (*self._outer(), width)
        if not _check.ready(value, shape, dtype):
            value = _check.matching(name, value, shape, dtype, "output has that shape")
        return self.enter(value)

    def states(self, name: str, value: Array | None, rows: int, width: int, dtype: np.dtype[Any]) -> Array:
        """States, or their gradients, as (layers*directions, B, H); zeros when omitted."""
        whole = rows, self.batch, width
        if value is None:
            return np.zeros(whole, dtype)
        shape = whole if self.batched else (rows, width)
        if not _check.ready(value, shape, dtype):
            why = f"that is (layers*directions, {'B, ' if self.batched else ''}hidden_size)"
            value = _check.matching(name, value, shape, dtype, why)
        return value if self.batched else value[:, None]

    def decay(self, value: Any, width: int, dtype: np.dtype[Any]) -> Array:
        """A decay as (T, B, H), or (T, B, 1) where all units share it."""
        outer = self._outer()
        if not _check.ready(value, (*outer, width), dtype):
            value = _check.floating("decay", value, dtype, "x and the parameters are")
            last = 1 if value.shape[-1:] == (1,) else width
            why = f"that is the shape of x but for the last axis, which is hidden_size {width} or 1"
            _check.shaped("decay", value, (*outer, last), why)
        return self.enter(value)

    def _outer(self) -> tuple[int, ...]:
        if not self.batched:
            return (self.steps,)
        return (self.batch, self.steps) if self.batch_first else (self.steps, self.batch)


_layout = lru_cache(maxsize=64)(Layout)  # to make one takes twice as long
