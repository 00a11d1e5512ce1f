"""The file of a stream's state: safetensors, with the GRU's configuration in its header."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from grus._files import PathLike, read_tensors, write_tensors

if TYPE_CHECKING:
    from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_KEY, _FORMAT, _KIND = "grus", 1, "Stream"

# Of a GRU's configuration, what makes no difference to a state in inference.
_OF_TRAINING = frozenset({
    "batch_first", "checkpoint_every", "dropout", "gradient_clip", "init", "input_dropout", "learn_h0",
    "recurrent_dropout", "save", "truncate", "update_bias", "weight_dropout",
})  # fmt: skip


def write(path: PathLike, state: Array, gru: GRU) -> None:
    """state (layers, B, H) of a stream of this GRU."""
    if gru.dtype.kind == "c":
        raise ValueError("the state of a complex128 GRU can't be saved; use float64.")
    header = {"format": _FORMAT, "grus_version": version("grus"), "kind": _KIND, "config": gru.config()}
    write_tensors(path, {"state": state}, {_KEY: json.dumps(header)})


def read(path: PathLike, shape: tuple[int, ...], gru: GRU) -> Array:
    """The state in a file, if it is of such a GRU and of this shape."""
    arrays, metadata = read_tensors(path, "stream file")
    header, state = _header(path, metadata), arrays.get("state")
    if state is None or not isinstance(config := header.get("config"), dict):
        raise ValueError(f"{str(path)!r} is a damaged stream file: it has no state or no configuration.")
    own = json.loads(json.dumps(gru.config()))
    differing = sorted(name for name in own.keys() | config if own.get(name) != config.get(name))
    for name in differing:
        if name not in _OF_TRAINING:
            raise ValueError(
                f"{str(path)!r} must hold the state of a GRU with {name}={own.get(name)!r}, as this stream's; got "
                f"{config.get(name)!r}."
            )
    if state.shape != shape or state.dtype != gru.dtype:
        raise ValueError(
            f"{str(path)!r} must hold a state of shape {shape} and dtype {gru.dtype}, as this stream's; got "
            f"{state.shape} and {state.dtype}."
        )
    return state


def _header(path: PathLike, metadata: dict[str, str]) -> dict[str, Any]:
    """What the file says of itself, if it is of a stream."""
    try:
        header = json.loads(metadata.get(_KEY, "{}"))
        kind, number, writer = header.get("kind"), int(header.get("format", 0)), header.get("grus_version")
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} has a damaged header: {error!r}.") from None
    if kind != _KIND:
        raise ValueError(f"{str(path)!r} must be a file that Stream.save wrote; got one that holds {kind}.")
    if number > _FORMAT:
        raise ValueError(
            f"{str(path)!r} was written by grus {writer} in format {number}; this grus {version('grus')} reads "
            f"up to format {_FORMAT}. Update grus: pip install --upgrade grus."
        )
    return dict(header)
