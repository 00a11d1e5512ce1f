"""Is it the right answer? Output and every gradient against the reference engine in float64."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import grus
from benchmarks import passes
from benchmarks.cases import Array, Data, rounded

TOLERANCE = {"float32": 1e-4, "float64": 1e-12}  # |found - expected| / |expected| in the 2-norm


class WrongAnswerError(Exception):
    """A library computes something else than the reference: its time would mean nothing."""


def reference(data: Data, **options: Any) -> dict[str, Array]:
    """What the data must give."""
    with grus.use_engine("reference"):
        wide = {name: rounded(value, "float64") for name, value in options.items()}
        return passes.answers(data.astype("float64"), **wide)


def save(answers: Mapping[str, Array], path: Path) -> None:
    """For the workers, which compare in their own process."""
    np.savez(path, **dict(answers))


def load(path: Path) -> dict[str, Array]:
    """What :func:`save` wrote."""
    with np.load(path) as arrays:
        return dict(arrays)


def errors(found: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    """The relative error of each array that was found."""
    return {name: _relative_error(name, array, expected[name]) for name, array in found.items()}


def _relative_error(name: str, found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        raise WrongAnswerError(f"{name} has shape {found.shape} where the reference has {expected.shape}")
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def check(who: str, found: Mapping[str, float], dtype: str = "float32") -> None:
    """Raise if an error is above the tolerance, or not a number."""
    for name, error in found.items():
        if not error <= TOLERANCE[dtype]:
            raise WrongAnswerError(
                f"{who}: {name} differs from the reference by {error:.1e} of its norm; "
                f"at most {TOLERANCE[dtype]:.0e} is rounding. Nothing was timed."
            )
