"""Between :class:`grus.GRU` and the parameters of EpyNN's GRU layer [1]_; EpyNN itself is not needed.

References
----------
.. [1] EpyNN, https://epynn.net/GRU.html: names, shapes and equations, after which the self-check's formula is
   written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from grus.conversion import formulas
from grus.conversion.cells import Cells, cells_of, check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.layered import check_formula, listed
from grus.conversion.per_gate import PerGate
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_INPUTS, _STATES, _BIASES = ("Ur", "Uz", "Uhh"), ("Vr", "Vz", "Vhh"), ("br", "bz", "bhh")
_NAMES = ("Uz", "Vz", "bz", "Ur", "Vr", "br", "Uhh", "Vhh", "bhh")
_OURS = PerGate(CONVENTIONS["epynn"], "EpyNN", _NAMES, _INPUTS, _STATES, _BIASES, rows=True)


def to_epynn(gru: GRU, *, report: Report | None = None) -> list[dict[str, Array]]:
    """The parameters of one GRU layer of EpyNN for each layer.

    Parameters
    ----------
    gru : GRU
        One direction, formulation "before"; activations tanh, sigmoid, relu and identity, of each gate.
    report : Report, optional
        Filled with notes, that its two biases became one and which activations the layer must be given, and with
        the self-check's difference.

    Returns
    -------
    list of dict
        For each layer what its ``p`` holds: ``Uz``, ``Ur``, ``Uhh`` (I, H), ``Vz``, ``Vr``, ``Vhh`` (H, H) and
        ``bz``, ``br``, ``bhh`` (1, H), of the GRU's dtype. Copies; biases are zeros where the GRU has none. All
        layers but the last need ``sequences=True``.

    Raises
    ------
    ConversionError
        EpyNN has no such GRU, or the self-check found a difference.

    Examples
    --------
    >>> import grus
    >>> from grus import epynn
    >>> layers = epynn.to_epynn(grus.GRU(3, 5, num_layers=2, reset_after=False, seed=0))
    >>> layers[1]["Uhh"].shape, layers[1]["bhh"].shape
    ((5, 5), (1, 5))
    """
    check_convertible(gru, "EpyNN", formulations=("before",), activations=True, bidirectional=False, report=report)
    form = gru.formulation
    activations = (form.activation.name, form.update_activation.name, form.reset_activation.name)
    _check_activations(activations)
    if report is not None and activations != ("tanh", "sigmoid", "sigmoid"):
        report.note("EpyNN's GRU must be given {}".format(", ".join(map("=".join, _keywords(activations)))))
    layers = [_OURS.write(cell, report) for (cell,) in cells_of(gru)]
    check_formula(gru, [[layer] for layer in layers], _formula(activations), "EpyNN", report)
    return layers


def from_epynn(
    layers: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    activate: str = "tanh",
    activate_update: str = "sigmoid",
    activate_reset: str = "sigmoid",
    report: Report | None = None,
) -> GRU:
    """A GRU from the parameters of one GRU layer of EpyNN, or of several, each of which reads the one before.

    What was handed over under another gate's name can't be seen: all gates' arrays have the same shapes.

    Parameters
    ----------
    layers : mapping, or sequence of mappings
        What the layers' ``p`` hold, as :func:`to_epynn` returns it; all of one dtype, float32 or float64.
    activate, activate_update, activate_reset : {"tanh", "sigmoid", "relu", "identity"}
        With which the layers were made; those of EpyNN's own keywords. ``elu`` and ``lrelu`` are refused: their
        slopes are settings of the process and not of the layer.
    report : Report, optional
        Filled with what was found and the self-check's difference.

    Returns
    -------
    GRU
        Of that dtype, with ``reset_after=False``.

    Raises
    ------
    ConversionError
        A name is missing or unknown, a shape does not fit, there is no such activation, or the self-check found a
        difference.

    Examples
    --------
    >>> import grus
    >>> from grus import epynn
    >>> epynn.from_epynn(epynn.to_epynn(grus.GRU(3, 5, reset_after=False, seed=0)))
    GRU(3, 5, reset_after=False) float32, 150 parameters
    """
    activations = (activate, activate_update, activate_reset)
    _check_activations(activations)
    read = listed(layers, "EpyNN")
    cells = [[_OURS.read(layer, f"layers[{k}]")] for k, layer in enumerate(read)]
    gates = (activate_reset, activate_update)
    gru = Cells(cells, formulation="before", activation=activate, gate_activation=gates).gru()
    if report is not None:
        report.found = _OURS.convention.found(gru.num_layers, 1, True, ", ".join(activations))
    check_formula(gru, [[layer] for layer in read], _formula(activations), "EpyNN", report)
    return gru


def _keywords(activations: tuple[str, str, str]) -> list[tuple[str, str]]:
    return list(zip(("activate", "activate_update", "activate_reset"), activations, strict=True))


def _check_activations(activations: tuple[str, str, str]) -> None:
    for keyword, name in _keywords(activations):
        if name not in formulas.ACTIVATIONS:
            raise ConversionError(
                f"{keyword} must be one of {', '.join(formulas.ACTIVATIONS)} between EpyNN and grus; got {name!r}."
            )


def _formula(activations: tuple[str, str, str]) -> Callable[[Mapping[str, Array]], formulas.Step]:
    new, update, reset = activations
    return partial(formulas.epynn, activate=new, activate_update=update, activate_reset=reset)
