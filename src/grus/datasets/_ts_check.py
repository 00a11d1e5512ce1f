"""A look over a ``.ts`` file before aeon parses it: what aeon would read wrongly without a word.

aeon reads a file that ends early as a shorter or empty one, takes the last number of a cut line for
its class, drops the signs of values with time stamps, and lower-cases class names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grus.datasets._labels import integers_or_text
from grus.datasets._messages import file_error, listed
from grus.datasets._sequences import AnyArray


@dataclass(frozen=True)
class _Header:
    tags: dict[str, list[str]]  # lower-case key -> the words after it, as written

    def says(self, key: str) -> str:
        """The first word after ``@key`` in lower case, or nothing."""
        return next(iter(self.tags.get(key, [])), "").lower()

    @property
    def name(self) -> str | None:
        return next(iter(self.tags.get("problemname", [])), None)

    @property
    def regression(self) -> bool:
        return self.says("targetlabel") == "true"

    @property
    def classes(self) -> list[str]:
        return self.tags.get("classlabel", [])[1:] if self.says("classlabel") == "true" else []

    @property
    def labelled(self) -> bool:
        """Whether aeon takes what follows the last colon of a line as its label."""
        return self.regression or self.says("classlabel") != "false"


def check_ts(file: Path) -> tuple[str, AnyArray | None]:
    """The problem's name and the labels, (N,) or None, of a file that has passed every check."""
    try:
        with file.open(encoding="utf-8") as stream:
            lines = enumerate(stream, start=1)
            header = _header(file, lines)
            labels = list(_labels(file, header, lines))
    except UnicodeDecodeError as error:
        raise file_error(file, f"must be .ts text in UTF-8; {error}.") from None
    if not labels:
        raise file_error(file, "must have at least one line after @data; it has none. Is the file cut off?")
    return header.name or file.stem, _targets(header, labels)


def _header(file: Path, lines: Iterator[tuple[int, str]]) -> _Header:
    """Read up to ``@data``."""
    tags: dict[str, list[str]] = {}
    for _, line in lines:
        key, *words = line.split() or ["#"]
        if key.lower() == "@data":
            break
        if key.startswith("@"):
            tags[key[1:].lower()] = words
    else:
        raise file_error(file, "must have a line '@data'; there is none. Is it a .ts file, or cut off?")
    header = _Header(tags)
    if header.says("timestamps") not in ("", "false"):
        raise file_error(
            file,
            "must have '@timestamps false': with time stamps aeon loses the signs. Write the file without them.",
        )
    return header


def _labels(file: Path, header: _Header, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """The label of each line of data ("" without), once the line has all its dimensions."""
    dimensions = _dimensions(file, header)
    for number, line in lines:
        parts = line.strip().split(":")
        label = parts.pop().strip() if header.labelled else ""
        dimensions = dimensions or len(parts)
        if len(parts) != dimensions or not dimensions:
            wanted = f"{dimensions or 'its'} dimensions" + (" and a label" if header.labelled else "")
            got = "is empty" if not line.strip() else f"has {len(parts) + header.labelled} parts between colons"
            raise file_error(file, f"line {number} must have {wanted}; it {got}. Is the file cut off?")
        _check_label(file, header, number, label)
        yield label


def _dimensions(file: Path, header: _Header) -> int | None:
    # The repository's files say @dimensions, those that aeon writes @dimension.
    text = header.says("dimensions") or header.says("dimension")
    if not text:
        return 1 if header.says("univariate") == "true" else None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise file_error(file, f"@dimensions must be followed by a number of at least 1; got {text!r}.")
    return int(text)


def _check_label(file: Path, header: _Header, number: int, label: str) -> None:
    if header.regression:
        try:
            expected = None if np.isfinite(float(label)) else "a finite number"
        except ValueError:
            expected = "a number"
    elif header.classes:
        expected = None if label in header.classes else f"one of the declared classes {listed(header.classes)}"
    else:
        # aeon writes files without targets so: nothing declared, and nothing after the last colon.
        expected = "empty, because the header has neither '@classLabel true …' nor '@targetLabel true'"
        expected = expected if label else None
    if expected:
        raise file_error(
            file, f"the label in line {number} must be {expected}; got {label[:40]!r}. Is the file cut off?"
        )


def _targets(header: _Header, labels: list[str]) -> AnyArray | None:
    if header.regression:
        return np.array([float(label) for label in labels], dtype=np.float64)
    return integers_or_text(labels) if header.classes else None
