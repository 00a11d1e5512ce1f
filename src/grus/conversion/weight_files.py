"""Files of weights that others write: safetensors of any library, and PyTorch's, of which only tensors count."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from grus.conversion.errors import ConversionError

Array = np.ndarray[Any, np.dtype[Any]]
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip
_SAFE = (2, 6)  # before, torch.load(weights_only=True) could be made to run code: CVE-2025-32434


def encode_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """As other libraries' readers expect them."""
    return bytes(safetensors.numpy.save(dict(arrays), {"format": "pt"}))


def decode_safetensors(name: str, content: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file; ``name`` stands for it in errors.

    What :func:`grus.save` wrote is refused, because its header may say that it is another function.
    """
    try:
        entries: list[tuple[str, Any]] = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise ConversionError(f"{name} is no safetensors file, or damaged or cut short ({error}).") from None
    if "grus" in header.get("__metadata__", {}):
        raise ConversionError(f"{name} is a model file that grus.save wrote: read it with grus.load.")
    return {key: _decoded(name, key, entry) for key, entry in entries}


def _decoded(name: str, key: str, entry: Mapping[str, Any]) -> Array:
    if entry["dtype"] == "BF16":  # the upper half of a float32
        wide = np.frombuffer(entry["data"], "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(entry["shape"])
    if entry["dtype"] not in _DTYPES:
        raise ConversionError(f"{name} holds {key!r} of dtype {entry['dtype']}, which NumPy does not have.")
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def encode_pt(torch: Any, arrays: Mapping[str, Array]) -> bytes:
    """As ``torch.save`` writes a state_dict."""
    buffer = io.BytesIO()
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, buffer)
    return buffer.getvalue()


def decode_pt(torch: Any, name: str, content: bytes) -> Mapping[str, Any]:
    """The state_dict in a file of ``torch.save``; nothing but tensors and plain containers is ever unpickled."""
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _SAFE:
        raise ImportError(
            f"reading {name} needs torch 2.6 or newer; got {torch.__version__}, in which a file can run code "
            "(CVE-2025-32434). Update it, or save the weights as .safetensors."
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file brings about: OSError, KeyError, UnpicklingError ...
        raise ConversionError(
            f"{name} can't be read with weights_only=True ({type(error).__name__}): it is damaged or cut short, "
            "or holds more than tensors, such as a whole module or code, which grus never unpickles. Save the "
            "module's state_dict()."
        ) from None
    if not isinstance(loaded, Mapping):
        raise ConversionError(f"{name} must hold a state_dict; got {type(loaded).__name__}.")
    return loaded
