"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]
# What NumPy, zipfile and h5py raise on damaged bytes: RuntimeError where one is encrypted, and MemoryError where a
# damaged header asks for a huge array.
DAMAGE = (
    *(ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error),
    *(RuntimeError, MemoryError),
)


def write_atomically(path: PathLike, content: bytes) -> None:
    """Write a file so that at every moment it is the old one or the new one, never a part of it."""
    path = check_folder(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp keeps others out; an ordinary file does not
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_folder(path: PathLike) -> Path:
    """The path of a file to be written, whose folder must exist."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; make it, or name another path.")
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_tensors(path: PathLike, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Named arrays and text as one safetensors file."""
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(contiguous, dict(metadata)))


def read_tensors(path: PathLike, what: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Named arrays and text of a safetensors file; ``what`` names it in errors."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no {what} at {str(path)!r}.")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is not a {what} of grus, or it is damaged or cut short ({error})."
        ) from error
