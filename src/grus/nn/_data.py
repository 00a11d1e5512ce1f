"""Sequences, targets and weights as batches: ragged sequences are padded batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]
Inputs = Array | Sequence[Any]
_BUCKET = 50  # batches that are sorted by length together when batches are grouped


class Batch(NamedTuple):
    """What one step of training sees."""

    x: Array  # (B, T, ...), padded
    lengths: Array | None  # (B,), None where all sequences are as long as x
    y: Array | None  # (B, K), or (B, T, K) with a target at every step
    weight: Array  # (B,), or (B, T) with a target at every step: what each counts


def pad(sequences: Sequence[Array]) -> tuple[Array, Array]:
    """Sequences (T_i, ...) as (B, T, ...) with zeros at the end, and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences])
    first = sequences[0]
    padded = np.zeros((len(sequences), lengths.max(), *first.shape[1:]), np.result_type(*sequences))
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


def without_padding(x: Array, lengths: Array, instead: Any = None) -> Array:
    """x (B, T, ...) with zeros, or ``instead``, past each length: what stands there must not matter, even NaN."""
    result = x.copy(order="K")
    result[np.arange(x.shape[1]) >= lengths[:, None]] = np.zeros((), x.dtype) if instead is None else instead
    return result


def as_inputs(
    x: Inputs, dtype: np.dtype[Any], symbols: bool, time_feature: int | None = None
) -> Array | list[Array]:
    """x as one array, or as a list of arrays of one rank and width; numbers in the model's dtype.

    ``symbols``: the first layer reads whole numbers or characters, which stay as they are; a text is a sequence of
    characters. ``time_feature``: that feature is a time, counted from each sequence's first step before it is
    converted, because float32 can't tell two steps apart in seconds since 1970.
    """
    if isinstance(x, str) or not hasattr(x, "__len__"):
        raise TypeError(f"x must be an array, or a list with an array for each sequence; got {type(x).__name__}.")
    listed = not isinstance(x, np.ndarray) or (x.ndim == 1 and x.dtype.kind in "OU")
    how = (dtype, symbols, time_feature)
    inputs = _as_list(x, *how) if listed else _as_input("x", x, *how)
    if isinstance(inputs, np.ndarray) and inputs.ndim < 2:
        raise ValueError(f"x must have shape (N, T, ...), one row for each sequence; got {inputs.shape}.")
    if len(inputs) == 0:
        raise ValueError("x must hold at least one sequence; got none.")
    return inputs


def _as_list(x: Inputs, dtype: np.dtype[Any], symbols: bool, time_feature: int | None) -> list[Array]:
    sequences = [_as_input(f"x[{i}]", each, dtype, symbols, time_feature) for i, each in enumerate(x)]
    width = sequences[0].shape[1:] if sequences else ()
    for i, sequence in enumerate(sequences):
        if sequence.ndim == 0:
            raise ValueError(f"x[{i}] must be a sequence, of shape (T, ...); got a single value.")
        if sequence.shape[1:] != width:
            raise ValueError(
                f"x[{i}] must have shape {_check.show(('T', *width))} because x[0] has that; got {sequence.shape}."
            )
    return sequences


def _as_input(name: str, x: Any, dtype: np.dtype[Any], symbols: bool, time_feature: int | None) -> Array:
    array = np.array(list(x), "U1") if symbols and isinstance(x, str) else _check.array(name, x)
    wanted = "iuU" if symbols else "fiu"
    if array.dtype.kind not in wanted or array.dtype == np.float16:
        expected = "whole numbers or characters" if symbols else "float32, float64 or whole numbers"
        raise TypeError(f"{name} must hold {expected}; got dtype {array.dtype}.")
    if time_feature is not None and array.ndim > 1 and -array.shape[-1] <= time_feature < array.shape[-1]:
        array = array.astype(array.dtype if array.dtype.kind != "u" else np.int64)
        with np.errstate(invalid="ignore"):  # an infinite time less another
            array[..., time_feature] -= array[..., :1, time_feature]
    with np.errstate(over="ignore"):  # a number beyond the dtype is infinite
        return array if symbols else array.astype(dtype, copy=False)


class Dataset:
    """x, y and weights, one of each for every row, and their batches."""

    def __init__(
        self, x: Array | list[Array], y: Array | list[Array] | None = None, weight: Array | None = None
    ) -> None:
        self.x, self.y, self.weight = x, y, weight
        # (N,) of a list of sequences, None of an array
        self.lengths = np.array([len(each) for each in x]) if isinstance(x, list) else None
        if y is not None and len(y) != len(x):
            raise ValueError(f"y must hold one entry for each of the {len(x)} rows of x; got {len(y)}.")

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, index: npt.NDArray[np.intp]) -> Dataset:
        """These rows."""
        weight = None if self.weight is None else self.weight[index]
        return Dataset(_take(self.x, index), None if self.y is None else _take(self.y, index), weight)

    def batch(self, index: npt.NDArray[np.intp]) -> Batch:
        """These rows as arrays."""
        x, lengths = _stack(_take(self.x, index))
        y = None if self.y is None else _stack(_take(self.y, index))[0]
        weight = np.ones(len(index)) if self.weight is None else self.weight[index]
        if y is not None and y.ndim == 3:  # a sequence counts as the mean over its steps
            steps = np.full(len(index), y.shape[1]) if lengths is None else lengths
            inside = np.arange(y.shape[1]) < steps[:, None]
            weight = inside * (weight / np.maximum(steps, 1))[:, None]
        return Batch(x, lengths, y, weight)

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None, group_by_length: bool = False
    ) -> Iterator[npt.NDArray[np.intp]]:
        """Rows of each batch, the last one partial: shuffled by ``rng``, in order without one.

        Within a batch the longest sequences stand first: then blocks of neighbouring rows end together, and the
        engine skips a block of a step that is past all their ends.

        ``group_by_length`` puts sequences of like length together, so that less is padded: the shuffled rows
        are sorted by length within runs of fifty batches, then the batches are shuffled.
        """
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        lengths = self.lengths
        if group_by_length and lengths is not None:
            run = _BUCKET * batch_size
            parts = [order[i : i + run] for i in range(0, len(order), run)]
            order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
        starts = np.arange(0, len(self), batch_size)
        if group_by_length and rng is not None:
            rng.shuffle(starts)
        for start in starts:
            rows = order[start : start + batch_size]
            yield rows if lengths is None else rows[np.argsort(-lengths[rows], kind="stable")]


def check_inputs(inputs: Array | list[Array], check: Callable[[str, Array], None]) -> None:
    """Nothing that the first layer can't take, by its ``check``: NaN would make the loss and every weight NaN."""
    named = {f"x[{i}]": each for i, each in enumerate(inputs)} if isinstance(inputs, list) else {"x": inputs}
    for name, each in named.items():
        check(name, each)


def as_weights(weight: npt.ArrayLike, rows: int) -> Array:
    """sample_weight as (N,) float64."""
    weights = _check.array("sample_weight", weight)
    _check.shaped("sample_weight", weights, (rows,), f"x holds {rows} sequences")
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight must hold numbers; got dtype {weights.dtype}.")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample_weight must be finite and at least 0, and not all 0.")
    return weights.astype(np.float64)


def check_steps(data: Dataset) -> None:
    """Targets at every step are as many as the steps of their sequence."""
    if isinstance(data.y, list) or (data.y is not None and data.y.ndim == 3):
        for i, (sequence, target) in enumerate(zip(data.x, data.y, strict=True)):
            if len(sequence) != len(target):
                raise ValueError(f"y[{i}] must hold {len(sequence)} steps because x[{i}] does; got {len(target)}.")


def _take(values: Array | list[Array], index: npt.NDArray[np.intp]) -> Any:
    return [values[i] for i in index] if isinstance(values, list) else values[index]


def _stack(values: Array | list[Array]) -> tuple[Array, Array | None]:
    return pad(values) if isinstance(values, list) else (values, None)
