"""Between :class:`grus.GRU` and the weights of oneDNN's ``gru`` and ``lbr_gru`` [1]_; oneDNN is not needed.

References
----------
.. [1] oneDNN, developer guide, https://uxlfoundation.github.io/oneDNN/dev_guide_rnn.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion._onednn import Primitive, read_primitive, written
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.layered import all_or_none, check_formula, in_float32, listed
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_KEYS = {"after": "onednn", "before": "onednn-before"}


def to_onednn(
    gru: GRU, *, stacked: bool = False, allow_cast: bool = False, report: Report | None = None
) -> list[dict[str, Array]]:
    """The weights of one primitive of oneDNN for each layer, or of one for all.

    Parameters
    ----------
    gru : GRU
        Formulation "after" (``lbr_gru``) or "before" (``gru``), tanh and sigmoid, both directions too.
    stacked : bool, default False
        All layers in one primitive. oneDNN can only do so where input_size is hidden_size, and in one direction:
        its ``bidirectional_concat`` never mixes the directions of a stack.
    allow_cast : bool, default False
        Round float64 to float32; oneDNN has no float64.
    report : Report, optional
        Filled with notes, which biases became one, and with the self-check's difference.

    Returns
    -------
    list of dict
        For each primitive ``weights_layer`` (L, D, I, 3, H), ``weights_iter`` (L, D, H, 3, H), which is ``ldigo``,
        and ``bias`` (L, D, 4, H), or (L, D, 3, H) in formulation "before", which is ``ldgo``. Gates u | r | o, of
        the bias | u' too; float32; L is 1 unless ``stacked``; D is 2 for ``bidirectional_concat``. Copies; biases
        are zeros where the GRU has none.

    Raises
    ------
    ConversionError
        oneDNN has no such GRU, digits would be lost, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import onednn
    >>> gru = grus.GRU(3, 5, num_layers=2, bidirectional=True, seed=0)
    >>> [each["weights_layer"].shape for each in onednn.to_onednn(gru)]
    [(1, 2, 3, 3, 5), (1, 2, 10, 3, 5)]
    """
    check_convertible(
        gru, "oneDNN", formulations=("after", "before"), float64=False, allow_cast=allow_cast, report=report
    )
    if stacked and gru.num_layers > 1 and (gru.bidirectional or gru.input_size != gru.hidden_size):
        raise ConversionError(
            f"stacked must be False for {gru!r}: in one primitive of oneDNN every layer reads hidden_size "
            "numbers, and no direction reads the other's. There is one for each layer then."
        )
    gru = in_float32(gru, "oneDNN", report)
    ours = CONVENTIONS[_KEYS[gru.formulation.reset]]
    layers = [written([layer], ours, report) for layer in cells_of(gru)]
    if stacked:
        layers = [{name: np.concatenate([layer[name] for layer in layers]) for name in layers[0]}]
    _check(gru, layers, report)
    return layers


def from_onednn(
    primitives: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    formulation: str | None = None,
    report: Report | None = None,
) -> GRU:
    """A GRU from the weights of one primitive of oneDNN, or of several, each of which reads the one before.

    Gates in another order can't be seen, nor whether two directions are summed: the shapes are the same.

    Parameters
    ----------
    primitives : mapping, or sequence of mappings
        As :func:`to_onednn` returns them; ``bias`` may be absent. All of one dtype.
    formulation : {"after", "before"}, optional
        ``lbr_gru`` or ``gru``. A bias tells which by its rows, 4 or 3; without one it must be given.
    report : Report, optional
        Filled with what was found and the self-check's difference.

    Returns
    -------
    GRU
        Of that dtype.

    Raises
    ------
    ConversionError
        A name is missing or unknown, a shape does not fit, the formulation is unknown or another one, both
        directions stand in one stack, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import onednn
    >>> gru = grus.GRU(5, 5, num_layers=2, seed=0)
    >>> onednn.from_onednn(onednn.to_onednn(gru, stacked=True))
    GRU(5, 5, num_layers=2) float32, 360 parameters
    """
    given = listed(primitives, "oneDNN", "primitives")
    read = [read_primitive(each, f"primitives[{k}]", formulation) for k, each in enumerate(given)]
    reset = _agreed(read, formulation)
    ours = CONVENTIONS[_KEYS[reset]]
    flat = all_or_none([cell for each in read for layer in each.cells(ours) for cell in layer])
    directions = read[0].directions
    cells = [flat[k : k + directions] for k in range(0, len(flat), directions)]
    gru = Cells(cells, formulation=reset).gru()
    if report is not None:
        report.found = ours.found(gru.num_layers, directions, gru.bias)
    _check(gru, [each.arrays for each in read], report)
    return gru


def _agreed(read: Sequence[Primitive], formulation: str | None) -> str:
    """The one formulation, and one number of directions, of all primitives."""
    if len({each.directions for each in read}) > 1:
        raise ConversionError(
            f"primitives must all have one direction or all two; got {[each.directions for each in read]}."
        )
    seen = {each.formulation for each in read if each.formulation} | ({formulation} if formulation else set())
    if not seen:
        raise ConversionError(
            'formulation must be "after" (lbr_gru) or "before" (gru) where no bias tells which; got None.'
        )
    if len(seen) > 1:
        raise ConversionError(
            "primitives hold biases of 4 rows (lbr_gru) and of 3 (gru): they are different functions."
        )
    return str(seen.pop())


def _check(gru: GRU, layers: Sequence[Mapping[str, Array]], report: Report | None) -> None:
    """Every layer and direction of every primitive against the formula."""
    formula = formulas.onednn_lbr if gru.formulation.reset == "after" else formulas.onednn
    cells = [
        [{name: array[layer, direction] for name, array in each.items()} for direction in range(gru.directions)]
        for each in layers
        for layer in range(len(each["weights_iter"]))
    ]
    check_formula(gru, cells, formula, "oneDNN", report)
