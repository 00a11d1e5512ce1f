"""Text that may be numbers: identifiers and targets as a text file holds them. Codes such as 007 stay text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grus.datasets._sequences import AnyArray

_INT64_DIGITS = 18  # every integer of so many digits fits in int64


def integers_or_text(texts: Sequence[str]) -> AnyArray:
    """(N,) int64 if each text is an integer as Python writes it, else (N,) of the texts as they are."""
    if all(_is_plain_integer(text) for text in texts):
        return np.array([int(text) for text in texts], dtype=np.int64)
    return np.array(texts, dtype=np.str_)


def numbers_or_text(texts: Sequence[str]) -> AnyArray:
    """(N,) int64, else (N,) float64 if each text is a decimal number, else (N,) of the texts."""
    values = integers_or_text(texts)
    if values.dtype.kind == "i" or any(_looks_like_a_code(text) for text in texts):
        return values
    try:
        return np.array([float(text) for text in texts], dtype=np.float64)
    except ValueError:
        return values


def _is_plain_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= _INT64_DIGITS and str(int(text)) == text


def _looks_like_a_code(text: str) -> bool:
    """``"007"``, ``"1_000"``, 19 digits: as floats, different ones could become equal."""
    digits = text.lstrip("+-")
    leading_zero = digits[:1] == "0" and digits[1:2].isdigit()
    return "_" in text or leading_zero or (digits.isdigit() and len(digits) > _INT64_DIGITS)
