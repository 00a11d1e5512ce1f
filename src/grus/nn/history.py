"""What happened in training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class History(Mapping[str, list[float]]):
    """One list a quantity, one number an epoch: ``loss``, ``val_loss``, metrics, ``learning_rate``, ``seconds``.

    Attributes
    ----------
    best_epoch : int or None
        The epoch, counted from 1, with the best value of what was monitored.
    stopped : str
        Why training ended: ``"epochs"``, ``"early stopping"``, ``"callback"``, ``"interrupted"``, ``"error"``; or
        ``""`` before the end.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 0.7, "accuracy": 0.5})
    >>> history.append({"loss": 0.4, "accuracy": 0.9})
    >>> history["loss"], history.epochs
    ([0.7, 0.4], 2)
    """

    def __init__(self, columns: Mapping[str, list[float]] | None = None) -> None:
        self._columns: dict[str, list[float]] = {}
        self.replace(columns or {})
        self.best_epoch: int | None = None
        self.stopped = ""

    @property
    def epochs(self) -> int:
        """How many epochs are recorded."""
        return max(map(len, self._columns.values()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch."""
        for name, value in row.items():
            self._columns.setdefault(name, []).append(float(value))

    def replace(self, columns: Mapping[str, list[float]]) -> None:
        """Start anew from these columns."""
        self._columns = {name: list(column) for name, column in columns.items()}

    def last(self) -> dict[str, float]:
        """The last epoch's numbers."""
        return {name: column[-1] for name, column in self._columns.items()}

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.last().items()) if self.epochs else "empty"
        return f"History({self.epochs} epochs; {last})"
