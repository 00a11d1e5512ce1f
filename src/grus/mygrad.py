"""Between :class:`grus.GRU` and the arrays of MyGrad's ``gru`` [1]_; MyGrad itself is not needed.

References
----------
.. [1] MyGrad, https://mygrad.readthedocs.io/en/latest/generated/mygrad.nnet.layers.gru.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.layered import check_formula, listed
from grus.conversion.per_gate import PerGate
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_NAMES = ("Uz", "Wz", "bz", "Ur", "Wr", "br", "Uh", "Wh", "bh")  # in the order of gru's arguments, after X
_OURS = PerGate(
    CONVENTIONS["mygrad"], "MyGrad", _NAMES, ("Uz", "Ur", "Uh"), ("Wz", "Wr", "Wh"), ("bz", "br", "bh"), rows=False
)


def to_mygrad(gru: GRU, *, report: Report | None = None) -> list[dict[str, Array]]:
    """The arrays of one call of MyGrad's ``gru`` for each layer.

    Parameters
    ----------
    gru : GRU
        One direction, formulation "before", tanh and sigmoid.
    report : Report, optional
        Filled with notes, that its two biases became one, and with the self-check's difference.

    Returns
    -------
    list of dict
        For each layer ``Uz``, ``Ur``, ``Uh`` (I, H), ``Wz``, ``Wr``, ``Wh`` (H, H) and ``bz``, ``br``, ``bh``
        (H,), in the order of the arguments after X, of the GRU's dtype. Copies; biases are zeros where the GRU
        has none. ``gru(x, **layer, s0=h0)[1:]`` is the output, time-major, which the next layer reads.

    Raises
    ------
    ConversionError
        MyGrad has no such GRU, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import mygrad
    >>> layers = mygrad.to_mygrad(grus.GRU(3, 5, num_layers=2, reset_after=False, seed=0))
    >>> [layer["Uz"].shape for layer in layers]
    [(3, 5), (5, 5)]
    """
    check_convertible(gru, "MyGrad", formulations=("before",), bidirectional=False, report=report)
    layers = [_OURS.write(cell, report) for (cell,) in cells_of(gru)]
    check_formula(gru, [[layer] for layer in layers], formulas.mygrad, "MyGrad", report)
    return layers


def from_mygrad(layers: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, report: Report | None = None) -> GRU:
    """A GRU from the arrays of one ``gru`` of MyGrad, or of several, each of which reads the one before.

    What was handed over under another gate's name can't be seen: all gates' arrays have the same shapes.

    Parameters
    ----------
    layers : mapping, or sequence of mappings
        As :func:`to_mygrad` returns them; arrays or MyGrad's tensors, all of one dtype, float32 or float64.
    report : Report, optional
        Filled with what was found and the self-check's difference.

    Returns
    -------
    GRU
        Of that dtype, with ``reset_after=False``.

    Raises
    ------
    ConversionError
        A name is missing or unknown, a shape does not fit, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import mygrad
    >>> mygrad.from_mygrad(mygrad.to_mygrad(grus.GRU(3, 5, reset_after=False, seed=0)))
    GRU(3, 5, reset_after=False) float32, 150 parameters
    """
    read = listed(layers, "MyGrad")
    cells = [[_OURS.read(layer, f"layers[{k}]")] for k, layer in enumerate(read)]
    gru = Cells(cells, formulation="before").gru()
    if report is not None:
        report.found = _OURS.convention.found(gru.num_layers, 1, True)
    check_formula(gru, [[layer] for layer in read], formulas.mygrad, "MyGrad", report)
    return gru
