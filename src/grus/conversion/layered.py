"""For layouts that hold each layer's arrays by name and need no library: lists of layers, and their check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion.check import check_same, in_dtype
from grus.conversion.conventions import Blocks
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
Layer = Mapping[str, Any]


def listed(layers: Any, layout: str, name: str = "layers") -> list[Layer]:
    """One layer, or several in their order, as a list that isn't empty."""
    if not isinstance(layers, (Mapping, Sequence)) or isinstance(layers, (str, bytes)):
        raise TypeError(
            f"{name} must be a mapping from {layout}'s names to arrays, or a sequence of them; got "
            f"{type(layers).__name__}."
        )
    found = [layers] if isinstance(layers, Mapping) else list(layers)
    if not found:
        raise ConversionError(f"{name} must hold at least one of {layout}'s layers; got none.")
    return found


def optional_bias(names: Sequence[str], layer: Any) -> list[str]:
    """The names that this layer must have, of which "bias" may be absent."""
    return [name for name in names if name != "bias" or not isinstance(layer, Mapping) or name in layer]


def all_or_none(cells: Sequence[GRUParams]) -> list[GRUParams]:
    """The cells, with zeros where some have no biases and others have; :class:`Cells` has one answer for all."""
    if all(cell.bias_ih is None for cell in cells):
        return list(cells)
    return [cell if cell.bias_ih is not None else _unbiased(cell) for cell in cells]


def _unbiased(cell: GRUParams) -> GRUParams:
    zeros = np.zeros(len(cell.weight_hh), cell.weight_hh.dtype)
    return cell._replace(bias_ih=zeros, bias_hh=zeros.copy())


def with_zeros(blocks: Blocks, *, two: bool = False) -> Blocks:
    """Zeros for the biases that a GRU without them lacks and that the layout must hold; ``two``: one a side."""
    if blocks.bias_ih is not None:
        return blocks
    zeros = np.zeros(max(blocks.weight_hh.shape), blocks.weight_hh.dtype)
    return blocks._replace(bias_ih=zeros, bias_hh=zeros.copy() if two else None)


def in_float32(gru: GRU, target: str, report: Report | None) -> GRU:
    """For targets that hold nothing else; the caller has seen to it that digits may be lost."""
    if gru.dtype.name == "float64" and report is not None:
        report.note(f"{target} holds float32: the weights are rounded to it, and the check is of the rounded ones")
    return in_dtype(gru, "float32")


def check_formula(
    gru: GRU,
    layers: Sequence[Sequence[Layer]],
    formula: Callable[[Layer], formulas.Step],
    name: str,
    report: Report | None,
) -> None:
    """The GRU against the layout's formula over the arrays of ``layers[layer][direction]``, in float64."""
    steps = [[formula(_in_float64(cell)) for cell in directions] for directions in layers]
    check_same(gru, lambda x, h0: formulas.over_time(steps, x, h0), f"{name}'s formula", report=report)


def _in_float64(layer: Layer) -> dict[str, Array]:
    return {name: np.asarray(array, "float64") for name, array in layer.items()}
