"""Model files: safetensors for the arrays, JSON in its header for the rest; nothing in a file is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from grus import _check
from grus._files import PathLike, read_tensors, write_tensors
from grus.layer import GRU
from grus.nn.sequential import Sequential

if TYPE_CHECKING:
    from grus.estimators import GRUClassifier, GRURegressor

Array = np.ndarray[Any, np.dtype[Any]]
_KEY, _FORMAT = "grus", 1
_KINDS = ("GRU", "Sequential", "GRUClassifier", "GRURegressor")


def save(
    model: GRU | Sequential | GRUClassifier | GRURegressor,
    path: PathLike,
    *,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to a file: whole, or not at all.

    Parameters
    ----------
    model : GRU, nn.Sequential, GRUClassifier or GRURegressor
        A Sequential that is built, an estimator that is fitted; of dtype float32 or float64.
    path : path
        ``.safetensors`` is the usual ending. An existing file is replaced in one step.
    notes : mapping, optional
        Anything of your own that JSON can hold; :func:`grus.io.inspect` gives it back.

    Raises
    ------
    TypeError
        The model is of another kind, or ``notes`` holds what JSON can't.
    ValueError
        The model has no parameters yet, or is complex128.
    FileNotFoundError
        The folder does not exist.

    Examples
    --------
    >>> import os, tempfile
    >>> import grus
    >>> path = os.path.join(tempfile.mkdtemp(), "gru.safetensors")
    >>> grus.save(grus.GRU(3, 5, seed=0), path)
    >>> grus.load(path)
    GRU(3, 5) float32, 150 parameters
    """
    arrays, config = _parts(model)
    header = {"format": _FORMAT, "grus_version": version("grus"), "kind": type(model).__name__, "config": config}
    try:
        text = json.dumps({**header, "notes": dict(notes or {})})
    except TypeError as error:
        raise TypeError(
            f"notes must hold only what JSON can: text, numbers, lists, dictionaries; {error}."
        ) from None
    write_tensors(path, arrays, {_KEY: text})


def load(path: PathLike) -> Any:
    """Read a model that :func:`save` wrote; it computes the same bits.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    GRU, nn.Sequential, GRUClassifier or GRURegressor
        As it was saved.

    Raises
    ------
    FileNotFoundError
        There is no file.
    ValueError
        The file is damaged, cut short, of another program, or of a newer grus.
    """
    arrays, header = _read(path)
    kind = header["kind"]
    try:
        if kind in ("GRU", "Sequential"):
            model = (GRU if kind == "GRU" else Sequential).from_config(header["config"])
            model.load_state_dict(arrays)
            return model
        from grus import estimators

        return getattr(estimators, kind)._from_parts(arrays, header["config"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} says it holds a {kind}, but its contents do not fit: {error}") from error


def inspect(path: PathLike) -> dict[str, Any]:
    """What a model file says of itself, without building the model.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    dict
        ``kind``, ``grus_version``, ``format``, ``config``, ``notes``, and ``arrays``: name to (shape, dtype).

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load`.
    """
    arrays, header = _read(path)
    return header | {"arrays": {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}}


def _parts(model: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the configuration of a model of any kind."""
    if isinstance(model, Sequential) and not model.built:
        raise ValueError("this Sequential has no parameters yet: call fit or build(x) first.")
    if isinstance(model, (GRU, Sequential)):
        if model.dtype.name == "complex128":
            raise ValueError("a complex128 model is for checking derivatives and can't be saved; use float64.")
        return model.state_dict(), model.config()
    if hasattr(model, "_save_parts"):
        arrays, config = model._save_parts()
        return arrays, config
    raise TypeError(f"model must be one of {', '.join(_KINDS)}; got {type(model).__name__}.")


def _read(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the header, checked."""
    arrays, metadata = read_tensors(path, "model file")
    if _KEY not in metadata:
        raise ValueError(
            f"{str(path)!r} is a safetensors file, but not one that grus.save wrote. Load plain weights with "
            "safetensors and GRU.load_state_dict."
        )
    try:
        header = json.loads(metadata[_KEY])
        number, writer, kind = header["format"], header["grus_version"], header["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} has a damaged header: {error!r}.") from None
    if number > _FORMAT:
        raise ValueError(
            f"{str(path)!r} was written by grus {writer} in format {number}; this grus {version('grus')} reads "
            f"up to format {_FORMAT}. Update grus: pip install --upgrade grus."
        )
    _check.choice("the kind of model in the file", kind, _KINDS)
    return arrays, header
