"""Targets in the shape of a model's output."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]


def as_targets(y: Any, output: tuple[int, ...], dtype: np.dtype[Any]) -> Array | list[Array]:
    """y as (N, K), or with a target at every step as (N, T, K) or a list of (T_i, K).

    ``output`` is the shape of the model's output for one row. Whole numbers without the last axis are class
    indices where K is above 1; numbers without it are the one output where K is 1.
    """
    if len(output) == 2 and (isinstance(y, list) or (isinstance(y, np.ndarray) and y.dtype.hasobject)):
        return [_as_target(f"y[{i}]", np.asarray(each), output, dtype, skip=1)[0] for i, each in enumerate(y)]
    return _as_target("y", _check.array("y", y), output, dtype)


def _as_target(name: str, y: Array, output: tuple[int, ...], dtype: np.dtype[Any], skip: int = 0) -> Array:
    """``skip`` axes of the batch are missing in y, because it is one entry of a list."""
    y = np.asarray(y[(None,) * skip])
    if y.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers; got dtype {y.dtype}. Classes go in as 0 ... K-1.")
    classes = output[-1]
    if y.ndim == len(output) and y.dtype.kind in "biu" and classes > 1:
        return _one_hot(name, y, classes, dtype)
    if y.ndim == len(output) and classes == 1:
        y = y[..., None]
    expected: tuple[int | str, ...] = ("N", *("T" for _ in output[:-1]), classes)
    _check.shaped(name, y, expected, f"the model's output for one sequence has shape {output}")
    with np.errstate(over="ignore"):  # a number beyond the dtype is infinite
        return _check.finite(name, y.astype(dtype), "Leave out rows without a target.")


def _one_hot(name: str, y: Array, classes: int, dtype: np.dtype[Any]) -> Array:
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(
            f"{name} must hold class indices in 0 ... {classes - 1}, because the model has {classes} outputs; "
            f"got {y.min()} ... {y.max()}."
        )
    return np.eye(classes, dtype=dtype)[y.astype(np.intp)]
