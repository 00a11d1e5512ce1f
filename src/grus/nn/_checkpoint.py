"""Checkpoints: everything that a run needs to go on bit for bit, in one file that is whole or absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grus._files import PathLike, read_tensors, write_tensors

Array = np.ndarray[Any, np.dtype[Any]]
_KEY, _FORMAT = "grus_checkpoint", 1
_OPTIMISER = "optimiser."


@dataclass
class State:
    """Where a run stands at the end of an epoch; randomness needs none, because each epoch has its own seed."""

    epoch: int  # epochs done
    seed: int
    best: float
    best_epoch: int | None
    history: dict[str, list[float]]
    flat: Array
    best_flat: Array
    optimiser: dict[str, Array] = field(default_factory=dict)


def fingerprint(settings: Mapping[str, Any], arrays: Iterable[Array]) -> str:
    """A digest of all that decides a run's numbers, so that a checkpoint never continues another run."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def save_state(path: PathLike, state: State, identity: str) -> None:
    """Write atomically: a run that is killed leaves the last whole checkpoint."""
    text = {k: v for k, v in vars(state).items() if k not in ("flat", "best_flat", "optimiser")}
    arrays = {"flat": state.flat, "best_flat": state.best_flat}
    arrays |= {_OPTIMISER + name: array for name, array in state.optimiser.items()}
    text = {"identity": identity, **text}
    metadata = {"format": _FORMAT, "digest": _digest(text, arrays), **text}
    write_tensors(path, arrays, {_KEY: json.dumps(metadata)})


def load_state(path: PathLike, identity: str) -> State | None:
    """The state saved there, None where there is no file yet, an error where it belongs to another run."""
    if not Path(path).exists():
        return None
    arrays, text = _read(path)
    if text.pop("identity") != identity:
        raise ValueError(
            f"the checkpoint {str(path)!r} belongs to a run with other data, another model or other settings. "
            "Use what that run used, or start anew: delete the file, or name another one."
        )
    optimiser = {name[len(_OPTIMISER) :]: a for name, a in arrays.items() if name.startswith(_OPTIMISER)}
    return State(**text, flat=arrays["flat"], best_flat=arrays["best_flat"], optimiser=optimiser)


def saved_seed(path: PathLike) -> int | None:
    """The seed of the run saved there, None where there is no file yet."""
    return int(_read(path)[1]["seed"]) if Path(path).exists() else None


def _read(path: PathLike) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the rest, of this format and complete."""
    arrays, metadata = read_tensors(path, "checkpoint")
    if _KEY not in metadata:
        raise ValueError(f"{str(path)!r} is a safetensors file, but not a checkpoint of grus.")
    try:
        text = dict(json.loads(metadata[_KEY]))
        number, digest = text.pop("format"), text.pop("digest")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{str(path)!r} has a damaged header: {error!r}.") from None
    if number != _FORMAT:
        raise ValueError(f"{str(path)!r} was written by a newer grus. Update grus, or start anew without resume.")
    if digest != _digest(text, arrays):
        raise ValueError(f"{str(path)!r} is damaged: it does not hold what was written.")
    return arrays, text


def _digest(text: Mapping[str, Any], arrays: Mapping[str, Array]) -> str:
    """Of all that a checkpoint holds: a single bit that changed on the disk must not go unnoticed."""
    names = sorted(arrays)
    return fingerprint({**text, "arrays": names}, (arrays[name] for name in names))
