"""What the converters to JAX's libraries share: a library on request, 64 bits for a check alone, arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import numpy as np

from grus.conversion.check import in_dtype
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]


def library(name: str, extra: str) -> Any:
    """The module of that name, which our extra of the other name installs."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f'this conversion needs {name}. Install it: pip install "grus[{extra}]"') from error


def double() -> AbstractContextManager[Any]:
    """Within it JAX has float64, in this thread; the user's own setting is never written to."""
    jax = library("jax", "jax")
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)  # type: ignore[no-any-return]
    return import_module("jax.experimental").enable_x64()  # type: ignore[no-any-return]  # before JAX 0.8


def held(gru: GRU, allow_cast: bool, report: Report | None) -> GRU:
    """The GRU as JAX can hold it now: in float32, unless the user has enabled float64."""
    if gru.dtype.name == "float32" or library("jax.numpy", "jax").empty(0).dtype.name == "float64":
        return gru
    if not allow_cast:
        raise ConversionError(
            f"JAX holds float32 unless told otherwise and this GRU is {gru.dtype}: digits would be lost. Call "
            "jax.config.update('jax_enable_x64', True) first, or pass allow_cast=True to round them."
        )
    if report is not None:
        report.note(f"the weights were {gru.dtype} and are rounded to float32")
    return in_dtype(gru, "float32")


def note_zeros(gru: GRU, target: str, report: Report) -> None:
    """The same in every target that can't be without biases."""
    if not gru.bias:
        report.note(f"{target} always has biases: they are zeros")


def array(a: Array) -> Any:
    """A JAX array of the same dtype that shares no memory: ``jax.numpy.asarray`` may."""
    return library("jax.numpy", "jax").array(a, copy=True)


def widened(tree: Any) -> Any:
    """The same tree with its arrays in float64; within :func:`double`."""
    jax = library("jax", "jax")
    return jax.tree.map(lambda a: jax.numpy.asarray(a, "float64"), tree)
