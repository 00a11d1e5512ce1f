"""The recurrent cells among arrays by name: found by their names' ends and their shapes, grouped into networks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from grus.conversion.signatures import LEAVES, SIGNATURES, Shape, Signature

_TORCH = re.compile(r"(.*\.)?((?:weight_(?:ih|hh|hr)|bias_(?:ih|hh)))_l(\d+)(_reverse)?")
_SIDE = re.compile(r"(forward|backward|reverse)(?:_|$)(.*)")


class Cell(NamedTuple):
    """One layer's and direction's arrays."""

    where: str  # what stands before their names
    network: str  # the same for all cells of one network
    place: tuple[int, ...]  # in the order of the layers
    side: str  # "forward", "reverse" or "", which says neither
    names: list[str]  # in the file
    shapes: dict[str, Shape]
    dtypes: set[str]
    fitting: list[Signature]
    sizes: tuple[int, int, int]  # blocks, input size, hidden size

    @property
    def keys(self) -> tuple[str, ...]:
        """The conventions that it may be."""
        return tuple(dict.fromkeys(key for each in self.fitting for key in each.keys(self.shapes)))


class _Name(NamedTuple):
    where: str
    network: str
    place: tuple[int, ...]
    side: str
    numbered: bool  # as PyTorch has it, after the leaf
    leaf: str


def cells_among(arrays: Mapping[str, Any]) -> list[Cell]:
    """The cells, in the order of their places; anything with a shape and a dtype is an array."""
    held: dict[_Name, dict[str, str]] = {}
    for name in arrays:
        split = _split(name)
        if split is not None and hasattr(arrays[name], "shape"):
            held.setdefault(split._replace(leaf=""), {})[split.leaf] = name
    cells = [cell for spot, names in held.items() if (cell := _cell(spot, names, arrays)) is not None]
    return sorted(cells, key=lambda cell: (cell.place, cell.side == "reverse"))


def networks(cells: list[Cell]) -> list[list[Cell]]:
    """The cells of each network together: same names but for numbers and sides, same signatures."""
    found: dict[Any, list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.network, cell.keys, cell.sizes[0]), []).append(cell)
    return list(found.values())


def _split(name: str) -> _Name | None:
    """A name's parts, if it ends like one of a cell's."""
    if match := _TORCH.fullmatch(name):
        prefix, leaf, layer, reverse = match.groups()
        end = f"_l{layer}{reverse or ''}"
        side = "reverse" if reverse else "forward"
        return _Name(f"{prefix or ''}{end}", prefix or "", (int(layer),), side, True, leaf)
    name = name.removesuffix(":0")  # TensorFlow counts what gives a variable
    parts = re.split("[./]", name)
    for count in (2, 1):
        leaf, before = "/".join(parts[-count:]), parts[:-count]
        if leaf in LEAVES:
            sides, stems, place = zip(*map(_part, before), strict=True) if before else ((), (), ())
            side = next((each for each in sides if each), "")
            numbers = tuple(number for each in place for number in each)
            return _Name(name[: len(name) - len(leaf)], "/".join(stems), numbers, side, False, leaf)
    return None


def _part(part: str) -> tuple[str, str, tuple[int, ...]]:
    """A name's side, its stem, and its number: a stem without one is the first of its kind."""
    side = ""
    if match := _SIDE.fullmatch(part):
        side, part = ("forward" if match[1] == "forward" else "reverse"), match[2]
    stem, number = re.fullmatch(r"(.*?)(?:_?(\d+))?", part, re.DOTALL).groups()  # type: ignore[union-attr]
    return side, stem, (int(number or 0),)


def _cell(spot: _Name, names: dict[str, str], arrays: Mapping[str, Any]) -> Cell | None:
    shapes = {leaf: tuple(arrays[name].shape) for leaf, name in names.items()}
    fitting = list(_fitting(spot, shapes))
    if not fitting:
        return None
    sizes = fitting[0].sizes(shapes)
    assert sizes is not None  # they fit
    dtypes = {str(arrays[name].dtype).removeprefix("torch.") for name in names.values()}
    return Cell(*spot[:4], list(names.values()), shapes, dtypes, fitting, sizes)


def _fitting(spot: _Name, shapes: dict[str, Shape]) -> Iterator[Signature]:
    """The signatures with these names and shapes; what stands before the names may speak against one."""
    for each in SIGNATURES:
        if each.key == "torch":
            against = "/" in spot.where
        else:
            against = spot.numbered or (each.names[0] == "weight_ih" and spot.where.endswith("."))
        if not against and each.fits(set(shapes)) and each.sizes(shapes) is not None:
            yield each
