"""One front for all file kinds: the suffix says which reader."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

from grus.datasets._messages import listed
from grus.datasets._paths import existing_file
from grus.datasets._read_npz import read_npz
from grus.datasets._read_table import read_table
from grus.datasets._read_ts import read_ts
from grus.datasets._sequences import Sequences

_READERS: dict[str, Callable[..., Sequences]] = {
    ".csv": read_table,
    ".npz": read_npz,
    ".parquet": read_table,
    ".ts": read_ts,
}


def read_sequences(path: str | os.PathLike[str], **options: Any) -> Sequences:
    """Read sequences from a file, with the reader that its suffix asks for.

    Parameters
    ----------
    path : str or path object
        A ``.csv`` or ``.parquet`` file (:func:`read_table`), ``.npz`` (:func:`read_npz`) or ``.ts``
        (:func:`read_ts`).
    **options
        Passed on to that reader; a table needs at least ``id_column``.

    Returns
    -------
    Sequences
        What the reader returns.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The suffix isn't one of those, or the reader refuses the file.
    TypeError
        An option isn't one of that reader's, or a necessary one isn't given.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from grus.datasets import read_sequences
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "waves.npz"
    >>> np.savez(path, x=np.zeros((3, 5, 2)))
    >>> read_sequences(path)
    Sequences('waves': 3 sequences, lengths 5 to 5, 2 features, float64, no targets)
    >>> folder.cleanup()
    """
    file = existing_file(path, tuple(_READERS))
    reader = _READERS[file.suffix.lower()]
    signature = inspect.signature(reader)
    try:
        signature.bind(file, **options)
    except TypeError as error:
        known = [name for name in signature.parameters if name != "path"]
        raise TypeError(
            f"options for a {file.suffix} file are those of {reader.__name__}: {listed(known)}; {error}."
        ) from None
    return reader(file, **options)
