"""Every check of a shape, a dtype or a value, and every message: argument, expected, got, what to do.

Callers name the argument; the functions return the checked value in the form that the engines take.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
DTYPES = ("float32", "float64", "complex128")


# --------------------------------------------------------------------------------------------------- numbers


def size(name: str, value: Any, minimum: int = 1) -> int:
    """A whole number of at least ``minimum``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r} of type {type(value).__name__}.") from None
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a whole number; got the boolean {value!r}.")
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {number}.")
    return number


def number(name: str, value: Any) -> float:
    """A finite real number."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r} of type {type(value).__name__}.") from None
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite; got {result}.")
    return result


def positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    if (result := number(name, value)) <= 0:
        raise ValueError(f"{name} must be above 0; got {result:g}.")
    return result


def non_negative(name: str, value: Any) -> float:
    """A finite number of at least 0."""
    if (result := number(name, value)) < 0:
        raise ValueError(f"{name} must be at least 0; got {result:g}.")
    return result


def probability(name: str, value: Any) -> float:
    """A rate p with 0 <= p < 1."""
    if not 0 <= (result := number(name, value)) < 1:
        raise ValueError(f"{name} must be at least 0 and below 1; got {result:g}.")
    return result


def boolean(name: str, value: Any) -> bool:
    """True or False, nothing that merely counts as one of them."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r} of type {type(value).__name__}.")
    return bool(value)


# ----------------------------------------------------------------------------------------------------- names


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """One of the allowed strings."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.{closest(value, allowed)}")
    return str(value)


def known_keys(owner: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """No key that the owner does not have."""
    allowed = tuple(allowed)
    for key in given:
        if key not in allowed:
            takes = f"takes {', '.join(allowed)}" if allowed else "takes no parameters"
            raise ValueError(f"{owner} {takes}; got {key!r}.{closest(key, allowed)}")


def closest(value: Any, allowed: Sequence[str]) -> str:
    """`` Did you mean 'x'?`` where something is close, else nothing."""
    matches = difflib.get_close_matches(str(value), allowed, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def same_names(owner: str, given: Iterable[str], expected: Iterable[str]) -> None:
    """Exactly the expected names: what is missing and what is unknown are both said."""
    given, expected = set(given), set(expected)
    parts = [
        f"{word} {', '.join(sorted(names))}"
        for word, names in (("missing", expected - given), ("unknown", given - expected))
        if names
    ]
    if parts:
        raise ValueError(f"{owner} does not fit: {'; '.join(parts)}. Pass strict=False to load what matches.")


# ---------------------------------------------------------------------------------------------------- arrays


def dtype(value: Any) -> np.dtype[Any]:
    """A dtype that grus computes in."""
    try:
        result = np.dtype(value)
    except TypeError:
        result = None
    if result is None or result.name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {value!r}.")
    return result


def floating(name: str, value: Any, expected: np.dtype[Any] | None = None, why: str = "") -> Array:
    """An array of dtype ``expected`` (or any that grus computes in): a cast is never made silently."""
    array = np.asarray(value)
    wanted = DTYPES if expected is None else (expected.name,)
    if array.dtype.name not in wanted:
        because = f" because {why}" if why else ""
        advice = f"{name}.astype({(expected or np.dtype('float32')).name!r})"
        raise TypeError(f"{name} must be {' or '.join(wanted)}{because}; got {array.dtype}. Pass {advice}.")
    return array


def shaped(name: str, array: Array, expected: Sequence[int | str], why: str) -> Array:
    """An array of the expected shape; a letter stands for a free axis."""
    fits = array.ndim == len(expected) and all(
        isinstance(want, str) or want == got for want, got in zip(expected, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have shape {_show(expected)} because {why}; got {array.shape}.")
    return array


def matching(name: str, value: Any, shape: Shape, to: np.dtype[Any], why: str) -> Array:
    """An array of exactly this shape and dtype; zeros when omitted."""
    if value is None:
        return np.zeros(shape, to)
    return shaped(name, floating(name, value, to, "x and the parameters are"), shape, why)


def flags(name: str, value: Any, expected: Shape, why: str) -> Array:
    """A bool array of the expected shape, from bools or from numbers that are all 0 or 1."""
    array = shaped(name, np.asarray(value), expected, why)
    if array.dtype != bool:
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{name} must hold booleans (or 0 and 1); got dtype {array.dtype}.")
        if not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name} must hold booleans (or 0 and 1); got values such as {_odd_one(array)}.")
        array = array.astype(bool)
    return array


def lengths(value: Any, batch: int, steps: int) -> Array:
    """(B,) whole numbers in 0 ... T."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must be whole numbers; got dtype {array.dtype}. Pass lengths.astype(int).")
    shaped("lengths", array, (batch,), f"x holds {batch} sequences")
    if array.size and not (0 <= array.min() and array.max() <= steps):
        row = int(np.argmax((array < 0) | (array > steps)))
        raise ValueError(f"lengths must be in 0 ... {steps} (the steps of x); got {array[row]} in row {row}.")
    return array.astype(np.int64)


def finite(name: str, array: Array, advice: str) -> Array:
    """No NaN and no infinity."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} must be finite; got {int(bad.sum())} NaN or infinite values, the first at {where}. {advice}"
        )
    return array


def state_arrays(owner: str, given: Mapping[str, Any], shapes: Mapping[str, Shape], to: np.dtype[Any]) -> None:
    """Arrays that fit a state dictionary: each of its shape, and of a dtype that loses nothing in ``to``."""
    for name, value in given.items():
        array = np.asarray(value)
        shaped(f"{owner}[{name!r}]", array, shapes[name], "that is the size of this model's parameter")
        if not np.can_cast(array.dtype, to, "safe"):
            raise TypeError(
                f"{owner}[{name!r}] is {array.dtype}, which this model's {to} can't hold without loss. "
                f"Pass the array as .astype({to.name!r})."
            )


def _show(expected: Sequence[int | str]) -> str:
    inside = ", ".join(str(want) for want in expected)
    return f"({inside},)" if len(expected) == 1 else f"({inside})"


def _odd_one(array: Array) -> Any:
    return array[~np.isin(array, (0, 1))].flat[0]
