"""How far training is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

_LINES = 10  # about as many plain lines as a run prints
_QUIET = ("learning_rate", "seconds")


class Progress(Protocol):
    """What training tells."""

    def batch(self, epoch: int, done: float, of: int) -> None:
        """So many of the epoch's batches are done; a part of one where sequences come in chunks."""

    def epoch(self, epoch: int, row: Mapping[str, float], sequences: int) -> None:
        """An epoch is done; row is what the history got."""

    def close(self) -> None:
        """Training has ended."""


class Silent:
    """Tells nothing."""

    def batch(self, epoch: int, done: float, of: int) -> None:
        """Nothing."""

    def epoch(self, epoch: int, row: Mapping[str, float], sequences: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines(Silent):
    """Every few epochs a line with loss, metrics, rate and time left, on standard error."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.every = epochs, max(1, epochs // _LINES)
        self.started, self.first = time.perf_counter(), 0

    def epoch(self, epoch: int, row: Mapping[str, float], sequences: int) -> None:
        self.first = self.first or epoch
        if epoch % self.every and epoch != self.epochs:
            return
        seconds = (time.perf_counter() - self.started) / (epoch - self.first + 1)
        left = seconds * (self.epochs - epoch)
        speed = f"{sequences / seconds:.0f} sequences/s  {left:.0f} s left"
        print(f"epoch {epoch}/{self.epochs}  {describe(row)}  {speed}", file=sys.stderr, flush=True)


class Bar:
    """A bar with loss, metrics, rate and time left, drawn by rich."""

    def __init__(self, epochs: int, start: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = [
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
        ]
        times = [TextColumn("[dim]elapsed"), TimeElapsedColumn(), TextColumn("[dim]left"), TimeRemainingColumn()]
        self._bar = RichProgress(*columns, *times, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=epochs, completed=start, text="")
        self._bar.start()

    def batch(self, epoch: int, done: float, of: int) -> None:
        self._bar.update(self._task, completed=epoch - 1 + done / of)

    def epoch(self, epoch: int, row: Mapping[str, float], sequences: int) -> None:
        rate = sequences / max(row["seconds"], 1e-9)
        self._bar.update(self._task, completed=epoch, text=f"{describe(row)}  [dim]{rate:.0f} sequences/s")

    def close(self) -> None:
        self._bar.stop()


def describe(row: Mapping[str, float]) -> str:
    """Loss and metrics in a line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in _QUIET)


def make_progress(progress: Any, epochs: int, start: int) -> Progress:
    """A bar where a person looks and rich is there; lines where progress is asked for; else nothing."""
    if progress not in (True, False, "auto"):
        raise ValueError(f"progress must be True, False or 'auto'; got {progress!r}.")
    if progress is False:
        return Silent()
    if sys.stderr.isatty():
        try:
            return Bar(epochs, start)
        except ImportError:
            return Lines(epochs)
    return Lines(epochs) if progress is True else Silent()


__all__ = ["Progress", "describe", "make_progress"]
