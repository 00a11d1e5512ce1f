"""Every library as a source and as a target of conversions: its random GRUs, its runs, our verbs, what it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import grus
import library_runs as runs
import library_sources as sources
from grus.conversion import formulas
from jax_runs import precision
from layouts import Case


def from_(module: str, source: Any, **options: Any) -> grus.GRU:
    return getattr(import_module(f"grus.{module}"), f"from_{module}")(source, **options)  # type: ignore[no-any-return]


def to(module: str, gru: grus.GRU, **options: Any) -> Any:
    return getattr(import_module(f"grus.{module}"), f"to_{module}")(gru, **options)


@dataclass(frozen=True)
class Side:
    """One library. ``none``: it has GRUs without biases; ``b_hn``: a recurrent bias in the new gate."""

    title: str
    make: Callable[[Case, np.random.Generator], Any]
    run: Callable[..., runs.Answer]
    read: Callable[[Any], grus.GRU]
    write: Callable[[grus.GRU], Any]
    formulations: tuple[str, ...] = ("after", "before")
    directions: tuple[int, ...] = (1, 2)
    dtypes: tuple[str, ...] = ("float64", "float32")
    none: bool = True
    b_hn: bool = True
    within: Callable[[str], AbstractContextManager[None]] = nullcontext  # of a dtype: where it holds it
    keras: str = "jax"  # Keras' backend in the process that it runs in

    def makes(self, case: Case) -> bool:
        """Whether it has such GRUs of its own."""
        return not self.lacks(case, b_hn=False) and (case.bias or self.none)

    def lacks(self, case: Case, b_hn: bool) -> set[str]:
        """Why it must refuse such a GRU; nothing: it must take it. ``b_hn``: the GRU's is not zero."""
        missing = {
            "formulation": case.formulation not in self.formulations,
            "bidirectional": case.directions not in self.directions,
            "b_hn": b_hn and not self.b_hn,
            "float64": case.dtype not in self.dtypes,
        }
        return {reason for reason, is_missing in missing.items() if is_missing}


@contextmanager
def whole_keras(dtype: str) -> Iterator[None]:
    """Keras without its type promotion, which rounds float64 to float32 on its way."""
    from keras.src.backend.common import dtypes

    before = dict(dtypes.BIT64_TO_BIT32_DTYPE)
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    try:
        yield
    finally:
        dtypes.BIT64_TO_BIT32_DTYPE.update(before)


@contextmanager
def whole_keras_on_jax(dtype: str) -> Iterator[None]:
    with precision(dtype), whole_keras(dtype):
        yield


def side(title: str, make: Any, run: Any, module: str, api: str | None = None, **has: Any) -> Side:
    """One whose two verbs need no more than ``api``."""
    options = {"api": api} if api else {}
    return Side(title, make, run, partial(from_, module), partial(to, module, **options), **has)


def layout(title: str, make: Any, formula: Any, module: str, **has: Any) -> Side:
    """One of arrays of one direction, with biases, that is run by its documented formula."""
    return side(title, make, runs.by_formula(formula), module, **{"directions": (1,), "none": False, **has})


ON_JAX: dict[str, Any] = {"within": precision}
AFTER: dict[str, Any] = {"formulations": ("after",)}
BEFORE: dict[str, Any] = {"formulations": ("before",)}
FLOAT32: dict[str, Any] = {"dtypes": ("float32",)}
SIDES = {
    "torch": side("PyTorch", sources.torch, runs.run_torch, "torch", **AFTER),
    "keras-jax": side("Keras (JAX)", sources.keras, runs.run_keras, "keras", within=whole_keras_on_jax),
    "keras-torch": side(
        "Keras (PyTorch)", sources.keras, runs.run_keras, "keras", within=whole_keras, keras="torch"
    ),
    "linen": side("Flax linen", sources.linen, runs.run_linen, "flax", "linen", none=False, **ON_JAX, **AFTER),
    "nnx": side(
        "Flax nnx", sources.nnx, runs.run_nnx, "flax", "nnx", none=False, b_hn=False, **ON_JAX, **AFTER
    ),
    "equinox": side("Equinox", sources.equinox, runs.run_equinox, "jax", "equinox", **ON_JAX, **AFTER),
    "haiku": side("Haiku", sources.haiku, runs.run_haiku, "jax", "haiku", none=False, **ON_JAX, **BEFORE),
    "onnxruntime": Side(
        "ONNX Runtime", sources.onnx, runs.run_onnxruntime, partial(from_, "onnx"),
        partial(to, "onnx", h0=True, h_n=True, dtype="float32"), **FLOAT32,
    ),
    "evaluator": Side(
        "ONNX evaluator", sources.onnx, runs.run_evaluator, partial(from_, "onnx"),
        partial(to, "onnx", h0=True, h_n=True),
    ),
    "mygrad": side("MyGrad", sources.mygrad, runs.run_mygrad, "mygrad", directions=(1,), none=False, **BEFORE),
    "epynn": layout("EpyNN", sources.epynn, formulas.epynn, "epynn", **BEFORE),
    "onednn": side("oneDNN", sources.onednn, runs.run_onednn, "onednn", none=False, **FLOAT32),
    "tensorflow": layout(
        "GRUBlockCell", sources.tensorflow, formulas.tensorflow, "tensorflow", **BEFORE, **FLOAT32
    ),
    "coreml": layout("Core ML", sources.coreml, formulas.coreml, "coreml", none=True, **BEFORE, **FLOAT32),
    "haste": layout("haste", sources.haste, formulas.haste, "haste", **AFTER),
}  # fmt: skip
