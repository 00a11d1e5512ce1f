"""What a conversion has to say besides its result."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Hand one to a converter to learn what it found, what it did, and how exact the result is.

    Attributes
    ----------
    found : dict of str to str
        What the source is: "formulation", "gate order", "update gate", "biases", "activations", "layers" ...
    notes : list of str
        What is exact but not obvious: biases that were merged, options that only act in training.
    difference : float or None
        The largest difference of the self-check: absolute where numbers are below 1, relative above.

    Examples
    --------
    >>> import grus
    >>> from grus import haste
    >>> from grus.conversion import Report
    >>> report = Report()
    >>> arrays = haste.to_haste(grus.GRU(3, 5, seed=0), report=report)
    >>> report.difference < 1e-6
    True
    """

    found: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    difference: float | None = None

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)
