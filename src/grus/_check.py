"""Every check of a shape, a dtype or a value, and every message: argument, expected, got, what to do.

Callers name the argument; the functions return the checked value in the form that the engines take.
Longer than 300 lines because every message stands here.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeGuard

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
DTYPES = ("float32", "float64", "complex128")
_FEW = 50  # numbers, up to which Python's own minimum is the faster one
_NATIVE = frozenset(np.dtype(name) for name in DTYPES)  # a dtype of another byte order equals none of them


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


def divisor(name: str, value: Any, of: str, whole: int) -> int:
    """A whole number that divides another one, whose name is ``of``."""
    if whole % (result := size(name, value)):
        raise ValueError(f"{name} must divide {of} {whole}; got {result}.")
    return result


def number(name: str, value: Any) -> float:
    """A finite real number; a text or a boolean isn't one, though ``float`` takes them."""
    if type(value) is float and math.isfinite(value):  # the usual case
        return value
    scalar = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(scalar, bool) or not isinstance(scalar, numbers.Real):
        raise TypeError(f"{name} must be a number; got {value!r} of type {type(value).__name__}.")
    try:
        result = float(scalar)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite; got {result}.")
    return result


def checkpoint_every(value: Any, bidirectional: bool, reverse: bool, truncate: int | None) -> int | None:
    """So many steps, or None, where each chunk's way back needs nothing but what the one after it gives."""
    if value is None:
        return None
    if bidirectional or reverse:
        which = "bidirectional" if bidirectional else "reverse"
        raise ValueError(
            f"checkpoint_every must be None where {which} is True; got {value!r}. The reverse "
            "direction comes from the end of the sequence, so no chunk can be run again by itself."
        )
    if truncate is not None:
        raise ValueError(
            f"checkpoint_every must be None where truncate is {truncate}; got {value!r}. What "
            "reaches a chunk's end from later losses has different numbers of steps still to go. Leave out one."
        )
    return size("checkpoint_every", value)


def return_output(value: Any, every: int | None) -> bool:
    """False only where the tape does without the output."""
    if not boolean("return_output", value) and every is None:
        raise ValueError(
            "return_output must be True where checkpoint_every is None, because the tape keeps the output then; "
            "got False."
        )
    return bool(value)


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


def non_zero(name: str, value: Any) -> float:
    """A finite number other than 0."""
    if (result := number(name, value)) == 0:
        raise ValueError(f"{name} must not be 0; got {result:g}.")
    return result


def probability(name: str, value: Any) -> float:
    """A rate p with 0 <= p < 1."""
    if not 0 <= (result := number(name, value)) < 1:
        raise ValueError(f"{name} must be at least 0 and below 1; got {result:g}.")
    return result


def one_direction(name: str, bidirectional: bool) -> None:
    """What goes on step by step has no end yet for a reverse direction to start from."""
    if bidirectional:
        raise ValueError(f"{name} needs a GRU with bidirectional=False: the reverse direction starts at the end.")


def forwards(name: str, bidirectional: bool, reverse: bool) -> None:
    """What comes in the order of time can't be read from its end."""
    one_direction(name, bidirectional)
    if reverse:
        raise ValueError(f"{name} needs a GRU with reverse=False: a reverse GRU starts at the end of a sequence.")


def reverse(value: Any, bidirectional: bool) -> bool:
    """True only where there is one direction, which it is of."""
    if boolean("reverse", value) and bidirectional:
        raise ValueError(
            "reverse must be False where bidirectional is True, because both directions are there; got True."
        )
    return bool(value)


def boolean(name: str, value: Any) -> bool:
    """True or False, nothing that merely counts as one of them."""
    if value is True or value is False:  # the usual case
        return value is True
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r} of type {type(value).__name__}.")
    return bool(value)


# ----------------------------------------------------------------------------------------------------- names


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """One of the allowed strings."""
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
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
    import difflib  # only an error needs it

    matches = difflib.get_close_matches(str(value), allowed, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def same_names(owner: str, given: Iterable[str], expected: Iterable[str]) -> None:
    """Exactly the expected names: what is missing and what is unknown are both said."""
    given, expected = {str(name) for name in given}, set(expected)
    parts = [
        f"{word} {', '.join(sorted(names))}"
        for word, names in (("missing", expected - given), ("unknown", given - expected))
        if names
    ]
    if parts:
        raise ValueError(f"{owner} does not fit: {'; '.join(parts)}. Pass strict=False to load what matches.")


def generator(name: str, value: Any) -> np.random.Generator:
    """A random generator from a seed, or the one given."""
    if isinstance(value, np.random.Generator):
        return value
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a whole number of at least 0 or a numpy.random.Generator; got {value!r}."
        ) from None


# ---------------------------------------------------------------------------------------------------- arrays


def dtype(value: Any) -> np.dtype[Any]:
    """A dtype that grus computes in, in this machine's byte order. None isn't one: NumPy reads it as float64."""
    if value is None or (name := _dtype_name(value)) not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {value!r}.")
    return np.dtype(name)


def array(name: str, value: Any) -> Array:
    """What NumPy makes of the value, unless its rows are of different lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} must be an array; got a {type(value).__name__} whose rows differ in length."
        ) from None


def floating(name: str, value: Any, expected: np.dtype[Any] | None = None, why: str = "") -> Array:
    """An array of dtype ``expected`` (or any that grus computes in): a cast is never made silently."""
    if type(value) is np.ndarray and expected is not None and value.dtype == expected:  # the usual case
        return value
    result = array(name, value)
    if result.dtype not in _NATIVE if expected is None else result.dtype != expected:
        wanted = DTYPES if expected is None else (expected.name,)
        because = f" because {why}" if why else ""
        got = "None" if value is None else result.dtype
        to = expected or np.dtype("float32")
        start = f"{name}.astype(" if isinstance(value, np.ndarray) else f"np.asarray({name}, "
        advice = f" Pass {start}{to.name!r})." if np.can_cast(result.dtype, to, "same_kind") else ""
        raise TypeError(f"{name} must be {' or '.join(wanted)}{because}; got {got}.{advice}")
    return result


@cache
def named_dtype(name: str, of: np.dtype[Any]) -> str:
    """``x is float32``, kept: NumPy takes long to find a dtype's name."""
    return f"{name} is {of}"


def real(name: str, value: Any) -> Array:
    """Real numbers of any kind, in float64."""
    result = array(name, value)
    if result.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers; got {'None' if value is None else result.dtype}.")
    return result.astype(np.float64)


def ready(value: Any, shape: Shape, to: np.dtype[Any]) -> TypeGuard[Array]:
    """Whether this is an array of that shape and dtype already, so that no check needs a message."""
    return type(value) is np.ndarray and value.shape == shape and value.dtype == to


def shaped(name: str, array: Array, expected: Sequence[int | str], why: str) -> Array:
    """An array of the expected shape; a letter stands for a free axis."""
    if array.shape != expected and not _fits(array.shape, expected):
        raise ValueError(f"{name} must have shape {show(expected)} because {why}; got {array.shape}.")
    return array


def matching(name: str, value: Any, shape: Shape, to: np.dtype[Any], why: str) -> Array:
    """An array of exactly this shape and dtype; zeros when omitted."""
    if value is None:
        return np.zeros(shape, to)
    return shaped(name, floating(name, value, to, "x and the parameters are"), shape, why)


def broadcast(name: str, value: Any, shape: Shape, to: np.dtype[Any], why: str) -> Array | None:
    """An array that NumPy broadcasts to this shape, as such a view; None when omitted."""
    if value is None:
        return None
    result = floating(name, value, to, "x and the parameters are")
    if result.shape == shape:  # the usual case: NumPy takes long to make a view
        return result
    if result.ndim != len(shape) or any(
        got not in (1, want) for got, want in zip(result.shape, shape, strict=True)
    ):
        raise ValueError(
            f"{name} must have shape {show(shape)}, or 1 on some axes, because {why}; got {result.shape}."
        )
    return np.broadcast_to(result, shape)


def flags(name: str, value: Any, expected: Shape, why: str) -> Array:
    """A bool array of the expected shape, from bools or from numbers that are all 0 or 1."""
    result = shaped(name, array(name, value), expected, why)
    if result.dtype != bool:
        if result.dtype.kind not in "iuf":
            raise TypeError(f"{name} must hold booleans (or 0 and 1); got dtype {result.dtype}.")
        if not np.isin(result, (0, 1)).all():
            raise ValueError(f"{name} must hold booleans (or 0 and 1); got values such as {_odd_one(result)}.")
        result = result.astype(bool)
    return result


def row_numbers(name: str, value: Any, batch: int) -> Array:
    """Some rows of a batch, by number or by a mask (B,), as numbers."""
    result = np.atleast_1d(array(name, value))
    if result.dtype == bool:
        return np.flatnonzero(shaped(name, result, (batch,), f"batch_size is {batch}"))
    if result.size and result.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers or booleans; got dtype {result.dtype}.")
    shaped(name, result, ("rows",), "it lists rows of the batch")
    for row in result:
        if not 0 <= row < batch:
            raise ValueError(f"{name} must be in 0 ... {batch - 1}, because batch_size is {batch}; got {row}.")
    return result.astype(np.intp)


def reset_state_with_reset(reset_state: Any, reset: Any) -> None:
    """A state to start from has a use only where something starts."""
    if reset_state is not None and reset is None:
        raise ValueError("reset_state needs reset, which says where sequences begin; got reset_state alone.")


def lengths(value: Any, batch: int, steps: int) -> Array:
    """(B,) whole numbers in 0 ... T."""
    return _lengths(value, batch, steps)[0].astype(np.int64)


def padded_lengths(value: Any, batch: int, steps: int) -> Array | None:
    """The same; None where no row is padded."""
    result, least = _lengths(value, batch, steps)
    return None if least == steps or batch == 0 else result.astype(np.int64)


def _lengths(value: Any, batch: int, steps: int) -> tuple[Array, int]:
    """They as they were given, and the least."""
    result = array("lengths", value)
    if result.size and result.dtype.kind not in "iu":
        advice = " Pass np.asarray(lengths, int)." if result.dtype.kind == "f" else ""
        raise TypeError(f"lengths must be whole numbers; got dtype {result.dtype}.{advice}")
    if result.shape != (batch,):
        shaped("lengths", result, (batch,), f"x holds {batch} sequences")
    least, most = _bounds(result)
    if least < 0 or most > steps:
        row = int(np.argmax((result < 0) | (result > steps)))
        raise ValueError(f"lengths must be in 0 ... {steps} (the steps of x); got {result[row]} in row {row}.")
    return result, least


def _bounds(a: Array) -> tuple[int, int]:
    """The least and the largest of whole numbers, 0 and 0 of none."""
    if a.size > _FEW:
        return int(a.min()), int(a.max())
    values = a.tolist() or (0,)
    return min(values), max(values)


def finite(name: str, array: Array, advice: str) -> Array:
    """No NaN and no infinity."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} must be finite; got {int(bad.sum())} NaN or infinite values, the first at {where}. {advice}"
        )
    return array


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """A dictionary of names to arrays, or something that reads like one."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of names to arrays; got {type(value).__name__}.")
    return value


def state_array(name: str, value: Any, shape: Shape, to: np.dtype[Any], rounded: bool = False) -> Array:
    """An array for a parameter: of its shape, and of a dtype that loses nothing in ``to``, or is only rounded."""
    result = shaped(name, array(name, value), shape, "that is the size of this model's parameter")
    if not np.can_cast(result.dtype, to, "same_kind" if rounded else "safe"):
        advice = f" Pass the array as .astype({to.name!r})." if np.can_cast(result.dtype, to, "same_kind") else ""
        raise TypeError(f"{name} is {result.dtype}, which this model's {to} can't hold without loss.{advice}")
    return result


def buffer(name: str, value: Any, length: int, to: np.dtype[Any], rows: int | None = None) -> Array:
    """A vector (or rows of them) to place named arrays on: a copy of anything else would be filled in vain."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be an ndarray, to be filled in place; got {type(value).__name__}.")
    shape = (length,) if rows is None else (rows, length)
    why = f"that is the number of {'' if rows is None else 'sequences and of '}parameters"
    shaped(name, floating(name, value, to, "the parameters are"), shape, why)
    if not (value.flags.c_contiguous and value.flags.writeable):
        raise ValueError(f"{name} must be contiguous and writeable; got one that is not.")
    if not value.flags.aligned:
        raise ValueError(f"{name} must lie at a multiple of {to.itemsize} bytes in memory; got one that does not.")
    return value


def _fits(shape: Shape, expected: Sequence[int | str]) -> bool:
    if len(shape) != len(expected):
        return False
    for got, want in zip(shape, expected, strict=True):  # a generator would take twice as long
        if got != want and not isinstance(want, str):
            return False
    return True


def _dtype_name(value: Any) -> str:
    """The name of a dtype in this machine's byte order; empty where it isn't one."""
    try:
        result = np.dtype(value)
    except (TypeError, ValueError):
        return ""
    return str(result.name) if result.isnative else ""


def show(expected: Sequence[int | str]) -> str:
    """A shape in words: ``(B, T, 8)``."""
    inside = ", ".join(str(want) for want in expected)
    return f"({inside},)" if len(expected) == 1 else f"({inside})"


def _odd_one(array: Array) -> Any:
    return array[~np.isin(array, (0, 1))].flat[0]
