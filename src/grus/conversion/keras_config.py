"""What a Keras configuration says of the GRUs in it: which they are, and that each reads the one before.

Configurations are read as data; nothing of them is ever run or looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grus.conversion.errors import ConversionError
from grus.conversion.keras_activations import builtin

Config = Mapping[str, Any]
_GRUS = ("GRU", "GRUCell", "RNN", "Bidirectional")
_TRANSPARENT = (
    "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization",
    "Masking", "Identity",
)  # fmt: skip
_NEEDED = ("units", "activation", "recurrent_activation", "use_bias")


@dataclass(frozen=True)
class KerasLayer:
    """One GRU layer of Keras.

    Attributes
    ----------
    name : str
        The layer's.
    directions : sequence of mappings
        The cell's configuration for each direction: ``units``, ``activation``, ``recurrent_activation``,
        ``use_bias`` and, where the file is not older than it, ``reset_after``.
    backwards : bool or None
        ``go_backwards``; None where the source does not say.
    sequences : bool
        ``return_sequences``.
    key : str
        Its group in a file of Keras 3.
    """

    name: str
    directions: Sequence[Config]
    backwards: bool | None = False
    sequences: bool = True
    key: str = ""


def read_layer(entry: Config, key: str = "") -> KerasLayer | None:
    """The GRU that this layer's configuration is of, or None where it is another layer."""
    kind, config = entry["class_name"], entry["config"]
    name = str(config.get("name", kind))
    if kind == "CuDNNGRU":
        raise ConversionError(
            f"layer {name!r} is a CuDNNGRU, whose weights are laid out otherwise: load them into "
            "GRU(reset_after=True) in Keras and save that."
        )
    if kind not in _GRUS or not builtin(entry):
        if _holds_gru(entry):
            raise ConversionError(
                f"layer {name!r} ({kind}) holds or extends a GRU in a way that grus does not know. Hand the GRU "
                "layers themselves to from_keras, as a list."
            )
        return None
    if kind == "Bidirectional":
        return _bidirectional(name, config, key)
    cell = config["cell"] if kind == "RNN" else entry
    if cell["class_name"] not in ("GRU", "GRUCell") or not builtin(cell):
        if _holds_gru(cell):
            raise ConversionError(f"layer {name!r} is an RNN of {cell['class_name']}; grus reads RNN(GRUCell).")
        return None
    absent = [each for each in _NEEDED if each not in cell["config"]]
    if absent:
        raise ConversionError(
            f"layer {name!r} does not say its {', '.join(absent)}: its configuration is damaged, or of Keras 1. "
            "Open and save it in Keras 2 first."
        )
    backwards, sequences = config.get("go_backwards", False), config.get("return_sequences", kind == "GRUCell")
    return KerasLayer(name, (cell["config"],), bool(backwards), bool(sequences), key)


def _bidirectional(name: str, config: Config, key: str) -> KerasLayer | None:
    forward = read_layer(config["layer"])
    given = config.get("backward_layer")
    backward = forward if given is None else read_layer(given)
    if forward is None and backward is None:
        return None
    if forward is None or backward is None:
        raise ConversionError(f"layer {name!r} is a GRU in one direction alone.")
    if config.get("merge_mode", "concat") != "concat":
        raise ConversionError(
            f"layer {name!r} must have merge_mode='concat', which puts its directions side by side; got "
            f"{config['merge_mode']!r}: grus has no layer that merges them so."
        )
    if forward.backwards or (given is not None and not backward.backwards):
        raise ConversionError(
            f"layer {name!r} is Bidirectional around a layer with go_backwards=True, whose two outputs both run "
            "against the time: no GRU of grus gives that."
        )
    directions = (forward.directions[0], backward.directions[0])
    return KerasLayer(name, directions, False, forward.sequences, key)


def _holds_gru(value: Any) -> bool:
    if isinstance(value, Mapping):
        named = value.get("class_name") in ("GRU", "GRUCell", "CuDNNGRU")
        return named or "reset_after" in value or any(map(_holds_gru, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_gru, value))


# ------------------------------------------------------------------------------------------------------- models


def read_model(entry: Config, notes: list[str]) -> list[KerasLayer]:
    """The GRUs of a Sequential or functional model, in the order in which they read each other."""
    entries = {each["config"]["name"]: each for each in _entries(entry)}
    keys = _keys(entries)
    found = {name: read_layer(each, keys[name]) for name, each in entries.items()}
    grus = {name: layer for name, layer in found.items() if layer is not None}
    if not grus:
        raise ConversionError(f"the model holds no GRU; its layers are {', '.join(_listed(entries, entries))}.")
    parents = _parents(entry, entries)
    reads = {name: _source(name, parents, entries) for name in grus}
    order = _in_order(reads, entries)
    others = [name for name in entries if name not in grus and entries[name]["class_name"] != "InputLayer"]
    if others:
        notes.append(f"only the GRUs were converted; left out: {', '.join(_listed(others, entries))}")
    if any(entries[name]["class_name"] == "Masking" for name in others):
        notes.append("what a Masking layer leaves out is given to grus as mask= of a call")
    notes.extend(
        f"{name} starts from another layer's output: give it to grus as h0"
        for name in order
        if len(parents[name]) > 1
    )
    return [grus[name] for name in order]


def _entries(entry: Config) -> Sequence[Config]:
    kind, config = entry["class_name"], entry["config"]
    if kind not in ("Sequential", "Functional", "Model") or not builtin(entry):
        raise ConversionError(
            f"the model is of class {kind!r}: its configuration does not say how its layers are connected. Hand "
            "its GRU layers to from_keras, as a list."
        )
    return config if isinstance(config, list) else list(config["layers"])  # a list in Keras before 2.2.3


def _keys(entries: Mapping[str, Config]) -> dict[str, str]:
    """The groups of Keras 3's files: the class in snake case, counted."""
    keys, used = {}, dict[str, int]()
    for name, entry in entries.items():
        snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", entry["class_name"]))
        snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
        used[snake] = used.get(snake, -1) + 1
        keys[name] = f"{snake}_{used[snake]}" if used[snake] else snake
    return keys


def _parents(model: Config, entries: Mapping[str, Config]) -> dict[str, list[str]]:
    """Which layers each one reads; the sequence first, then the initial state."""
    if model["class_name"] == "Sequential":
        names = list(entries)
        return {name: names[max(k - 1, 0) : k] for k, name in enumerate(names)}
    parents = {}
    for name, entry in entries.items():
        nodes = entry.get("inbound_nodes", [])
        if len(nodes) > 1 and read_layer(entry) is not None:
            raise ConversionError(
                f"layer {name!r} is used {len(nodes)} times in the model: grus has no shared GRU."
            )
        parents[name] = list(dict.fromkeys(_histories(nodes[:1], entries)))
    return parents


def _histories(value: Any, entries: Mapping[str, Config]) -> Iterator[str]:
    """The names in a node: [name, node, tensor, ...] in Keras 2, a ``keras_history`` in Keras 3."""
    if isinstance(value, Mapping):
        if "keras_history" in value:
            yield value["keras_history"][0]
        else:
            for each in value.values():
                yield from _histories(each, entries)
    elif isinstance(value, (list, tuple)):
        if len(value) >= 3 and isinstance(value[0], str) and value[0] in entries:
            yield value[0]
        else:
            for each in value:
                yield from _histories(each, entries)


def _source(name: str, parents: Mapping[str, list[str]], entries: Mapping[str, Config]) -> str | None:
    """The layer that this one reads, past those that change nothing outside training."""
    for _ in entries:  # a damaged configuration may hold a circle
        if not parents[name]:
            return None
        name = parents[name][0]
        if not _transparent(entries[name]):
            return name
    raise ConversionError("the model's layers read each other in a circle: its configuration is damaged.")


def _transparent(entry: Config) -> bool:
    kind = entry["class_name"]
    linear = kind == "Activation" and entry["config"].get("activation") == "linear"
    return (kind in _TRANSPARENT or linear) and builtin(entry)


def _in_order(reads: Mapping[str, str | None], entries: Mapping[str, Config]) -> list[str]:
    """Each after the one that it reads; anything but one line of them is refused."""
    first = [name for name, source in reads.items() if source not in reads]
    if len(first) != 1:
        what = [
            f"{name} reads {_listed([source], entries)[0] if source else 'an input'}"
            for name, source in reads.items()
        ]
        raise ConversionError(
            f"the model's GRUs must read one another with at most dropout between; here {', '.join(what)}. Hand "
            "those that do to from_keras, as a list."
        )
    order = first
    while followers := [name for name, source in reads.items() if source == order[-1]]:
        if len(followers) > 1:
            raise ConversionError(f"{' and '.join(followers)} both read {order[-1]}: grus has no such branching.")
        order = order + followers
    if len(order) < len(reads):
        raise ConversionError("the model's layers read each other in a circle: its configuration is damaged.")
    return order


def _listed(names: Any, entries: Mapping[str, Config]) -> list[str]:
    return [f"{name} ({entries[name]['class_name']})" for name in names]
