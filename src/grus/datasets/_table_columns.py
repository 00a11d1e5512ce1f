"""The columns of a table: which ones are asked for, whether they hold what they must, their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grus.datasets._messages import closest, file_error, listed

if TYPE_CHECKING:
    import pandas as pd

    from grus.datasets._sequences import AnyArray, FloatArray


def check_arguments(columns: Mapping[str, str | None], features: Sequence[str] | None) -> None:
    """Types, and that no column is asked for in two roles that exclude each other; before any file is read."""
    for argument, name in columns.items():
        optional = " or None" if argument != "id_column" else ""
        if not isinstance(name, str) and not (optional and name is None):
            raise TypeError(f"{argument} must be a column name, a str{optional}; got {name!r}.")
    names = [name for name in columns.values() if name is not None]
    if len(set(names)) != len(names):
        raise ValueError(f"id_column, time_column and target_column must differ; got {listed(names)}.")
    if features is None:
        return
    if isinstance(features, str) or not all(isinstance(name, str) for name in features):
        raise TypeError(f"features must be a list of column names; got {features!r}.")
    if len(features) == 0 or len(set(features)) != len(features):
        raise ValueError(f"features must name at least one column, none twice; got {list(features)!r}.")
    for role in ("id_column", "target_column"):
        if columns[role] in features:
            raise ValueError(
                f"features must not hold the {role} {columns[role]!r}: a model would read its answer from it."
            )


def check_present(
    file: Path, frame: pd.DataFrame, columns: Mapping[str, str | None], features: Sequence[str] | None
) -> None:
    """Each named column is there."""
    known = [str(name) for name in frame.columns]
    for argument, name in [
        *columns.items(),
        *(("features", name) for name in (() if features is None else features)),
    ]:
        if name is not None and name not in known:
            hint = closest(name, known) or (" Are they separated by commas?" if len(known) == 1 else "")
            raise file_error(
                file,
                f"{argument} must name a column; there is no {name!r}. The columns are {listed(known)}.{hint}",
            )


def feature_columns(
    frame: pd.DataFrame, columns: Mapping[str, str | None], features: Sequence[str] | None, file: Path
) -> list[str]:
    """The names in ``features``, or all columns that have no other role."""
    if features is not None:
        return list(features)
    names = [str(name) for name in frame.columns if name not in columns.values()]
    if not names:
        raise file_error(
            file,
            "must have at least one feature column besides "
            f"{listed(name for name in columns.values() if name is not None)}; it has no other column.",
        )
    if any(name.startswith("Unnamed: ") for name in names):  # pandas' word for it, which is easily row numbers
        place = 1 + [str(name).startswith("Unnamed: ") for name in frame.columns].index(True)
        named = [name for name in names if not name.startswith("Unnamed: ")]
        raise file_error(
            file,
            f"each column must have a name; column {place} has none, and may hold row numbers. Write the table "
            f"without an index, or name the columns to use: features={named!r}.",
        )
    return names


def feature_values(file: Path, frame: pd.DataFrame, names: Sequence[str]) -> FloatArray:
    """(rows, I) float32 or float64, missing values as NaN."""
    for name in names:
        sample = _not_a_number(frame[name])
        if sample is not None:
            numeric = [other for other in names if _not_a_number(frame[other]) is None]
            raise file_error(
                file,
                f"feature column {name!r} must be numeric; it holds {sample!r}. Correct the file, "
                f"or name the columns to use: features={numeric!r}.",
            )
    kinds = {str(frame[name].dtype).lower() for name in names}
    dtype = "float32" if kinds == {"float32"} else "float64"
    return np.column_stack([frame[name].to_numpy(dtype=dtype, na_value=np.nan) for name in names])


def _not_a_number(column: pd.Series[Any]) -> str | None:
    """A value of ``column`` that is no real number, as text; None if all are numbers, booleans or missing."""
    import pandas as pd

    present = column.dropna()
    if column.dtype.kind in "biuf" or present.empty:
        return None
    wrong = present[pd.to_numeric(present.astype(str), errors="coerce").isna()]
    return str((present if wrong.empty else wrong).iloc[0])


def codes_and_values(file: Path, frame: pd.DataFrame, name: str) -> tuple[AnyArray, AnyArray]:
    """A column as (rows,) integers and the distinct values they stand for, in order of first appearance."""
    codes, values = frame[name].factorize()
    _check_complete(file, name, codes)
    return codes, _plain_array(values.tolist())


def time_ranks(file: Path, frame: pd.DataFrame, name: str) -> AnyArray:
    """(rows,) integers in the order of the times in a column of numbers, dates or ISO 8601 text."""
    import pandas as pd

    times = frame[name]
    if times.dtype.kind not in "biufmM":  # numbers, durations, dates
        try:
            times = pd.to_datetime(times, format="ISO8601", utc=True)
        except (ValueError, TypeError) as error:
            raise file_error(
                file,
                f"time column {name!r} must hold numbers or ISO 8601 dates such as "
                f"2024-05-31T12:00:00; pandas says: {error}.",
            ) from None
    codes, _ = times.factorize(sort=True)
    _check_complete(file, name, codes)
    return np.asarray(codes)


def _check_complete(file: Path, name: str, codes: AnyArray) -> None:
    gaps = np.flatnonzero(codes < 0)
    if len(gaps):
        raise file_error(
            file,
            f"column {name!r} must have a value in every row; it is missing in {len(gaps)} of "
            f"{len(codes)}, first in data row {gaps[0] + 1} (empty, NA, None and null all count as missing).",
        )


def _plain_array(values: list[Any]) -> AnyArray:
    """A NumPy array of numbers, booleans or text: never of Python objects."""
    array = np.array(values)
    if array.dtype.kind in "biufU":
        return array
    if all(isinstance(value, Number) for value in values):
        return np.array(values, dtype=np.float64)
    return np.array([str(value) for value in values], dtype=np.str_)
