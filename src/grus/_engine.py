"""Which code runs: the engine, and what this machine offers it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from grus import _check, _core, equations
from grus.equations import Formulation, Gates, SequenceGradients, Steps, Weights

Array = np.ndarray[Any, np.dtype[Any]]


class Engine(Protocol):
    """What an engine offers; see :mod:`grus.equations` for the meaning of each argument."""

    def sequence_forward(
        self,
        states: Array,
        x: Array,
        h0: Array,
        weights: Weights,
        form: Formulation,
        steps: Steps,
        keep: bool = True,
    ) -> tuple[Array, Gates | None]: ...

    def sequence_backward(
        self,
        d_states: Array,
        d_h_n: Array,
        states: Array,
        gates: Gates,
        x: Array,
        h0: Array,
        weights: Weights,
        form: Formulation,
        steps: Steps,
    ) -> SequenceGradients: ...


_ENGINES: dict[str, Engine] = {"reference": equations}
_active = _check.choice("GRUS_ENGINE", os.environ.get("GRUS_ENGINE", "reference"), _ENGINES)


def engine() -> Engine:
    """The engine in use."""
    return _ENGINES[_active]


def engine_name() -> str:
    """The name of the engine in use: ``"reference"``."""
    return _active


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Run a ``with`` block on the engine of this name.

    Parameters
    ----------
    name : {"reference"}
        ``reference`` is :mod:`grus.equations`, pure NumPy. ``GRUS_ENGINE`` sets the default.

    Raises
    ------
    ValueError
        There is no engine of that name.

    Examples
    --------
    >>> import grus
    >>> with grus.use_engine("reference"):
    ...     grus.engine_name()
    'reference'
    """
    global _active
    before, _active = _active, _check.choice("engine", name, _ENGINES)
    try:
        yield
    finally:
        _active = before


def cpu_info() -> dict[str, Any]:
    """What grus found out about this machine's processor.

    Returns
    -------
    dict
        ``architecture``; ``brand``; ``instruction_sets``, best first; ``cores_online``; ``cores_affinity``, those
        that this process may use; ``cgroup_quota``, in cores, or None; ``threads``, the default that follows.

    Examples
    --------
    >>> import grus
    >>> grus.cpu_info()["threads"] >= 1
    True
    """
    return dict(_core.cpu_info())
