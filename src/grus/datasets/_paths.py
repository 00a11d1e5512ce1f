"""The one check of a ``path`` argument that all readers share."""

from __future__ import annotations

import os
from pathlib import Path

from grus.datasets._messages import listed


def existing_file(path: str | os.PathLike[str], suffixes: tuple[str, ...]) -> Path:
    """Return ``path`` as a Path to a file that is there and has one of the lower-case ``suffixes``."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path object; got {type(path).__name__}.")
    file = Path(path)
    if file.suffix.lower() not in suffixes:
        raise ValueError(
            f"path must end in one of {listed(suffixes)}; got {str(file)!r}, which ends in {file.suffix!r}. "
            "Rename the file if its content is in one of these formats, or convert it."
        )
    if not file.exists():
        raise FileNotFoundError(f"path must name a file; there is none at {str(file.absolute())!r}.")
    if not file.is_file():
        raise IsADirectoryError(f"path must be a file; {str(file)!r} is a directory.")
    return file
