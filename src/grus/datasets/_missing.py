"""Missing feature values: refuse them, keep them, or fill them inside each sequence. Shared by all readers.

There is no ``"mean"``: a mean over all sequences would carry the test set into training. Fit such a
filling on the training set only, after reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grus.datasets._messages import file_error, listed
from grus.datasets._sequences import AnyArray, FloatArray

CHOICES = ("error", "zero", "forward", "keep")


def check_missing_choice(missing: str) -> None:
    """Raise if ``missing`` isn't one of the choices."""
    if missing not in CHOICES:
        hint = " A mean over all sequences would leak the test set." if missing == "mean" else ""
        raise ValueError(f"missing must be one of {listed(CHOICES)}; got {missing!r}.{hint}")


def fill_missing(
    x: list[FloatArray],
    missing: str,
    *,
    path: Path,
    ids: AnyArray,
    feature_names: Sequence[str],
    rows: list[AnyArray] | None = None,
) -> list[FloatArray]:
    """Return ``x`` (T_i, I) without NaN unless it is kept; ``rows`` (T_i,): the data row of the file of a step."""
    if missing == "keep" or not any(np.isnan(sequence).any() for sequence in x):
        return x
    if missing == "error":
        raise file_error(path, _report(x, ids, feature_names, rows))
    return [_filled(sequence, missing) for sequence in x]


def _filled(sequence: FloatArray, missing: str) -> FloatArray:
    """(T, I) -> (T, I): NaN becomes 0, or the last value before it in its column (0 if there is none)."""
    if missing == "forward":
        steps = np.arange(len(sequence))[:, None]
        last_seen = np.maximum.accumulate(np.where(np.isnan(sequence), 0, steps), axis=0)
        sequence = np.take_along_axis(sequence, last_seen, axis=0)
    return np.where(np.isnan(sequence), sequence.dtype.type(0), sequence)


def _report(
    x: list[FloatArray],
    ids: AnyArray,
    feature_names: Sequence[str],
    rows: list[AnyArray] | None,
) -> str:
    gaps = [np.isnan(sequence) for sequence in x]
    per_feature = np.sum([gap.sum(axis=0) for gap in gaps], axis=0)
    where = [f"{feature_names[j]} ({per_feature[j]})" for j in np.flatnonzero(per_feature).tolist()]
    # The first gap in the file; without rows that is the first one of the first sequence that has one.
    row, i, step = min(
        (rows[i][step] if rows else 0, i, step)
        for i, gap in enumerate(gaps)
        for step in np.flatnonzero(gap.any(axis=1))
    )
    first = f"step {step} of sequence {str(ids[i])!r}" + (f", data row {row}" if rows else "")
    total = sum(sequence.size for sequence in x)
    return (
        f"{per_feature.sum()} of {total} feature values are missing, in {listed(where)}; the "
        f"first is at {first}. Fill them in the file, leave those features out, or pass missing='zero', "
        "missing='forward', or missing='keep' for grus.nn.GRUD."
    )
