"""Between :class:`grus.GRU` and the GRUs of Equinox [1]_ and Haiku [2]_.

Equinox's is the formulation "after", Haiku's is "before": different functions, and a GRU goes to one of them.

References
----------
.. [1] Equinox, https://docs.kidger.site/equinox/api/nn/rnn/, ``equinox/nn/_rnn.py``.
.. [2] Haiku, https://dm-haiku.readthedocs.io/en/latest/api.html, ``haiku/_src/recurrent.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grus import _check
from grus.conversion import equinox, haiku
from grus.conversion.cells import check_convertible
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.jax_cells import cells_in, check_cells, gru_of
from grus.conversion.jax_side import held, note_zeros
from grus.conversion.report import Report
from grus.layer import GRU

__all__ = ["from_jax", "to_jax"]

_APIS = ("equinox", "haiku")


def to_jax(gru: GRU, *, api: str = "equinox", allow_cast: bool = False, report: Report | None = None) -> Any:
    """Cells of Equinox, or parameters of Haiku.

    Parameters
    ----------
    gru : GRU
        Formulation "after" for Equinox, "before" for Haiku; tanh and sigmoid.
    api : {"equinox", "haiku"}, default "equinox"
        Whose.
    allow_cast : bool, default False
        JAX holds float64 only where ``jax_enable_x64`` is set; where it is not, True rounds a float64 GRU to
        float32.
    report : Report, optional
        Filled with notes and the self-check's difference.

    Returns
    -------
    equinox.nn.GRUCell, list or dict
        Equinox: a cell where the GRU is one layer of one direction; else a list of layers, each a cell or, with
        both directions, a tuple (forward, reverse) of cells. ``weight_ih`` (3H, I), ``weight_hh`` (3H, H),
        ``bias`` (3H,), ``bias_n`` (H,); without biases ``use_bias`` is False. Haiku: the parameters of a model
        that makes a ``hk.GRU`` for each layer (and direction, forward before reverse), so of ``hk.DeepRNN`` of
        them: ``gru``, ``gru_1`` ..., each with ``w_i`` (I, 3H), ``w_h`` (H, 3H), ``b`` (3H,), blocks z | r | a.
        JAX arrays of the GRU's dtype; no memory is shared.

    Raises
    ------
    ConversionError
        The library has no such GRU, digits would be lost, or the self-check found a difference.
    ImportError
        The library is missing.

    Notes
    -----
    Neither library runs both directions by itself: a reverse cell reads the sequence turned round, and its outputs
    are turned back (``hk.dynamic_unroll(..., reverse=True)`` does both). The self-check runs the library's cells
    in float64 and leaves the user's ``jax_enable_x64`` as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> from grus.jax import to_jax
    >>> gru = grus.GRU(3, 5, seed=0)
    >>> cell = to_jax(gru)
    >>> x, h = np.ones(3, np.float32), np.zeros(5, np.float32)
    >>> bool(np.abs(cell(x, h) - gru.step(x[None])[0, 0]).max() < 1e-6)
    True
    >>> params = to_jax(grus.GRU(3, 5, num_layers=2, reset_after=False, seed=0), api="haiku")
    >>> {name: own["w_i"].shape for name, own in params.items()}
    {'gru': (3, 15), 'gru_1': (5, 15)}
    """
    convention = CONVENTIONS[_check.choice("api", api, _APIS)]
    check_convertible(gru, convention.library, formulations=(convention.formulation,), report=report)
    gru = held(gru, allow_cast, report)
    result = equinox.write(gru, report) if api == "equinox" else haiku.write(gru, report)
    if api == "haiku" and report is not None:
        note_zeros(gru, convention.library, report)
    layers = cells_in(result, equinox.read if api == "equinox" else haiku.read, gru.bidirectional)
    check_cells(gru, layers, convention.library, report)
    return result


def from_jax(source: Any, *, bidirectional: bool | None = None, report: Report | None = None) -> GRU:
    """A GRU from cells of Equinox, or from parameters of Haiku.

    Parameters
    ----------
    source : equinox.nn.GRUCell, list or mapping
        Equinox: a cell, or a list of layers, each a cell or a tuple (forward, reverse). Haiku: parameters of GRUs
        alone: ``w_i``, ``w_h`` and ``b``, or names that differ in their number (``gru``, ``gru_1``, or with a
        module's name before), in the order of the layers; or a list of layers as for Equinox. All of one dtype;
        half floats are widened.
    bidirectional : bool, optional
        Whether numbered GRUs come in pairs, (forward, reverse) for each layer. Their shapes tell, except for two
        that read as many numbers as they have units.
    report : Report, optional
        Filled with what was found, notes and the self-check's difference.

    Returns
    -------
    GRU
        Of the source's dtype; without biases where no cell has any.

    Raises
    ------
    ConversionError
        Names, shapes or numbers of layers do not fit, or the self-check found a difference.
    ImportError
        The library is missing.

    Examples
    --------
    >>> import haiku as hk
    >>> import jax
    >>> import numpy as np
    >>> from grus.jax import from_jax
    >>> model = hk.transform(lambda x: hk.dynamic_unroll(hk.GRU(5), x, np.zeros(5, np.float32)))
    >>> from_jax(model.init(jax.random.PRNGKey(0), np.ones((7, 3), np.float32)))
    GRU(3, 5, reset_after=False) float32, 150 parameters
    """
    read = haiku.read if _is_haiku(source) else equinox.read
    layers = cells_in(source, read, bidirectional)
    convention = CONVENTIONS[layers[0][0].convention]
    gru = gru_of(layers, report, formulation=convention.formulation)
    if report is not None:
        report.found = convention.found(gru.num_layers, gru.directions, gru.bias)
    check_cells(gru, layers, convention.library, report)
    return gru


def _is_haiku(source: Any) -> bool:
    """Mappings are Haiku's; a list is what its first entry is."""
    while isinstance(source, (list, tuple)) and source:
        source = source[0]
    return isinstance(source, Mapping)
