"""What the gates did: heat maps of steps by units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grus import _check
from grus._files import PathLike
from grus._trace import Trace
from grus.report._figure import new_figure, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]
_NAMES = {"r": "reset gate r", "z": "update gate z", "n": "new gate n", "h": "state h"}


def plot_gates(
    trace: Trace,
    path: PathLike | None = None,
    row: int = 0,
    *,
    title: str = "",
    batch_first: bool = True,
    bidirectional: bool = False,
) -> Figure:
    """Draw r, z, n and h of one sequence as heat maps, steps across and units up, one row of panels a layer.

    Gates between 0 and 1 are drawn on that scale; what has a sign, on one that is symmetric about 0 and reaches at
    least from -1 to 1. So panels can be compared with each other and with those of another model.

    Parameters
    ----------
    trace : Trace
        From :meth:`grus.GRU.trace`.
    path : path, optional
        Where to write the picture; its ending (``.png``, ``.svg``, ``.pdf``) says the format.
    row : int, default 0
        Which sequence of the batch.
    title : str, optional
        Above the panels.
    batch_first : bool, default True
        The GRU's: False where the trace's arrays are (layers*directions, T, B, H).
    bidirectional : bool, default False
        The GRU's: True where every second row of panels is of the reverse direction.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError
        ``trace`` is something else.
    ValueError
        The trace holds no step, or no such sequence.

    Examples
    --------
    >>> import numpy as np
    >>> import grus
    >>> trace = grus.GRU(3, 5, seed=0).trace(np.ones((2, 7, 3), np.float32))
    >>> figure = plot_gates(trace, row=1)
    >>> [axes.get_title() for axes in figure.axes[:4]]
    ['reset gate r', 'update gate z', 'new gate n', 'state h']
    """
    arrays = _of_row(trace, row, batch_first)
    layers = len(arrays[0])
    figure = new_figure(4 * len(arrays), 1 + 2.4 * layers, title)
    panels = figure.subplots(layers, len(arrays), squeeze=False, sharex=True, sharey=True)
    for i, of_layer in enumerate(panels):
        for axes, (name, label), array in zip(of_layer, _NAMES.items(), arrays, strict=True):
            _panel(figure, axes, array[i], signed=name in "nh")
            if i == 0:
                axes.set_title(label)
        of_layer[0].set_ylabel(f"{_layer_name(i, bidirectional)}\nunit")
    for axes in panels[-1]:
        axes.set_xlabel("step")
    if path is not None:
        write(figure, path)
    return figure


def _of_row(trace: Trace, row: int, batch_first: bool) -> list[Array]:
    """One sequence's r, z, n and h, each (layers*directions, T, H)."""
    if not isinstance(trace, Trace):
        raise TypeError(f"trace must be what GRU.trace returned; got {type(trace).__name__}.")
    batched, row = trace.h.ndim == 4, _check.size("row", row, minimum=0)
    axis = 1 if _check.boolean("batch_first", batch_first) else 2
    batch = trace.h.shape[axis] if batched else 1
    if row >= batch:
        raise ValueError(f"row must be below {batch}, the sequences of the trace; got {row}.")
    arrays = [np.take(a, row, axis) if batched else a for a in trace]
    if not arrays[0].shape[1]:
        raise ValueError("trace must hold at least one step; got none.")
    return [np.asarray(a.real, float) for a in arrays]


def _panel(figure: Figure, axes: Axes, values: Array, signed: bool) -> None:
    """(T, H) as colours."""
    from matplotlib.ticker import MaxNLocator

    finite = values[np.isfinite(values)]
    most = float(np.abs(finite).max(initial=1.0))
    signed = signed or bool(finite.min(initial=0.0) < 0)
    image = axes.imshow(
        values.T, cmap="RdBu_r" if signed else "viridis", vmin=-most if signed else 0.0, vmax=most,
        aspect="auto", origin="lower", interpolation="nearest" if max(values.shape) < 300 else "antialiased",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    figure.colorbar(image, ax=axes)


def _layer_name(i: int, bidirectional: bool) -> str:
    """What the i-th row of panels shows."""
    if not bidirectional:
        return f"layer {i}"
    return f"layer {i // 2}, {'reverse' if i % 2 else 'forward'}"
