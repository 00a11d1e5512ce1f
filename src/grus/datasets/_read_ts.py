"""The ``.ts`` files of the time-series classification archives, parsed by aeon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from grus.datasets._messages import file_error
from grus.datasets._missing import check_missing_choice, fill_missing
from grus.datasets._paths import existing_file
from grus.datasets._sequences import FloatArray, Sequences
from grus.datasets._ts_check import check_ts


def read_ts(path: str | os.PathLike[str], *, missing: str = "error") -> Sequences:
    """Read a ``.ts`` file of the time-series classification archives. Needs aeon: ``grus[ts]``.

    Parameters
    ----------
    path : str or path object
        The file; equal or unequal lengths, with classes, numbers or nothing as targets.
    missing : {"error", "zero", "forward", "keep"}, default "error"
        What to do about values given as ``?`` or NaN: refuse them, put 0, repeat the feature's last
        value in the same sequence (0 where there is none before), or keep NaN, for :class:`grus.nn.GRUD`.

    Returns
    -------
    Sequences
        float64, each of shape (T_i, I) (aeon itself has time last). ``y`` is int64 if all classes are
        integers, else text in the file's own spelling; float64 after ``@targetLabel true``; None if the
        file has no labels. ``ids`` are 0 … N-1.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        aeon isn't installed.
    ValueError
        The file isn't .ts or is damaged: every line is checked for its number of dimensions and for a
        label that the header declares, because a file that was cut off may otherwise read as a whole one.

    Notes
    -----
    Not to be seen is a cut that leaves whole lines, or that shortens the last label to another valid one
    (class 10 to class 1, target 2.5 to 2).

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from grus.datasets import read_ts
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "toy.ts"
    >>> header = ["@problemName Toy", "@univariate false", "@equalLength false", "@classLabel true a b"]
    >>> _ = path.write_text("\\n".join([*header, "@data", "1,2,3:4,5,6:a", "7,8:9,10:b"]))
    >>> data = read_ts(path)
    >>> data, data.x[1]
    (Sequences('Toy': 2 sequences, lengths 2 to 3, 2 features, float64, 2 classes), array([[ 7.,  9.],
           [ 8., 10.]]))
    >>> folder.cleanup()
    """
    file = existing_file(path, (".ts",))
    check_missing_choice(missing)
    name, y = check_ts(file)
    x = _parse(file)
    ids = np.arange(len(x))
    names = tuple(f"x{k}" for k in range(x[0].shape[1]))
    return Sequences(fill_missing(x, missing, path=file, ids=ids, feature_names=names), y, ids, names, name)


def _parse(file: Path) -> list[FloatArray]:
    """N arrays of shape (T_i, I)."""
    load = _aeon_loader()
    try:
        cases, _ = load(str(file))
    except (OSError, ValueError, IndexError) as error:
        raise file_error(file, f"can't be read as .ts; aeon says: {error}.") from None
    return [np.ascontiguousarray(case.T, dtype=np.float64) for case in cases]


def _aeon_loader() -> Any:
    # Here, not at the top: aeon compiles on import, and only this reader needs it.
    try:
        from aeon.datasets import load_from_ts_file
    except ImportError:
        raise ImportError('reading .ts needs aeon: pip install "grus[ts]"') from None
    return load_from_ts_file
