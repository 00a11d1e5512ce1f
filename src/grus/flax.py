"""Between :class:`grus.GRU` and the GRUs of Flax [1]_, of its linen and its nnx.

Both are the formulation "after". linen's biases are merged but for the new gate's recurrent one; nnx has none
there, so a GRU goes to nnx only where that one is zero.

References
----------
.. [1] Flax, https://flax.readthedocs.io, ``flax/linen/recurrent.py`` and ``flax/nnx/nn/recurrent.py``.
"""

from __future__ import annotations

from typing import Any

from grus import _check
from grus._formulation import ActivationLike
from grus.activations import Activation
from grus.conversion import linen, nnx
from grus.conversion.cells import check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.jax_cells import Cell, Functions, Layers, cells_in, check_cells, gru_of
from grus.conversion.jax_functions import activation_of, function_of, functions_of
from grus.conversion.jax_side import held, note_zeros
from grus.conversion.report import Report
from grus.layer import GRU

__all__ = ["from_flax", "to_flax"]

_APIS = ("linen", "nnx")


def to_flax(gru: GRU, *, api: str = "linen", allow_cast: bool = False, report: Report | None = None) -> Any:
    """Parameters for linen, or modules of nnx, of the smallest thing that runs this GRU.

    ==================  =================================================================================
    The GRU             What comes back (nnx), or whose parameters (linen)
    ==================  =================================================================================
    one layer           ``GRUCell(H)``
    both directions     ``Bidirectional(RNN(GRUCell(H)), RNN(GRUCell(H)))``
    several layers      ``Sequential`` of ``RNN(GRUCell(H))``, or of ``Bidirectional`` as above
    ``reverse=True``    the same with ``RNN(..., reverse=True, keep_order=True)``; nnx only
    ==================  =================================================================================

    Parameters
    ----------
    gru : GRU
        Formulation "after". Activations are those of ``jax.nn``, one for both gates.
    api : {"linen", "nnx"}, default "linen"
        Which of Flax's two.
    allow_cast : bool, default False
        JAX holds float64 only where ``jax_enable_x64`` is set; where it is not, True rounds a float64 GRU to
        float32.
    report : Report, optional
        Filled with notes and the self-check's difference.

    Returns
    -------
    dict or flax.nnx.Module
        linen: what goes under ``"params"``, of each cell ``ir``, ``iz``, ``in`` and ``hr``, ``hz``, ``hn`` with
        ``kernel`` (I, H) or (H, H) and, but for ``hr`` and ``hz``, ``bias`` (H,). nnx: a module, of each cell
        ``dense_i.kernel`` (I, 3H) and ``bias`` (3H,), ``dense_h.kernel`` (H, 3H), blocks r | z | n; its RNNs are
        ``time_major`` where the GRU is not ``batch_first``. JAX arrays of the GRU's dtype; no memory is shared.

    Raises
    ------
    ConversionError
        Flax has no such GRU, digits would be lost, or the self-check found a difference.
    ImportError
        Flax is missing.

    Notes
    -----
    linen's parameters hold no activations: where they are not tanh and sigmoid, the report notes what the
    ``GRUCell`` must be made with. The self-check runs Flax's cells in float64 and leaves the user's
    ``jax_enable_x64`` as it is.

    Examples
    --------
    >>> import flax.linen as nn
    >>> import numpy as np
    >>> import grus
    >>> from grus.flax import to_flax
    >>> params = to_flax(grus.GRU(3, 5, num_layers=2, seed=0))
    >>> model = nn.Sequential([nn.RNN(nn.GRUCell(5)), nn.RNN(nn.GRUCell(5))])
    >>> model.apply({"params": params}, np.ones((2, 7, 3), np.float32)).shape
    (2, 7, 5)
    """
    name = CONVENTIONS[_check.choice("api", api, _APIS)].library
    check_convertible(gru, name, formulations=("after",), activations=True, reverse=api == "nnx", report=report)
    functions = functions_of(gru, name)
    gru = held(gru, allow_cast, report)
    result = linen.write(gru, report) if api == "linen" else nnx.write(gru, functions, report)
    if report is not None:
        note_zeros(gru, name, report)
        if api == "linen":
            _note_functions(gru, report)
    layers = cells_in(nnx.plain(result, set()), _reader(lambda: functions, None), gru.bidirectional)
    check_cells(gru, layers, name, report)
    return result


def from_flax(
    source: Any,
    *,
    activation: ActivationLike | None = None,
    gate_activation: ActivationLike | None = None,
    bidirectional: bool | None = None,
    report: Report | None = None,
) -> GRU:
    """A GRU from parameters of linen, or from modules or states of nnx.

    Parameters
    ----------
    source : mapping, flax.nnx.Module, flax.nnx.State or list
        linen: the parameters of a ``GRUCell``, of ``RNN``, ``Bidirectional`` or ``Sequential`` of them, with or
        without ``"params"`` around; cells numbered by a model (``GRUCell_0``, ``GRUCell_1`` ...). nnx:
        ``GRUCell``, ``RNN``, ``Bidirectional``, ``Sequential``, or their states. A list is one of layers; in it,
        a tuple is a layer's two directions. All of one dtype; half floats are widened.
    activation, gate_activation : str or Activation, optional
        Of the new gate and of the others. Modules tell; parameters do not, and tanh and sigmoid are taken.
    bidirectional : bool, optional
        Whether numbered cells come in pairs, (forward, reverse) for each layer. Their shapes tell, except for two
        cells that read as many numbers as they have units.
    report : Report, optional
        Filled with what was found, notes and the self-check's difference.

    Returns
    -------
    GRU
        Of the source's dtype; ``reverse`` and ``batch_first`` as the modules run.

    Raises
    ------
    ConversionError
        Names, shapes or numbers of layers do not fit, a function is unknown, or the self-check found a difference.
    ImportError
        Flax is missing.

    Examples
    --------
    >>> from flax import nnx
    >>> from grus.flax import from_flax
    >>> cell = nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))
    >>> from_flax(nnx.RNN(cell, time_major=True))
    GRU(3, 5, batch_first=False) float32, 150 parameters
    """
    runs: set[nnx.Run] = set()
    tree = nnx.plain(source, runs)
    layers = cells_in(tree, _reader(lambda: _asked_for(activation, gate_activation), report), bidirectional)
    new, gate = _activations(layers, activation, gate_activation)
    run = _one_run(runs)
    gru = gru_of(layers, report, not run.time_major, activation=new, gate_activation=gate, reverse=run.reverse)
    convention = CONVENTIONS[layers[0][0].convention]
    if report is not None:
        report.found = convention.found(gru.num_layers, gru.directions, True, f"{new.name}, {gate.name}")
    check_cells(gru, layers, convention.library, report)
    return gru


def _reader(functions: Any, report: Report | None) -> Any:
    def read(tree: Any, name: str) -> Cell | None:
        cell = nnx.read(tree, name, functions, report)
        return linen.read(tree, name, functions) if cell is None else cell

    return read


def _asked_for(activation: ActivationLike | None, gate_activation: ActivationLike | None) -> Functions:
    """What cells that do not tell are run with."""
    new = Activation.of("tanh" if activation is None else activation)
    gate = Activation.of("sigmoid" if gate_activation is None else gate_activation, "gate_activation")
    return function_of(new), function_of(gate)


def _activations(
    layers: Layers, activation: ActivationLike | None, gate_activation: ActivationLike | None
) -> tuple[Activation, Activation]:
    """What was asked for, or else what the cells tell, or else tanh and sigmoid."""
    told = [cell.functions for layer in layers for cell in layer if cell.functions is not None]
    result = []
    for k, (name, asked, usual) in enumerate(
        [("activation", activation, "tanh"), ("gate_activation", gate_activation, "sigmoid")]
    ):
        each = [activation_of(functions[k], name) for functions in told] if asked is None else []
        if any(one != each[0] for one in each):
            raise ConversionError(f"the cells have several {name}s, {each}; grus.GRU has one for all its layers.")
        result.append(each[0] if each else Activation.of(usual if asked is None else asked, name))
    return result[0], result[1]


def _one_run(runs: set[nnx.Run]) -> nnx.Run:
    if len(runs) > 1:
        raise ConversionError(
            "source has layers that run in several ways (time_major, reverse); grus.GRU has one for all of them."
        )
    return next(iter(runs), nnx.Run(False, False))


def _note_functions(gru: GRU, report: Report) -> None:
    new, gate = gru.formulation.activation, gru.formulation.update_activation
    if (new.name, gate.name) != ("tanh", "sigmoid"):
        report.note(f"make the GRUCell with activation_fn {new!r} and gate_fn {gate!r}: parameters hold neither")
