"""A file of weights: whose it is, by its ending and its first bytes, and its arrays by name."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grus._files import DAMAGE, PathLike
from grus.conversion.errors import ConversionError
from grus.conversion.torch_runs import library as import_torch
from grus.conversion.weight_files import decode_pt, decode_safetensors

Array = np.ndarray[Any, np.dtype[Any]]
_BY_ENDING = {".onnx": "onnx", ".keras": "keras", ".h5": "keras", ".pt": "torch", ".pth": "torch"}
_READ = (*_BY_ENDING, ".npz", ".safetensors")


class Opened(NamedTuple):
    """What kind of file it is, and its arrays where they are plain."""

    kind: str  # "grus", "onnx", "keras", "torch" or "arrays"
    arrays: Mapping[str, Any] = {}  # of the last two


def open_file(path: PathLike) -> Opened:
    """Read a file, or find out whose reader it needs; nothing in it is ever executed.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        Its ending is unknown, and it is no model file of grus.
    ConversionError
        It is damaged or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    name, kind = repr(str(path)), _BY_ENDING.get(path.suffix, "arrays")
    if kind == "torch":
        return Opened(kind, decode_pt(import_torch(), name, path.read_bytes()))
    if kind != "arrays":
        return Opened(kind)
    content = path.read_bytes()
    if _says_grus(content):
        return Opened("grus")
    if path.suffix not in _READ:
        raise ValueError(
            f"a file of weights must end in {', '.join(_READ)}, or be one that grus.save wrote; got {path.name!r}."
        )
    if path.suffix == ".npz":
        return Opened(kind, _npz(name, content))
    return Opened(kind, dict(sorted(decode_safetensors(name, content).items())))  # they lie in it in any order


def _says_grus(content: bytes) -> bool:
    """Whether the header of a safetensors file says that :func:`grus.save` wrote it."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return "grus" in header.get("__metadata__", {})
    except (ValueError, AttributeError, OverflowError):
        return False


def _npz(name: str, content: bytes) -> dict[str, Array]:
    """Nothing is unpickled: arrays of objects are an error."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (*DAMAGE, AttributeError, TypeError) as error:
        raise ConversionError(
            f"{name} is no .npz file of numbers, or it is damaged or cut short ({type(error).__name__}: {error})."
        ) from None


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """As ``numpy.savez`` writes it."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
