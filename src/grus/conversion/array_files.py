"""Layouts that are arrays or pytrees as files of arrays by name: ``layer/direction/name``.

``0/forward/ir/kernel`` is the array ``kernel`` of ``ir`` of the forward direction of the first layer; directions
are ``forward`` and ``reverse``, and a network with the second alone reads from the end. oneDNN's arrays hold both
directions of a layer, so they are ``0/weights_layer``. Read are also names without a layer, of one cell, and those
of the pytrees of Flax and Haiku as their paths have them, with slashes or dots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion.errors import ConversionError

Array = np.ndarray[Any, np.dtype[Any]]
Tree = dict[str, Any]
SIDES = ("forward", "reverse")


# ------------------------------------------------------------------------------------------------------ writing


def named(cells: Iterable[Mapping[str, Any]], sides: Sequence[str]) -> dict[str, Array]:
    """The arrays of all cells, layer by layer, under their names in a file; ``sides`` are those of each layer."""
    found: dict[str, Array] = {}
    for k, cell in enumerate(cells):
        layer, side = divmod(k, len(sides))
        for name, array in _leaves(cell):
            found["/".join(filter(None, (str(layer), sides[side], name)))] = np.asarray(array)
    return found


def _leaves(tree: Any, before: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(tree, Mapping):
        yield before, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, f"{before}/{key}" if before else str(key))


def cells_in_order(tree: Any, name: str) -> list[Any]:
    """The cells of a pytree, each a mapping that holds ``name``, or a leaf; layers, and directions in them."""
    if isinstance(tree, Mapping) and name not in tree:
        return [cell for value in tree.values() for cell in cells_in_order(value, name)]
    if isinstance(tree, (list, tuple)):
        return [cell for value in tree for cell in cells_in_order(value, name)]
    return [tree]


# ------------------------------------------------------------------------------------------------------ reading


def below(arrays: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """Those under a prefix, without it."""
    if prefix is None:
        return dict(arrays)
    prefix = prefix.rstrip("./")
    inside = {
        name[len(prefix) + 1 :]: a for name, a in arrays.items() if re.match(re.escape(prefix) + "[./]", name)
    }
    if not inside:
        raise ConversionError(
            f"source has no arrays under prefix={prefix!r}; it has {', '.join(list(arrays)[:8])}."
        )
    return inside


def nested(arrays: Mapping[str, Any]) -> Tree:
    """Names with slashes, or else dots, as mappings in mappings."""
    separator = "/" if any("/" in name for name in arrays) else "."
    tree: Tree = {}
    for name, array in arrays.items():
        *path, leaf = name.split(separator)
        spot = tree
        for part in path:
            spot = spot.setdefault(part, {})
            if not isinstance(spot, dict):
                raise ConversionError(f"source holds {name!r} and an array named by the beginning of that.")
        if leaf in spot:
            raise ConversionError(f"source holds {name!r} twice, or as the beginning of other names.")
        spot[leaf] = array
    return tree


def layers_in(tree: Tree) -> tuple[list[list[Any]], bool] | None:
    """``[layer][direction]`` of numbered layers, and whether they read from the end; None of other trees."""
    if not tree or not all(key.isdecimal() for key in tree):
        return None
    order = sorted(tree, key=int)
    if list(map(int, order)) != list(range(len(order))):
        raise ConversionError(
            f"source holds the layers {', '.join(order)}: numbers must run from 0 without a gap."
        )
    kinds = {_sides(tree[key]) for key in order}
    if len(kinds) > 1:
        raise ConversionError(
            f"source must hold the same directions in every layer; got {sorted(map(' and '.join, kinds))}."
        )
    (sides,) = kinds
    if not sides:
        return [[tree[key]] for key in order], False
    return [[tree[key][side] for side in sides] for key in order], sides == ("reverse",)


def _sides(layer: Any) -> tuple[str, ...]:
    """The directions that a layer is divided into, none where it isn't."""
    if not isinstance(layer, Mapping) or not set(SIDES) & set(layer):
        return ()
    if others := sorted(set(layer) - set(SIDES)):
        raise ConversionError(f"source holds {', '.join(others)} beside forward and reverse of a layer.")
    return tuple(side for side in SIDES if side in layer)
