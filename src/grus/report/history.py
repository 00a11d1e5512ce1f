"""The learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grus._files import PathLike
from grus.report._figure import new_figure, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_DRAWN = ("learning_rate", "seconds")
_DECADES = 100  # a loss that falls by more than this is drawn on a logarithmic scale
_LABELS = {"loss": "loss (dimensionless)", "accuracy": "accuracy (share of sequences)"}


def plot_history(
    history: Mapping[str, Sequence[float]],
    path: PathLike | None = None,
    *,
    title: str = "",
    best_epoch: int | None = None,
    final: Mapping[str, float] | None = None,
) -> Figure:
    """Draw loss and metrics over the epochs, training and validation in one panel each.

    Parameters
    ----------
    history : mapping of str to sequence of float
        As :class:`grus.nn.History`: ``loss``, ``val_loss``, metrics.
    path : path, optional
        Where to write the picture; its ending (``.png``, ``.svg``, ``.pdf``) says the format.
    title : str, optional
        Above the panels.
    best_epoch : int, optional
        An epoch, counted from 1, to mark.
    final : mapping of str to float, optional
        Values to draw as a line across the panel of their name, such as the accuracy on test data.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The history is empty.

    Examples
    --------
    >>> figure = plot_history({"loss": [0.9, 0.5], "val_loss": [1.0, 0.7]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss (dimensionless)']
    """
    names = [name for name in history if not name.startswith("val_") and name not in _NOT_DRAWN]
    if not names or not len(history[names[0]]):
        raise ValueError("history must hold at least one epoch; got none.")
    figure = new_figure(5 * len(names), 3.6, title)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axes, name, history, best_epoch, (final or {}).get(name))
    if path is not None:
        write(figure, path)
    return figure


def _panel(
    axes: Axes, name: str, history: Mapping[str, Sequence[float]], best_epoch: int | None, final: float | None
) -> None:
    """Training and validation values of one quantity."""
    epochs = range(1, len(history[name]) + 1)
    axes.plot(epochs, history[name], label="training", color="#1f77b4")
    if f"val_{name}" in history:
        axes.plot(epochs, history[f"val_{name}"], label="validation", color="#ff7f0e")
    if final is not None:
        axes.axhline(final, label=f"test {final:.4g}", color="#2ca02c", linestyle="--")
    if best_epoch is not None:
        axes.axvline(best_epoch, label=f"best epoch {best_epoch}", color="0.6", linestyle=":")
    low, high = (pick(history[name]) for pick in (min, max))
    if name == "loss" and 0 < _DECADES * low < high:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel(_LABELS.get(name, name))
    axes.grid(alpha=0.3)
    axes.legend()
