"""Pieces that the readers' error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


def file_error(file: Path, text: str) -> ValueError:
    """The error to raise about the content of ``file``: what was expected; what came."""
    return ValueError(f"{str(file)!r}: {text}")


def listed(names: Iterable[object], limit: int = 12) -> str:
    """``['a', 'b']`` -> ``"'a', 'b'"``; past ``limit`` names, the number of those left out."""
    shown = [repr(str(name)) for name in names]
    rest = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + rest


def closest(name: str, known: Sequence[str]) -> str:
    """``" Did you mean 'speaker'?"`` for the known name nearest to ``name``, or nothing."""
    # A name that differs only by case is the best match, and difflib would not see it.
    match = [k for k in known if k.lower() == name.lower()]
    match = match or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
