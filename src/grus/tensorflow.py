"""Between :class:`grus.GRU` and the arrays of TensorFlow's ``GRUBlockCell`` [1]_; TensorFlow is not needed.

The GRU of Keras, which TensorFlow installs too, is another one: :mod:`grus.keras`.

References
----------
.. [1] https://www.tensorflow.org/api_docs/python/tf/raw_ops/GRUBlockCell and, for its concatenations,
   ``tensorflow/core/kernels/rnn/gru_ops.h``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion import formulas
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.errors import ConversionError
from grus.conversion.layered import check_formula, in_float32, listed, with_zeros
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_OURS = CONVENTIONS["tensorflow"]
_NAMES = ("w_ru", "w_c", "b_ru", "b_c")


def to_tensorflow(gru: GRU, *, allow_cast: bool = False, report: Report | None = None) -> list[dict[str, Array]]:
    """The arrays of one ``GRUBlockCell`` for each layer.

    Parameters
    ----------
    gru : GRU
        One direction, formulation "before", tanh and sigmoid.
    allow_cast : bool, default False
        Round float64 to float32, which is all that the cell computes in.
    report : Report, optional
        Filled with notes, that its two biases became one, and with the self-check's difference.

    Returns
    -------
    list of dict
        For each layer ``w_ru`` (I+H, 2H) and ``w_c`` (I+H, H), rows of the input above those of the state, columns
        r | u, and ``b_ru`` (2H,) and ``b_c`` (H,), float32. Copies; biases are zeros where the GRU has none.
        ``tf.raw_ops.GRUBlockCell(x=x, h_prev=h, **layer)`` is a step.

    Raises
    ------
    ConversionError
        TensorFlow has no such cell, digits would be lost, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import tensorflow
    >>> layers = tensorflow.to_tensorflow(grus.GRU(3, 5, num_layers=2, reset_after=False, seed=0))
    >>> [layer["w_ru"].shape for layer in layers]
    [(8, 10), (10, 10)]
    """
    check_convertible(
        gru, "GRUBlockCell", formulations=("before",), bidirectional=False, float64=False, allow_cast=allow_cast,
        report=report,
    )  # fmt: skip
    gru = in_float32(gru, "GRUBlockCell", report)
    layers = [_write(cell, report) for (cell,) in cells_of(gru)]
    check_formula(gru, [[layer] for layer in layers], formulas.tensorflow, "GRUBlockCell", report)
    return layers


def from_tensorflow(
    layers: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, report: Report | None = None
) -> GRU:
    """A GRU from the arrays of one ``GRUBlockCell``, or of several, each of which reads the one before.

    Columns u | r, or rows of the state above those of the input, can't be seen: the shapes are the same.

    Parameters
    ----------
    layers : mapping, or sequence of mappings
        As :func:`to_tensorflow` returns them; arrays, or tensors that NumPy reads, all of one dtype.
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
    >>> from grus import tensorflow
    >>> tensorflow.from_tensorflow(tensorflow.to_tensorflow(grus.GRU(3, 5, reset_after=False, seed=0)))
    GRU(3, 5, reset_after=False) float32, 150 parameters
    """
    read = listed(layers, "GRUBlockCell")
    cells = [[_read(layer, f"layers[{k}]")] for k, layer in enumerate(read)]
    gru = Cells(cells, formulation="before").gru()
    if report is not None:
        report.found = _OURS.found(gru.num_layers, 1, True)
    check_formula(gru, [[layer] for layer in read], formulas.tensorflow, "GRUBlockCell", report)
    return gru


def _write(cell: GRUParams, report: Report | None) -> dict[str, Array]:
    w_x, w_h, bias, _ = with_zeros(_OURS.pack(cell, report))
    assert bias is not None  # with_zeros
    both, size = np.concatenate([w_x, w_h]), len(w_h)
    split = (both[:, : 2 * size], both[:, 2 * size :], bias[: 2 * size], bias[2 * size :])
    return dict(zip(_NAMES, (each.copy() for each in split), strict=True))


def _read(layer: Mapping[str, Any], name: str) -> GRUParams:
    read = given.named(name, layer, _NAMES, "GRUBlockCell")
    rows, size = given.shaped(f"{name}['w_c']", read["w_c"], (None, None)).shape
    if rows <= size:
        raise ConversionError(
            f"{name}['w_c'] must have shape (I+H, H), more rows than columns; got ({rows}, {size})."
        )
    for key, shape in {"w_ru": (rows, 2 * size), "b_ru": (2 * size,), "b_c": (size,)}.items():
        given.shaped(f"{name}[{key!r}]", read[key], shape)
    both = np.concatenate([read["w_ru"], read["w_c"]], axis=1)
    bias = np.concatenate([read["b_ru"], read["b_c"]])
    return _OURS.unpack(Blocks(both[: rows - size], both[rows - size :], bias, None))
