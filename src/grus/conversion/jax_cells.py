"""The cells in the trees that JAX's libraries keep parameters in: found by names and order, checked by running.

A tree is a cell, a mapping of numbered layers, a pair ``forward_rnn`` and ``backward_rnn``, a mapping of one name
to a tree, or a list of layers, each of which is a tree or a tuple of two (forward, reverse).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grus.conversion.cells import Cells
from grus.conversion.check import check_same
from grus.conversion.errors import ConversionError
from grus.conversion.formulas import Array, Step, over_time
from grus.conversion.jax_side import double
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Functions = tuple[Any, Any]  # of the new gate, and of the two others
DIRECTIONS = ("forward_rnn", "backward_rnn")


class Cell(NamedTuple):
    """One cell as it was found."""

    params: GRUParams
    step: Callable[[], Step]  # the library's own cell on these very parameters, in float64; made in ``double``
    convention: str
    functions: Functions | None = None  # where the cell says


Layers = list[list[Cell]]
Reader = Callable[[Any, str], Cell | None]  # None: it is not a cell, look inside


def cells_in(tree: Any, read: Reader, bidirectional: bool | None) -> Layers:
    """``[layer][direction]``; ``bidirectional`` decides where names and shapes do not."""
    layers = _layers(tree, read, "source", bidirectional)
    directions = {len(layer) for layer in layers}
    if bidirectional is not None and directions != {2 if bidirectional else 1}:
        count = " and ".join(map(str, sorted(directions)))
        raise ConversionError(f"source has layers of {count} direction(s); got bidirectional={bidirectional}.")
    return layers


def _layers(tree: Any, read: Reader, name: str, bidirectional: bool | None) -> Layers:
    cell = read(tree, name)
    if cell is not None:
        return [[cell]]
    if isinstance(tree, Mapping) and tree:
        return _of_names(tree, read, name, bidirectional)
    if isinstance(tree, (list, tuple)) and tree:
        parts = [(f"{name}[{k}]", each) for k, each in enumerate(tree)]
        return [layer for part, each in parts for layer in _of_list(each, read, part, bidirectional)]
    what = "nothing" if isinstance(tree, (Mapping, list, tuple)) else type(tree).__name__
    raise ConversionError(f"{name} must hold the cells of a GRU; got {what}.")


def _of_list(tree: Any, read: Reader, name: str, bidirectional: bool | None) -> Layers:
    """In a list of layers, a list is one layer's directions."""
    if not isinstance(tree, (list, tuple)):
        return _layers(tree, read, name, bidirectional)
    if len(tree) not in (1, 2):
        raise ConversionError(f"{name} must hold a layer's one or two directions; got {len(tree)}.")
    return [[_one(each, read, f"{name}[{k}]") for k, each in enumerate(tree)]]


def items(own: Any) -> list[tuple[str, Any]]:
    """Those of a mapping, or what stands in its place, under no name."""
    return list(own.items()) if isinstance(own, Mapping) else [("", own)]


def _one(tree: Any, read: Reader, name: str) -> Cell:
    layers = _layers(tree, read, name, None)
    if len(layers) != 1 or len(layers[0]) != 1:
        raise ConversionError(f"{name} must hold one cell, of one direction of a layer; got {len(layers)} layers.")
    return layers[0][0]


def _of_names(tree: Mapping[Any, Any], read: Reader, name: str, bidirectional: bool | None) -> Layers:
    if set(tree) == set(DIRECTIONS):
        return [[_one(tree[key], read, f"{name}[{key!r}]") for key in DIRECTIONS]]
    parts = [(f"{name}[{key!r}]", tree[key]) for key in _ordered(tree, name)]
    if len(parts) == 1:
        return _layers(parts[0][1], read, parts[0][0], bidirectional)
    cells = [read(each, part) for part, each in parts]
    bare = [cell for cell in cells if cell is not None]
    if len(bare) == len(parts):
        return _paired(bare, name, bidirectional)
    return [layer for part, each in parts for layer in _layers(each, read, part, bidirectional)]


def _ordered(tree: Mapping[Any, Any], name: str) -> list[Any]:
    """The keys by their number, which must run from 0: JAX sorts names as text, layers_10 before layers_2."""
    numbers = {key: _number(key) for key in tree}
    held = f"{name} holds {', '.join(map(str, tree))}"
    if len({stem for stem, _ in numbers.values()}) > 1:
        raise ConversionError(
            f"{held}, which is neither a GRU's own parameters nor its layers by number (layers_0, layers_1 ...). "
            "Pass the GRU's part alone, or a list of its layers."
        )
    order = sorted(tree, key=lambda key: numbers[key][1])
    if [numbers[key][1] for key in order] != list(range(len(order))):
        raise ConversionError(
            f"{held}: numbers must run from 0 without a gap, or a layer is missing. Pass a list of the layers if "
            "none is."
        )
    return order


def _number(key: Any) -> tuple[str, int]:
    """``"GRUCell_2"`` -> ``("GRUCell", 2)``; a name without a number is the first, as Haiku has it."""
    stem, number = re.fullmatch(r"(.*?)(?:_?(\d+))?", str(key), re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or 0)


def _paired(cells: list[Cell], name: str, bidirectional: bool | None) -> Layers:
    """Numbered cells are layers, or layers of two directions: what they read tells which."""
    if _looks_paired(cells, name) if bidirectional is None else bidirectional:
        if len(cells) % 2:
            raise ConversionError(f"{name} must hold two cells for each bidirectional layer; got {len(cells)}.")
        return [list(pair) for pair in zip(cells[::2], cells[1::2], strict=True)]
    return [[cell] for cell in cells]


def _looks_paired(cells: list[Cell], name: str) -> bool:
    reads: list[int] = [cell.params.weight_ih.shape[1] for cell in cells]
    size: int = cells[0].params.weight_hh.shape[1]
    if len(cells) % 2 or reads[1] != reads[0]:
        return False
    if len(cells) == 2 and reads[0] == size:
        raise ConversionError(
            f"{name} holds two cells that read {size} numbers and have {size} units: two layers, or the two "
            "directions of one? Pass bidirectional=False or bidirectional=True."
        )
    return reads[0] != size or reads[2] != size


def gru_of(layers: Layers, report: Report | None, batch_first: bool = True, **options: Any) -> GRU:
    """The GRU that holds copies of these cells; ``options`` are those of :class:`Cells`."""
    dtypes = {cell.params.weight_ih.dtype.name for layer in layers for cell in layer}
    if len(dtypes) > 1:
        raise ConversionError(f"source must be of one dtype; got {' and '.join(sorted(dtypes))}.")
    bare = {cell.params.bias_ih is None for layer in layers for cell in layer}
    params = [[_with_biases(cell.params) if len(bare) == 2 else cell.params for cell in layer] for layer in layers]
    if len(bare) == 2 and report is not None:
        report.note("some cells have biases: those of the others are zeros in grus")
    return Cells(params, **options).gru(batch_first=batch_first)


def _with_biases(params: GRUParams) -> GRUParams:
    if params.bias_ih is not None:
        return params
    zeros = np.zeros(len(params.weight_hh), params.weight_hh.dtype)
    return params._replace(bias_ih=zeros, bias_hh=zeros)


def check_cells(gru: GRU, layers: Sequence[Sequence[Cell]], name: str, report: Report | None) -> None:
    """Ours against the library's own cells, in float64."""
    order = -1 if gru.reverse else 1
    with double():
        steps = [[cell.step() for cell in layer] for layer in layers]

        def theirs(x: Array, h0: Array) -> tuple[Array, Array]:
            output, h_n = over_time(steps, x[:, ::order], h0)
            return output[:, ::order], h_n

        check_same(gru, theirs, name, report=report)
