"""Checks of the arrays that a converter is handed: names, shapes, dtypes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion.errors import ConversionError

Array = np.ndarray[Any, np.dtype[Any]]


def named(name: str, arrays: Mapping[str, Any], names: Iterable[str], layout: str) -> dict[str, Array]:
    """Exactly these names, each with an array as :func:`one_dtype` takes it."""
    if not isinstance(arrays, Mapping):
        raise TypeError(f"{name} must map {', '.join(names)} to arrays; got {type(arrays).__name__}.")
    expected = list(names)
    missing = [each for each in expected if each not in arrays]
    unknown = [str(each) for each in arrays if each not in expected]
    if missing or unknown:
        problems = {"missing": missing, "unknown": unknown}
        parts = [f"{what} {', '.join(map(repr, which))}" for what, which in problems.items() if which]
        raise ConversionError(f"{name} must hold {', '.join(expected)} as {layout} has it; {'; '.join(parts)}.")
    return one_dtype(name, {each: arrays[each] for each in expected})


def one_dtype(name: str, arrays: Mapping[str, Any]) -> dict[str, Array]:
    """Finite arrays of one dtype, float32 or float64; half floats are widened, which is exact."""
    read = {key: np.asarray(value) for key, value in arrays.items()}
    for key, array in read.items():
        if array.dtype.name in ("float16", "bfloat16"):
            read[key] = array = array.astype("float32")
        if array.dtype.name not in ("float32", "float64"):
            raise ConversionError(f"{name}[{key!r}] must be float32 or float64; got {array.dtype}.")
        if not np.isfinite(array).all():
            raise ConversionError(f"{name}[{key!r}] holds NaN or infinity: a conversion of it can't be checked.")
    dtypes = {array.dtype.name for array in read.values()}
    if len(dtypes) > 1:
        raise ConversionError(f"{name} must be of one dtype; got {' and '.join(sorted(dtypes))}.")
    return read


def hidden_size(name: str, recurrent: Array, *, columns: bool) -> int:
    """H, of a recurrent weight (H, 3H) if its gates stand in columns, else (3H, H)."""
    size = int(shaped(name, recurrent, (None, None)).shape[0 if columns else 1])
    shaped(name, recurrent, (size, 3 * size) if columns else (3 * size, size))
    return size


def shaped(name: str, array: Array, shape: Sequence[int | None]) -> Array:
    """The array, whose shape must be this one; None stands for any length."""
    fits = array.ndim == len(shape) and all(e is None or e == g for e, g in zip(shape, array.shape, strict=True))
    if not fits or 0 in array.shape:
        wanted = ", ".join("any" if each is None else str(each) for each in shape)
        raise ConversionError(f"{name} must have shape ({wanted}); got {array.shape}.")
    return array
