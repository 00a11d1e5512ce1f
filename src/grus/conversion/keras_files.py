"""Keras' files: ``.keras``, ``.weights.h5`` and the ``.h5`` of Keras 2, read as data with h5py alone.

No class is looked up and nothing of a file is run: a configuration is JSON, weights are arrays of numbers. Links
out of the file are not followed.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grus._files import DAMAGE, PathLike
from grus.conversion.errors import ConversionError
from grus.conversion.keras_cells import Arrays, Source
from grus.conversion.keras_config import KerasLayer, read_model

Array = np.ndarray[Any, np.dtype[Any]]
_NAMES = ("kernel", "recurrent_kernel", "bias")
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # of Keras 3, and of TensorFlow 2.12-2.15
_WEIGHTS_ONLY = "a file of weights alone does not say {}"


def read(path: PathLike) -> Source:
    """The GRUs of a file.

    Raises
    ------
    FileNotFoundError
        There is no file.
    ConversionError
        It is not Keras', it is damaged or cut short, or its GRUs do not follow one another.
    ImportError
        h5py is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no Keras file at {str(path)!r}.")
    try:
        if zipfile.is_zipfile(file):
            return _archive(file)
        return _h5(file.read_bytes(), None)
    except ConversionError as error:
        raise ConversionError(f"{str(path)!r}: {error}") from None
    except (*DAMAGE, IndexError, TypeError, AttributeError) as error:
        raise ConversionError(
            f"{str(path)!r} is not a file of Keras (.keras, .weights.h5, .h5), or it is damaged or cut short "
            f"({type(error).__name__}: {error})."
        ) from error


def _archive(path: Path) -> Source:
    """``.keras``: a zip of the configuration and the weights."""
    with zipfile.ZipFile(path) as archive:
        absent = {"config.json", "model.weights.h5"} - set(archive.namelist())
        if absent:
            raise ConversionError(
                f"a .keras file holds config.json and model.weights.h5; {' and '.join(sorted(absent))} is missing."
            )
        config = json.loads(archive.read("config.json"))
        version = None
        if "metadata.json" in archive.namelist():
            version = json.loads(archive.read("metadata.json")).get("keras_version")
        return _h5(archive.read("model.weights.h5"), config, version)


def _h5(content: bytes, config: Any, version: Any = None) -> Source:
    """Weights with or without a configuration, in the layout of Keras 3 or 2."""
    with _open(content) as file:
        attributes = {
            name: _text(file.attrs[name]) for name in ("model_config", "keras_version") if name in file.attrs
        }
        config = json.loads(attributes["model_config"]) if "model_config" in attributes else config
        major = _major(version or attributes.get("keras_version"))
        inner = next((name for name in _CONTAINERS if name in file), None)
        weights = _Weights(file, len(content))
        if inner is not None:
            return _keras3(weights.inside(inner), config, major or (3 if inner == "layers" else 2))
        return _keras2(weights.inside("model_weights") if "model_weights" in file else weights, config, major)


def _open(content: bytes) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Keras' files are read with h5py, which is not installed: pip install h5py") from error
    return h5py.File(io.BytesIO(content), "r")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _major(version: Any) -> int | None:
    found = re.match(r"(\d+)\.", _text(version)) if version else None
    return int(found[1]) if found else None


class _Weights:
    """A group of an h5 file, whose members must lie in the file itself and be no larger than it."""

    def __init__(self, group: Any, limit: int) -> None:
        self.group, self.limit = group, limit

    def __contains__(self, path: str) -> bool:
        return path in self.group

    def inside(self, path: str) -> _Weights:
        return _Weights(self._member(path), self.limit)

    def names(self) -> list[str]:
        return list(self.group)

    def attribute(self, name: str) -> list[str]:
        """A list of names, which Keras 2 cuts into name0, name1 ... where it is long."""
        whole = [name] if name in self.group.attrs else []
        parts = whole or [key for k in range(len(self.group.attrs)) if (key := f"{name}{k}") in self.group.attrs]
        return [_text(each) for part in parts for each in self.group.attrs[part]]

    def array(self, path: str) -> Array:
        found = self._member(path)
        if found.is_virtual or found.external:
            raise ConversionError(f"{path!r} takes its numbers from another file.")
        if found.nbytes > self.limit:
            raise ConversionError(f"{path!r} claims {found.nbytes} bytes in a file of {self.limit}.")
        return np.asarray(found[()])

    def _member(self, path: str) -> Any:
        import h5py

        member = self.group
        for name in path.split("/"):
            if not isinstance(member.get(name, getlink=True), h5py.HardLink):
                raise ConversionError(f"{path!r} is missing, or a link: a layer's weights must lie in the file.")
            member = member[name]
        return member


# ------------------------------------------------------------------------------------------------------ Keras 3


def _keras3(weights: _Weights, config: Any, major: int) -> Source:
    """``layers/gru_1/cell/vars/0`` ..., groups counted by class."""
    notes: list[str] = []
    layers = _unnamed3(weights, notes) if config is None else read_model(config, notes)
    arrays = [
        [_vars(weights, f"{layer.key}/{side}") for side in _sides(len(layer.directions))] for layer in layers
    ]
    return Source(layers, arrays, major, notes)


def _sides(directions: int) -> Sequence[str]:
    return ("cell/vars",) if directions == 1 else ("forward_layer/cell/vars", "backward_layer/cell/vars")


def _vars(weights: _Weights, path: str) -> Arrays:
    names = sorted(weights.inside(path).names())
    if names not in (["0", "1"], ["0", "1", "2"]):
        raise ConversionError(f"{path!r} must hold the arrays 0, 1 and, with a bias, 2; got {names}.")
    return {_NAMES[int(name)]: weights.array(f"{path}/{name}") for name in names}


def _unnamed3(weights: _Weights, notes: list[str]) -> list[KerasLayer]:
    """The GRUs of a file without configuration, as far as the names of its groups give them away."""
    counted = {name: re.fullmatch(r"(gru|rnn|bidirectional)(?:_(\d+))?", name) for name in weights.names()}
    found = {name: match for name, match in counted.items() if match}
    others = [name for name in weights.names() if not counted[name] and _recurrent(weights, name)]
    kinds = {match[1] for match in found.values()}
    if len(kinds) != 1 or others:
        raise ConversionError(
            f"{_WEIGHTS_ONLY.format('in which order its layers stand')}, and it holds "
            f"{', '.join(map(repr, [*found, *others])) or 'no GRU'}: pass the .keras file, or the model."
        )
    _note_alone(notes, len(found))
    order = sorted(found, key=lambda name: int(found[name][2] or 0))
    directions: Sequence[Any] = ({}, {}) if kinds == {"bidirectional"} else ({},)
    return [KerasLayer(name, directions, None, True, name) for name in order]


def _recurrent(weights: _Weights, name: str) -> bool:
    return any(part in weights for part in (f"{name}/cell", f"{name}/forward_layer", f"{name}/layers"))


def _note_alone(notes: list[str], layers: int) -> None:
    notes.append(_WEIGHTS_ONLY.format("the activations: tanh and sigmoid unless the arguments say otherwise"))
    if layers > 1:
        notes.append(_WEIGHTS_ONLY.format("what stands between its GRUs: they were taken to follow one another"))


# ------------------------------------------------------------------------------------------------------ Keras 2


def _keras2(weights: _Weights, config: Any, major: int | None) -> Source:
    """A group for each layer's name, whose attribute ``weight_names`` lists its arrays."""
    notes: list[str] = []
    layers = _unnamed2(weights, notes) if config is None else read_model(config, notes)
    return Source(layers, [_named_arrays(weights, layer) for layer in layers], major, notes)


def _prefixes(weights: _Weights, layer: str) -> dict[str, dict[str, str]]:
    """``gru/gru_cell/kernel:0`` ... by what stands before the last part, forwards before backwards."""
    found: dict[str, dict[str, str]] = {}
    for name in weights.inside(layer).attribute("weight_names"):
        prefix, _, leaf = name.rpartition("/")
        found.setdefault(prefix, {})[leaf.partition(":")[0]] = name
    return {prefix: found[prefix] for prefix in sorted(found, key=_backward)}


def _backward(prefix: str) -> bool:
    return any(part.startswith("backward_") for part in prefix.split("/"))


def _named_arrays(weights: _Weights, layer: KerasLayer) -> list[Arrays]:
    found = list(_prefixes(weights, layer.name).values())
    whole = all({*_NAMES[:2]} <= {*names} <= {*_NAMES} for names in found)
    if len(found) != len(layer.directions) or not whole:
        raise ConversionError(
            f"layer {layer.name!r} must have {', '.join(_NAMES)} for each of {len(layer.directions)} "
            f"direction(s); got {[sorted(names) for names in found]}."
        )
    return [{name: weights.array(f"{layer.name}/{path}") for name, path in names.items()} for names in found]


def _unnamed2(weights: _Weights, notes: list[str]) -> list[KerasLayer]:
    """The GRUs of a file without configuration, whose layers stand in order."""
    order = [name for name in weights.attribute("layer_names") if _prefixes(weights, name)]
    grus = {name: parts for name in order if (parts := _gru_parts(weights, name))}
    if not grus:
        raise ConversionError(f"it holds no GRU; its layers with weights are {', '.join(order) or 'none'}.")
    first = order.index(next(iter(grus)))
    between = [name for name in order[first : order.index([*grus][-1])] if name not in grus]
    if between:
        raise ConversionError(
            f"{' and '.join(between)} stands between the GRUs {', '.join(grus)} and would be lost."
        )
    _note_alone(notes, len(grus))
    return [KerasLayer(name, ({},) * parts, None) for name, parts in grus.items()]


def _gru_parts(weights: _Weights, name: str) -> int:
    """How many directions of a GRU the layer has, 0 where it is another layer."""
    prefixes = _prefixes(weights, name)
    for names in prefixes.values():
        if "recurrent_kernel" not in names:
            return 0
        shape = weights.array(f"{name}/{names['recurrent_kernel']}").shape
        if len(shape) != 2 or shape[1] != 3 * shape[0]:
            return 0
    if len(prefixes) > 1 and [*map(_backward, prefixes)] != [False, True]:
        raise ConversionError(
            f"layer {name!r} holds several GRUs ({', '.join(prefixes)}): it is a model of its own."
        )
    return len(prefixes)
