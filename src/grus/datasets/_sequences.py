"""The container that every reader returns: sequences of different lengths, with targets and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
AnyArray = npt.NDArray[Any]
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


# eq=False: comparing arrays with == has no single truth value, so two objects are equal only if identical.
@dataclass(frozen=True, eq=False, repr=False)
class Sequences:
    """N sequences of T_i steps and I features each, with their targets and names.

    Parameters
    ----------
    x : list of N ndarrays, each of shape (T_i, I), float32 or float64
        The sequences; all have the same I and dtype, and at least one step.
    y : ndarray, shape (N,), or None
        One class (integer, text, …) or one number (floating) per sequence; None without targets.
    ids : ndarray, shape (N,)
        What names each sequence in its source.
    feature_names : tuple of I str
        The columns of each ``x[i]``.
    name : str
        Where the data came from.

    Raises
    ------
    ValueError
        There is no sequence, one is empty, a shape disagrees with the others, or ``y`` has NaN.
    TypeError
        A field has the wrong type, or a sequence isn't float32 or float64 like the first one.

    Examples
    --------
    >>> import numpy as np
    >>> from grus.datasets import Sequences
    >>> x = [np.zeros((3, 2)), np.ones((5, 2))]
    >>> data = Sequences(x, y=np.array(["no", "yes"]), ids=np.arange(2), feature_names=("a", "b"), name="toy")
    >>> data
    Sequences('toy': 2 sequences, lengths 3 to 5, 2 features, float64, 2 classes)
    >>> len(data), data.lengths
    (2, array([3, 5]))
    """

    x: list[FloatArray]
    y: AnyArray | None
    ids: AnyArray
    feature_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        _check_x(self.x, self.feature_names)
        _check_one_each("ids", self.ids, len(self.x))
        if self.y is not None:
            _check_one_each("y", self.y, len(self.x))
            _check_targets(self.y)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        lengths = self.lengths
        return (
            f"Sequences({self.name!r}: {_count(len(self), 'sequence')}, "
            f"lengths {lengths.min()} to {lengths.max()}, {_count(len(self.feature_names), 'feature')}, "
            f"{self.x[0].dtype}, {self._targets()})"
        )

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of steps T_i of each sequence, shape (N,), int64."""
        return np.array([len(sequence) for sequence in self.x], dtype=np.int64)

    def _targets(self) -> str:
        if self.y is None:
            return "no targets"
        if np.issubdtype(self.y.dtype, np.floating):
            return f"targets {self.y.min():g} to {self.y.max():g}"
        classes = len(np.unique(self.y))
        return f"{classes} class" if classes == 1 else f"{classes} classes"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _check_x(x: list[FloatArray], feature_names: tuple[str, ...]) -> None:
    """Each of the (T_i, I) arrays against the first one's dtype and the I names."""
    if not isinstance(x, list):
        raise TypeError(f"x must be a list of arrays of shape (T_i, I); got {type(x).__name__}.")
    if not isinstance(feature_names, tuple):
        raise TypeError(f"feature_names must be a tuple of str; got {type(feature_names).__name__}.")
    if not x:
        raise ValueError("x must hold at least one sequence; got an empty list.")
    size = len(feature_names)
    for i, sequence in enumerate(x):
        if not isinstance(sequence, np.ndarray):
            raise TypeError(f"x[{i}] must be an array of shape (T_i, {size}); got {type(sequence).__name__}.")
        if sequence.ndim != 2 or sequence.shape[0] == 0 or sequence.shape[1] != size:
            raise ValueError(
                f"x[{i}] must have shape (T_i, {size}) with T_i at least 1, because there are {size} "
                f"feature_names; got {sequence.shape}."
            )
        if sequence.dtype not in _DTYPES or sequence.dtype != x[0].dtype:
            wanted = "float32 or float64" if i == 0 else f"{x[0].dtype} like x[0]"
            raise TypeError(f"x[{i}] must be {wanted}; got {sequence.dtype}. Convert all with astype first.")


def _check_one_each(argument: str, values: AnyArray, n: int) -> None:
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{argument} must be an array of shape ({n},); got {type(values).__name__}.")
    if values.shape != (n,):
        raise ValueError(
            f"{argument} must have shape ({n},): one value for each of the {n} sequences; got {values.shape}."
        )


def _check_targets(y: AnyArray) -> None:
    missing = np.flatnonzero(np.isnan(y)) if y.dtype.kind == "f" else np.empty(0)
    if len(missing):
        raise ValueError(
            f"y must have a value for each sequence; {len(missing)} of {len(y)} are NaN, first y[{missing[0]}]. "
            "Leave those sequences out."
        )
