"""The libraries that are compared: imported only in the process that measures them.

A file NAME is a layer without options; NAME_options and NAME_stream are for those measurements.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from benchmarks.build import compiler
from benchmarks.cases import PASSES, Case
from benchmarks.peers.base import Peer


@dataclass(frozen=True)
class Library:
    """What must be known of a library before its process starts."""

    name: str
    distributions: tuple[str, ...]  # what to install
    passes: tuple[str, ...] = PASSES
    environment: Mapping[str, str] = field(default_factory=dict)  # {threads} stands for their number
    threads_by_affinity: bool = False  # it takes as many threads as it is given cores
    compiled: bool = False  # its file here is C++
    most_operations: float = float("inf")  # cases beyond are left out

    def versions(self) -> dict[str, str]:
        """Of its distributions; PackageNotFoundError where one is missing."""
        return {name: version(name) for name in self.distributions}

    def missing(self) -> str | None:
        """How to install it, if it is not here."""
        try:
            self.versions()
        except PackageNotFoundError:
            return f"pip install {' '.join(self.distributions)}"
        return "install a C++ compiler" if self.compiled and compiler() is None else None

    def measures(self, case: Case) -> bool:
        return case.operations <= self.most_operations


_JAX = {"JAX_PLATFORMS": "cpu"}
_OPENMP = {"OMP_NUM_THREADS": "{threads}"}
LIBRARIES = {
    library.name: library
    for library in (
        Library("grus", ("grus",)),
        Library("torch", ("torch",)),
        Library("onnxruntime", ("onnxruntime", "onnx"), passes=("forward",)),
        Library("onednn", ("onednn-cpu-gomp", "onednn-devel-cpu-gomp"), environment=_OPENMP, compiled=True),
        Library("jax", ("jax",), environment=_JAX, threads_by_affinity=True),
        Library(
            "keras",
            ("keras", "jax"),
            environment={**_JAX, "KERAS_BACKEND": "jax"},
            threads_by_affinity=True,
            most_operations=1e9,
        ),
    )
}
PEERS = [name for name in LIBRARIES if name != "grus"]


def load(name: str, variant: str = "") -> Callable[..., Peer]:
    """What makes this library's peer, or that of a variant, from data and threads; imports the library."""
    module = f"{name}_{variant}" if variant else name
    found: Callable[..., Peer] = importlib.import_module(f"benchmarks.peers.{module}").GRU
    return found


__all__ = ["LIBRARIES", "PEERS", "Library", "Peer", "load"]
