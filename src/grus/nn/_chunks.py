"""Batches cut along time: truncated backpropagation, with the states carried from one chunk to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grus.nn._data import Batch
from grus.nn._layer import States

if TYPE_CHECKING:
    from grus.nn.sequential import Sequential

Array = np.ndarray[Any, np.dtype[Any]]


class Chunk(NamedTuple):
    """Some steps of a batch: the rows that have not ended before them."""

    batch: Batch  # its weight is what each counts in the loss of whole sequences: what is measured
    weight: Array  # of the same shape: what each counts in this chunk's own loss, which is descended
    rows: int  # over so many that loss is averaged; 0: there is none, the chunk only moves the states on
    states: States | None  # what the layers carry over, None where sequences are not cut
    start: float  # where in the batch the chunk begins
    end: float  # and ends, as a share of all chunks


def chunks(batch: Batch, size: int | None) -> Iterator[Chunk]:
    """The chunks of ``size`` steps in order, or the whole batch.

    The layers write into a chunk's ``states`` when the model runs on it; the next chunk holds the same for the
    rows that go on.
    """
    steps, count = batch.x.shape[1], len(batch.x)
    if size is None:
        yield Chunk(batch, batch.weight, count, None, 0.0, 1.0)
        return
    lengths = np.full(count, steps) if batch.lengths is None else batch.lengths
    rows, states, starts = np.arange(count), States(), range(0, max(steps, 1), size)
    for i, start in enumerate(starts):
        goes_on = lengths[rows] > start
        if start and not goes_on.all():
            rows, states = rows[goes_on], States({name: _rows(kept, goes_on) for name, kept in states.items()})
        share = i / len(starts), (i + 1) / len(starts)
        whole = len(rows) == count
        yield Chunk(
            *_part(batch, lengths, slice(None) if whole else rows, slice(start, start + size)), states, *share
        )


def _part(batch: Batch, lengths: Array, rows: Any, at: slice) -> tuple[Batch, Array, int]:
    """The chunk ``at`` of these rows, its own weights, and over how many rows they are averaged.

    With a target at every step each row counts as the mean over its steps in the chunk; else the rows count that
    end in it.
    """
    assert batch.y is not None  # both training and measuring have targets
    lengths = lengths[rows]
    inside = np.minimum(lengths, at.stop) - at.start
    x, own_lengths = batch.x[rows, at], None if batch.lengths is None else inside
    if batch.weight.ndim == 2:
        weight = batch.weight[rows, at]
        part = Batch(x, own_lengths, batch.y[rows, at], weight)
        return part, weight * (lengths / np.maximum(inside, 1))[:, None], len(x)
    ends = lengths <= at.stop
    weight = batch.weight[rows] * ends
    return Batch(x, own_lengths, batch.y[rows], weight), weight, int(ends.sum())


def _rows(kept: tuple[Array, ...], which: Array) -> tuple[Array, ...]:
    return tuple(each[:, which] for each in kept)


def check_chunks(model: Sequential) -> None:
    """Every layer can go through a sequence chunk by chunk, or an error that says which can't and why."""
    for i, layer in enumerate(model.layers):
        if reason := layer.obstacle_to_chunks():
            raise ValueError(f"chunk must be None because of layer {i + 1} ({layer.name}): {reason}")
