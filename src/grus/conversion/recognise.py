"""Which recurrent networks arrays or a file hold, told by names and shapes alone: no number is looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grus._files import PathLike
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.groups import Cell, cells_among, networks
from grus.conversion.signatures import FIXED, KINDS

_UNSAID = "unknown: the arrays do not say them (tanh and sigmoid as a rule)"


@dataclass(frozen=True)
class Part:
    """One recurrent network.

    Attributes
    ----------
    where : str
        Its place in the file; empty where the file holds nothing else.
    kind : str
        "GRU", "LSTM" or "plain RNN"; of a model file of grus what was saved.
    layouts : tuple of str
        Whose layouts it fits, by the names that :func:`grus.conversion.convert` takes; several where names and
        shapes can't tell.
    found : dict of str to str
        What there is to say, as :class:`grus.conversion.Report` has it; what can't be told is "unknown".
    """

    where: str
    kind: str
    layouts: tuple[str, ...]
    found: dict[str, str]


@dataclass(frozen=True)
class Recognised:
    """What :func:`inspect` found.

    Attributes
    ----------
    parts : list of Part
        The recurrent networks.
    others : list of str
        The entries that are none of theirs.
    notes : list of str
        What stands in the way of converting, and what else is not obvious.
    """

    parts: list[Part]
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def inspect(source: PathLike | Mapping[str, Any]) -> Recognised:
    """Recognise whose layout a file or a state_dict has.

    Parameters
    ----------
    source : path or mapping
        A file that :func:`grus.conversion.convert` reads, or arrays or tensors by name; mappings in it are looked
        into.

    Returns
    -------
    Recognised
        The networks in it, GRUs and others, and what else it holds.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no file, or its ending is unknown.
    ConversionError
        The file is damaged or cut short.
    ImportError
        What reads such a file is not installed.

    Notes
    -----
    Blocks that were put in another order than the layout has can't be seen: the shapes are the same.

    Examples
    --------
    >>> import grus
    >>> from grus.conversion import inspect
    >>> part = inspect(grus.GRU(3, 5, num_layers=2, seed=0).state_dict()).parts[0]
    >>> part.kind, part.layouts, part.found["layers"], part.found["hidden size"]
    ('GRU', ('torch',), '2', '5')
    """
    if isinstance(source, Mapping):
        return recognise(source)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path, or a mapping of names to arrays; got {type(source).__name__}.")
    from grus.conversion.files import open_file

    opened = open_file(source)
    if opened.kind in ("grus", "onnx", "keras"):
        from grus.conversion import recognise_files

        reader = {"grus": recognise_files.grus, "onnx": recognise_files.onnx, "keras": recognise_files.keras}
        return reader[opened.kind](Path(source))
    return recognise(opened.arrays)


def recognise(arrays: Mapping[str, Any]) -> Recognised:
    """The networks among arrays by name; anything with a shape and a dtype is an array."""
    flat = flattened(arrays)
    found = networks(cells_among(flat))
    taken = {name for cells in found for cell in cells for name in cell.names}
    others = [_described(name, value) for name, value in flat.items() if name not in taken]
    alone = len(found) == 1 and not others
    return Recognised([_part(cells, alone) for cells in found], others)


def flattened(arrays: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Mappings within mappings, as a trainer's checkpoint has them, under names with dots."""
    flat: dict[str, Any] = {}
    for key, value in arrays.items():
        flat |= flattened(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat


def _described(name: str, value: Any) -> str:
    return f"{name} {tuple(value.shape)}" if hasattr(value, "shape") else f"{name} ({type(value).__name__})"


def _part(cells: list[Cell], alone: bool) -> Part:
    """What the cells of one network have in common."""
    first, kind = cells[0], KINDS[cells[0].sizes[0]]
    libraries = list(dict.fromkeys(each.library for each in first.fitting))
    if kind == "GRU":
        found = _convention(first, any(map(_is_bias, first.shapes)))
    else:
        found = {"layout": f"an {kind}" if kind == "LSTM" else f"a {kind}"}
        found["layout"] += f", named as {' or '.join(libraries)} has it: not a GRU"
    found["layers"] = _layers(cells)
    found["input size"] = str(first.sizes[1])
    found["hidden size"] = ", ".join(dict.fromkeys(str(cell.sizes[2]) for cell in cells))
    found["dtype"] = ", ".join(sorted({dtype for cell in cells for dtype in cell.dtypes}))
    where = "" if alone else _where(cells)
    layouts = dict.fromkeys(key.removesuffix("-before") for key in first.keys)
    return Part(where, kind, tuple(layouts) if kind == "GRU" else (), found)


def _is_bias(leaf: str) -> bool:
    return leaf.startswith("b") or "bias" in leaf or leaf == "vars/2"


def _convention(cell: Cell, biases: bool) -> dict[str, str]:
    """The rows of every convention that fits, side by side where they differ."""
    rows: dict[str, list[str]] = {}
    for key in cell.keys:
        activations = "tanh, sigmoid" if key.removesuffix("-before") in FIXED else _UNSAID
        for name, value in CONVENTIONS[key].found(1, 1, biases, activations).items():
            rows.setdefault(name, [])
            if value not in rows[name]:
                rows[name].append(value)
    found = {
        name: values[0] if len(values) == 1 else f"unknown: {' or '.join(values)}" for name, values in rows.items()
    }
    return found | ({"activations": _UNSAID} if found["activations"].startswith("unknown") else {})


def _layers(cells: list[Cell]) -> str:
    """How many layers and directions, as far as names and shapes say."""
    if "weights_iter" in cells[0].shapes:
        shapes = [cell.shapes["weights_iter"] for cell in cells]
        both = ", both directions" if shapes[0][1] == 2 else ""
        return f"{sum(shape[0] for shape in shapes)}{both}"
    sides = {cell.side for cell in cells} - {""}
    if len(sides) == 2:
        return f"{len(cells) // 2}, both directions"
    if sides == {"reverse"}:
        return f"{len(cells)}, from the end"
    return _unnamed_sides(cells)


def _unnamed_sides(cells: list[Cell]) -> str:
    """Numbered cells are layers, or in linen and Haiku the two directions of half as many."""
    reads, sizes = [cell.sizes[1] for cell in cells], [cell.sizes[2] for cell in cells]
    chain = all(read == size for read, size in zip(reads[1:], sizes, strict=False))
    paired = cells[0].keys in (("linen",), ("haiku",)) and len(cells) % 2 == 0 and _reads_pairs(reads, sizes[0])
    if chain and paired and not cells[0].side:
        return f"unknown: {len(cells)}, or {len(cells) // 2} of both directions"
    if paired and not cells[0].side:
        return f"{len(cells) // 2}, both directions"
    return str(len(cells)) if chain else f"{len(cells)}, which do not read one another"


def _reads_pairs(reads: list[int], size: int) -> bool:
    return reads[0] == reads[1] and all(read == 2 * size for read in reads[2:])


def _where(cells: list[Cell]) -> str:
    """The network's place: what all its cells' names begin with."""
    if "_l" in cells[0].where and cells[0].fitting[0].key == "torch":
        return cells[0].network or "weight_ih_l0 ..."
    every = [cell.where.rstrip("./") for cell in cells]
    return ", ".join(every[:4]) + (" ..." if len(every) > 4 else "")
