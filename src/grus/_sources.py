"""Data as the command line names it: an embedded set or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grus import _check
from grus.datasets import Sequences, load_japanese_vowels, make_dummy_strings, read_sequences

_FEW_VALUES = 20  # whole-numbered targets with more different values than this are regressed


def read_train_test(data: str, test: str | None, columns: dict[str, Any]) -> tuple[Sequences, Sequences | None]:
    """The data to train on, and to measure on if there is any: an embedded set brings its own."""
    if data in _EMBEDDED:
        train, held_out = _EMBEDDED[data]()
        return train, held_out if test is None else read(test, columns)
    return read(data, columns), None if test is None else read(test, columns)


def read(data: str, columns: dict[str, Any]) -> Sequences:
    """An embedded set's test part, or a file."""
    if data in _EMBEDDED:
        return _EMBEDDED[data]()[1]
    path = Path(data)
    if not path.exists() and not path.suffix:
        raise ValueError(
            f"there is no data {data!r}: name a file or one of {', '.join(_EMBEDDED)}."
            f"{_check.closest(data, tuple(_EMBEDDED))}"
        )
    table = path.suffix in (".csv", ".parquet")
    if table and "id_column" not in columns:
        raise ValueError(f"{data!r} is a table: say which column names the sequence, with --id.")
    return read_sequences(path, **(columns if table else {}))


def _dummy_strings() -> tuple[Sequences, Sequences]:
    """Seed 001's strings, one-hot, split as there: 320 to train on and 160 to measure on."""
    strings, labels = make_dummy_strings(seed=1)
    symbols = np.unique(strings)
    x = (strings[..., None] == symbols).astype(float)

    def part(rows: slice) -> Sequences:
        return Sequences(
            list(x[rows]), labels[rows], np.arange(480)[rows], tuple(symbols.tolist()), "dummy-strings"
        )

    return part(slice(None, 320)), part(slice(320, None))


def _japanese_vowels() -> tuple[Sequences, Sequences]:
    train, test = load_japanese_vowels()
    return train, test


_EMBEDDED: dict[str, Callable[[], tuple[Sequences, Sequences]]] = {
    "japanese-vowels": _japanese_vowels,
    "dummy-strings": _dummy_strings,
}


def guess_task(y: Any) -> str:
    """Text, and whole numbers of few values, are classes; other numbers are regressed."""
    whole = y.dtype.kind in "biuUO" or (y == np.round(y)).all()
    return "classify" if y.dtype.kind in "bUO" or (whole and len(np.unique(y)) <= _FEW_VALUES) else "regress"
