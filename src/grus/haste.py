"""Between :class:`grus.GRU` and the arrays of haste's GRU [1]_; haste itself is not needed.

References
----------
.. [1] haste, https://github.com/lmnt-com/haste, ``docs/pytorch/haste_pytorch/GRU.md`` (names, shapes, order) and
   ``lib/gru_forward_gpu.cu.cc`` (the formula).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion import formulas
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.layered import check_formula, listed, with_zeros
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_OURS = CONVENTIONS["haste"]
_NAMES = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def to_haste(gru: GRU, *, report: Report | None = None) -> list[dict[str, Array]]:
    """The arrays of one haste GRU for each layer.

    Parameters
    ----------
    gru : GRU
        One direction, formulation "after", tanh and sigmoid.
    report : Report, optional
        Filled with what was found and the self-check's difference.

    Returns
    -------
    list of dict
        For each layer ``kernel`` (I, 3H), ``recurrent_kernel`` (H, 3H), ``bias`` and ``recurrent_bias`` (3H,),
        blocks z | r | g, of the GRU's dtype. Copies.

    Raises
    ------
    ConversionError
        haste has no such GRU, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import haste
    >>> layers = haste.to_haste(grus.GRU(3, 5, num_layers=2, seed=0))
    >>> [layer["kernel"].shape for layer in layers]
    [(3, 15), (5, 15)]
    """
    check_convertible(gru, "haste", formulations=("after",), bidirectional=False, report=report)
    layers = [_write(cell, report) for (cell,) in cells_of(gru)]
    check_formula(gru, [[layer] for layer in layers], formulas.haste, "haste", report)
    return layers


def from_haste(layers: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, report: Report | None = None) -> GRU:
    """A GRU from the arrays of one haste GRU, or of several, each of which reads the one before.

    Parameters
    ----------
    layers : mapping, or sequence of mappings
        As :func:`to_haste` returns them; all of one dtype, float32 or float64. Blocks in another order can't be
        seen: the shapes are the same.
    report : Report, optional
        As in :func:`to_haste`.

    Returns
    -------
    GRU
        Of that dtype.

    Raises
    ------
    ConversionError
        A name is missing or unknown, a shape does not fit, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import haste
    >>> haste.from_haste(haste.to_haste(grus.GRU(3, 5, seed=0)))
    GRU(3, 5) float32, 150 parameters
    """
    read = listed(layers, "haste")
    gru = Cells([[_read(layer, f"layers[{k}]")] for k, layer in enumerate(read)]).gru()
    if report is not None:
        report.found = _OURS.found(gru.num_layers, 1, True)
    check_formula(gru, [[layer] for layer in read], formulas.haste, "haste", report)
    return gru


def _write(cell: GRUParams, report: Report | None) -> dict[str, Array]:
    blocks = with_zeros(_OURS.pack(cell, report), two=True)
    return dict(zip(_NAMES, (np.array(each) for each in blocks), strict=True))


def _read(layer: Mapping[str, Any], name: str) -> GRUParams:
    read = given.named(name, layer, _NAMES, "haste")
    size = given.hidden_size(f"{name}['recurrent_kernel']", read["recurrent_kernel"], columns=True)
    for key, shape in {"kernel": (None, 3 * size), "bias": (3 * size,), "recurrent_bias": (3 * size,)}.items():
        given.shaped(f"{name}[{key!r}]", read[key], shape)
    return _OURS.unpack(Blocks(*(read[key] for key in _NAMES)))
