"""NumPy's ``.npz`` files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from grus._files import DAMAGE
from grus.datasets._messages import closest, file_error, listed
from grus.datasets._missing import check_missing_choice, fill_missing
from grus.datasets._paths import existing_file
from grus.datasets._sequences import AnyArray, FloatArray, Sequences

_KEYS = ("x", "lengths", "y", "ids", "feature_names")


def read_npz(path: str | os.PathLike[str], *, missing: str = "error") -> Sequences:
    """Read sequences from a NumPy ``.npz`` file. Nothing in it is ever unpickled.

    Parameters
    ----------
    path : str or path object
        A file that :func:`numpy.savez` or :func:`numpy.savez_compressed` wrote, with these arrays:

        - ``x``: (N, T, I), or (N, T) for one feature, or (sum of T_i, I) together with ``lengths``;
        - ``lengths`` (N,), integers of at least 1, optional: T_i. With an ``x`` of shape (N, T, I),
          what lies past each length is padding and is dropped;
        - ``y`` (N,), ``ids`` (N,), ``feature_names`` (I,): optional.
    missing : {"error", "zero", "forward", "keep"}, default "error"
        What to do about NaN in ``x``: refuse it, put 0, repeat the feature's last value in the same
        sequence (0 where there is none before), or keep it, for :class:`grus.nn.GRUD`.

    Returns
    -------
    Sequences
        float32 if ``x`` is, else float64. Without ``ids`` they are 0 … N-1; without ``feature_names``
        they are ``x0``, ``x1``, ….

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file isn't a whole .npz, has other arrays than these, or their shapes disagree.
    TypeError
        ``x`` isn't numeric, or an array holds Python objects.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from grus.datasets import read_npz
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "waves.npz"
    >>> np.savez(path, x=np.zeros((7, 2)), lengths=[3, 4], y=["up", "down"])
    >>> read_npz(path)
    Sequences('waves': 2 sequences, lengths 3 to 4, 2 features, float64, 2 classes)
    >>> folder.cleanup()
    """
    file = existing_file(path, (".npz",))
    check_missing_choice(missing)
    arrays = _load(file)
    x = _split(file, arrays)
    ids = arrays.get("ids", np.arange(len(x)))
    names = _feature_names(file, arrays.get("feature_names"), x[0].shape[1])
    for key in ("ids", "y"):
        if key in arrays and arrays[key].shape != (len(x),):
            raise file_error(
                file, f"{key} must have shape ({len(x)},), one per sequence; got {arrays[key].shape}."
            )
    x = fill_missing(x, missing, path=file, ids=ids, feature_names=names)
    return Sequences(x, arrays.get("y"), ids, names, file.stem)


def _load(file: Path) -> dict[str, AnyArray]:
    """The arrays of the file by key, with every key known and ``x`` there."""
    key = ""
    arrays = {}
    # Opened here because np.load, given a path, leaves the file open when the zip is damaged.
    with file.open("rb") as stream:
        # Told apart here because np.load, given bytes of another kind, suggests to unpickle them.
        if not zipfile.is_zipfile(stream):
            raise file_error(
                file, "must be a whole .npz file (a zip of arrays); its content is something else, or cut off."
            )
        stream.seek(0)
        try:
            with np.load(stream, allow_pickle=False) as archive:
                _check_count(stream, len(archive.files))
                for key in archive.files:
                    arrays[key] = np.asarray(archive[key])
        except DAMAGE as error:
            raise _load_error(file, key, error) from None
    _check_keys(file, list(arrays))
    return arrays


def _load_error(file: Path, key: str, error: Exception) -> Exception:
    if "allow_pickle" not in str(error):
        return file_error(file, f"must be a whole .npz file; it is damaged. NumPy says: {error}.")
    return TypeError(
        f"{str(file)!r}: {key} must be an array of plain numbers or text; it holds Python objects, which are "
        "never unpickled. For sequences of different lengths store x with shape (sum of T_i, I), and lengths."
    )


def _check_count(stream: BinaryIO, members: int) -> None:
    """The zip's last record counts its members; zipfile doesn't compare, and can lose some to a wrong byte."""
    stream.seek(-22, os.SEEK_END)
    end = stream.read(22)
    counted = int.from_bytes(end[10:12], "little")
    if end.startswith(b"PK\x05\x06") and counted != members:
        raise zipfile.BadZipFile(f"{members} arrays found of {counted}")


def _check_keys(file: Path, keys: list[str]) -> None:
    unknown = [key for key in keys if key not in _KEYS]
    if unknown:
        hint = closest(unknown[0], _KEYS)
        raise file_error(file, f"the arrays must be among {listed(_KEYS)}; got {listed(unknown)}, too.{hint}")
    if "x" not in keys:
        raise file_error(file, f"must have an array 'x'; it has {listed(keys) or 'none at all'}.")


def _split(file: Path, arrays: dict[str, AnyArray]) -> list[FloatArray]:
    """N arrays of shape (T_i, I) from ``x`` in any of its forms."""
    x = _floating(file, arrays["x"])
    if "lengths" not in arrays:
        if x.ndim not in (2, 3):
            expected = "x must have shape (N, T, I) or (N, T), or (sum of T_i, I) with an array 'lengths'"
            raise file_error(file, f"{expected}; got {x.shape} without lengths.")
        if 0 in x.shape:
            raise file_error(file, f"x must hold at least one sequence, step and feature; got {x.shape}.")
        return list(x if x.ndim == 3 else x[:, :, None])
    lengths = _lengths(file, arrays["lengths"])
    if x.ndim == 3:
        if len(x) != len(lengths) or lengths.max() > x.shape[1]:
            expected = f"x must have shape ({len(lengths)}, T, I) with T at least {lengths.max()} to fit lengths"
            raise file_error(file, f"{expected}; got {x.shape}.")
        return [case[:length] for case, length in zip(x, lengths, strict=True)]
    if x.ndim != 2 or len(x) != lengths.sum() or x.shape[1] == 0:
        expected = f"x must have shape ({lengths.sum()}, I), because the {len(lengths)} lengths sum to that"
        raise file_error(file, f"{expected}; got {x.shape}.")
    return np.split(x, np.cumsum(lengths)[:-1])


def _floating(file: Path, x: AnyArray) -> FloatArray:
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{str(file)!r}: x must be an array of real numbers; got dtype {x.dtype}.")
    return x.astype(np.float32 if x.dtype == np.float32 else np.float64)


def _lengths(file: Path, lengths: AnyArray) -> AnyArray:
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{str(file)!r}: lengths must be integers; got dtype {lengths.dtype}.")
    if lengths.ndim != 1 or not len(lengths) or lengths.min() < 1:
        got = f"the smallest is {lengths.min()}" if lengths.size and lengths.ndim == 1 else f"got {lengths.shape}"
        raise file_error(file, f"lengths must have shape (N,), with N and each length at least 1; {got}.")
    return lengths.astype(np.int64)


def _feature_names(file: Path, names: AnyArray | None, size: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"x{k}" for k in range(size))
    if names.shape != (size,):
        raise file_error(file, f"feature_names must have shape ({size},), one per feature; got {names.shape}.")
    return tuple(str(name) for name in names)
