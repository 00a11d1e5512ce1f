"""Between :class:`grus.GRU` and the weights of Core ML's ``gru`` before iOS 18; coremltools is not needed.

The operation applies the reset gate before the recurrent product: so say the format's specification [1]_ and the
tests that Apple runs on the operation itself [2]_, which also compute with the rows r | o | z. The formula on the
operation's page [3]_ reads as if it came after the product.

References
----------
.. [1] https://apple.github.io/coremltools/mlmodel/Format/NeuralNetwork.html#grulayerparams
.. [2] https://github.com/apple/coremltools, ``coremltools/converters/mil/mil/ops/tests/iOS14/test_recurrent.py``;
   the operation of iOS 18 has ``reset_after``, which is False by default.
.. [3] https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import arrays as given
from grus.conversion import formulas
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.layered import all_or_none, check_formula, in_float32, listed, optional_bias
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_OURS = CONVENTIONS["coreml"]
_NAMES = ("weight_ih", "weight_hh", "bias")


def to_coreml(gru: GRU, *, allow_cast: bool = False, report: Report | None = None) -> list[dict[str, Array]]:
    """The weights of one ``gru`` of Core ML for each layer.

    Parameters
    ----------
    gru : GRU
        One direction, formulation "before", tanh and sigmoid.
    allow_cast : bool, default False
        Round float64 to float32, which is all that the operation computes in.
    report : Report, optional
        Filled with notes, that its two biases became one, and with the self-check's difference.

    Returns
    -------
    list of dict
        For each layer ``weight_ih`` (3H, I), ``weight_hh`` (3H, H) and, where the GRU has biases, ``bias`` (3H,),
        rows r | o | z, float32. Copies. ``mb.gru(x=x, initial_h=h0, output_sequence=True, **layer)`` runs it, on
        x (T, B, I), with its defaults: forward, sigmoid and tanh.

    Raises
    ------
    ConversionError
        Core ML has no such GRU, digits would be lost, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import coreml
    >>> layers = coreml.to_coreml(grus.GRU(3, 5, num_layers=2, reset_after=False, seed=0))
    >>> [layer["weight_ih"].shape for layer in layers]
    [(15, 3), (15, 5)]
    """
    check_convertible(
        gru, "Core ML before iOS 18", formulations=("before",), bidirectional=False, float64=False,
        allow_cast=allow_cast, report=report,
    )  # fmt: skip
    gru = in_float32(gru, "Core ML", report)
    layers = [_write(cell, report) for (cell,) in cells_of(gru)]
    check_formula(gru, [[layer] for layer in layers], formulas.coreml, "Core ML", report)
    return layers


def from_coreml(layers: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, report: Report | None = None) -> GRU:
    """A GRU from the weights of one forward ``gru`` of Core ML, or of several, each of which reads the one before.

    Rows in another order can't be seen: the shapes are the same.

    Parameters
    ----------
    layers : mapping, or sequence of mappings
        As :func:`to_coreml` returns them; ``bias`` may be absent. All of one dtype; half floats are widened.
    report : Report, optional
        Filled with what was found and the self-check's difference.

    Returns
    -------
    GRU
        Of that dtype, with ``reset_after=False``.

    Raises
    ------
    ConversionError
        A name is missing or unknown (iOS 18 has ``input_bias`` and ``reset_after``), a shape does not fit, or
        the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import coreml
    >>> coreml.from_coreml(coreml.to_coreml(grus.GRU(3, 5, bias=False, reset_after=False, seed=0)))
    GRU(3, 5, bias=False, reset_after=False) float32, 120 parameters
    """
    read = listed(layers, "Core ML")
    cells = all_or_none([_read(layer, f"layers[{k}]") for k, layer in enumerate(read)])
    gru = Cells([[cell] for cell in cells], formulation="before").gru()
    if report is not None:
        report.found = _OURS.found(gru.num_layers, 1, gru.bias)
    check_formula(gru, [[layer] for layer in read], formulas.coreml, "Core ML", report)
    return gru


def _write(cell: GRUParams, report: Report | None) -> dict[str, Array]:
    blocks = _OURS.pack(cell, report)[:3]
    return {name: block for name, block in zip(_NAMES, blocks, strict=True) if block is not None}


def _read(layer: Mapping[str, Any], name: str) -> GRUParams:
    read = given.named(name, layer, optional_bias(_NAMES, layer), "Core ML before iOS 18")
    size = given.hidden_size(f"{name}['weight_hh']", read["weight_hh"], columns=False)
    given.shaped(f"{name}['weight_ih']", read["weight_ih"], (3 * size, None))
    if "bias" in read:
        given.shaped(f"{name}['bias']", read["bias"], (3 * size,))
    return _OURS.unpack(Blocks(read["weight_ih"], read["weight_hh"], read.get("bias"), None))
