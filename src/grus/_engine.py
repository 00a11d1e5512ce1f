"""Which code runs: the engine, and what this machine offers it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from grus import _check, _core, _native, reference
from grus.equations import Gates
from grus.reference import Entered

Array = np.ndarray[Any, np.dtype[Any]]


class Engine(Protocol):
    """What an engine offers; :mod:`grus.reference` tells what is in a call.

    Where the reference saves gates, an engine saves whatever its backward needs; nobody else looks into it, and
    backward may overwrite it.
    """

    def sequences_forward(self, calls: Sequence[tuple[Array, Any, bool]]) -> tuple[list[Array], Sequence[Any]]: ...

    def sequences_backward(self, calls: Sequence[tuple[Any, ...]]) -> list[Entered]: ...

    def gates_of(self, saved: Any) -> Gates: ...


def _use_named_instruction_set(name: str | None, available: list[str]) -> None:
    """What GRUS_ISA asks for: the best one where it doesn't, and never another than it names."""
    if name and not _core.use_instruction_set(name):
        raise RuntimeError(
            f"GRUS_ISA must be one of {', '.join(available) or 'none'} on this machine; got {name!r}. "
            "Unset it for the best one."
        )


_use_named_instruction_set(os.environ.get("GRUS_ISA"), _core.available_instruction_sets())
_ENGINES: dict[str, Engine] = {"reference": reference}
if _core.instruction_set():
    _ENGINES["native"] = _native
_active = _check.choice("GRUS_ENGINE", os.environ.get("GRUS_ENGINE") or list(_ENGINES)[-1], _ENGINES)


def engine(dtype: np.dtype[Any]) -> Engine:
    """The engine in use for numbers of this type: complex ones always run on the reference."""
    return _ENGINES[_active if dtype.kind == "f" else "reference"]


def engine_name() -> str:
    """The name of the engine in use: ``"native"`` or ``"reference"``."""
    return _active


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Run a ``with`` block on the engine of this name.

    Parameters
    ----------
    name : {"native", "reference"}
        ``native`` is the compiled core, for float32 and float64 (complex128 runs on the reference);
        ``reference`` is :mod:`grus.reference`, pure NumPy. ``GRUS_ENGINE`` sets the default, which is native.

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


def instruction_set() -> str:
    """The instruction set that the native engine runs on.

    Returns
    -------
    str
        ``"x86-64-v4"``, ``"x86-64-v3"``, ``"x86-64-v2"`` or ``"neon"``: the best that this machine has, or the one
        that ``GRUS_ISA`` named at import. Empty where the native engine does not run.

    Examples
    --------
    >>> import grus
    >>> grus.instruction_set() in grus.cpu_info()["instruction_sets"]
    True
    """
    return _core.instruction_set()


def set_num_threads(n: int | None) -> None:
    """How many threads a call of the native engine may use; results have the same bits for any number.

    Parameters
    ----------
    n : int or None
        None: the default, which is ``GRUS_NUM_THREADS``, or else the smaller of ``OMP_NUM_THREADS`` and the cores
        that affinity and control groups leave to this process.

    Raises
    ------
    ValueError, TypeError
        n is not a whole number above 0.

    Examples
    --------
    >>> import grus
    >>> grus.set_num_threads(1)
    >>> grus.num_threads()
    1
    >>> grus.set_num_threads(None)
    """
    _core.set_num_threads(0 if n is None else _check.size("n", n))


def num_threads() -> int:
    """How many threads a call of the native engine may use; see :func:`set_num_threads`."""
    return _core.num_threads()


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
