"""Between the user's arrays (batch-first or time-first, with a batch axis or without) and time-major ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]


class Layout(NamedTuple):
    """How the arrays of one call are laid out; ``enter`` and ``leave`` make views, never copies."""

    batch_first: bool
    batched: bool
    steps: int
    batch: int

    @classmethod
    def of(cls, x: Array, input_size: int, batch_first: bool) -> Layout:
        """The layout of x, after checking its shape."""
        why = f"input_size is {input_size}"
        if x.ndim == 2:
            _check.shaped("x", x, ("T", input_size), f"{why} and x has no batch axis")
            return cls(batch_first, False, len(x), 1)
        if x.ndim != 3 or x.shape[2] != input_size:
            _check.shaped("x", x, ("B", "T", input_size) if batch_first else ("T", "B", input_size), why)
        first, second = x.shape[:2]
        return cls(batch_first, True, *((second, first) if batch_first else (first, second)))

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
        why = f"x holds {self.batch} sequences of {self.steps} steps and batch_first is {self.batch_first}"
        return self.enter(_check.flags(name, value, self._outer(), why))

    def lengths(self, value: Any) -> Any:
        """Lengths as (B,), from one number where x has no batch axis."""
        if value is None or self.batched:
            return value
        return _check.shaped("lengths", _check.array("lengths", value), (), "x has no batch axis")[None]

    def output(self, name: str, value: Array | None, width: int, dtype: np.dtype[Any]) -> Array:
        """The output's gradient as (T, B, width)."""
        shape = (*self._outer(), width)
        return self.enter(_check.matching(name, value, shape, dtype, "output has that shape"))

    def states(self, name: str, value: Array | None, rows: int, width: int, dtype: np.dtype[Any]) -> Array:
        """States, or their gradients, as (layers*directions, B, H)."""
        shape = (rows, self.batch, width) if self.batched else (rows, width)
        why = f"that is (layers*directions, {'B, ' if self.batched else ''}hidden_size)"
        checked = _check.matching(name, value, shape, dtype, why)
        return checked if self.batched else checked[:, None]

    def decay(self, value: Any, width: int, dtype: np.dtype[Any]) -> Array:
        """A decay as (T, B, H), or (T, B, 1) where all units share it."""
        checked = _check.floating("decay", value, dtype, "x and the parameters are")
        last = 1 if checked.shape[-1:] == (1,) else width
        why = f"that is the shape of x but for the last axis, which is hidden_size {width} or 1"
        return self.enter(_check.shaped("decay", checked, (*self._outer(), last), why))

    def _outer(self) -> tuple[int, ...]:
        if not self.batched:
            return (self.steps,)
        return (self.batch, self.steps) if self.batch_first else (self.steps, self.batch)
