"""A figure that needs no display, and the file that it becomes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from grus._files import PathLike, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "grus[app]"') from None
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def write(figure: Any, path: PathLike) -> None:
    """The picture appears whole or not at all."""
    buffer = io.BytesIO()
    suffix = str(path).rsplit(".", 1)[-1].lower() if "." in str(path) else "png"
    figure.savefig(buffer, format=suffix, dpi=120)
    write_atomically(path, buffer.getvalue())
