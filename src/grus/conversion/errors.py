"""What a converter raises."""

from __future__ import annotations


class ConversionError(ValueError):
    """A GRU can't be converted exactly: the other side has another function, or the self-check found a difference.

    A :class:`ValueError`; the message names the reason and, where both sides ran, the largest difference.
    """
