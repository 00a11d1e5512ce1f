"""Long-form tables: one row per time step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grus.datasets._messages import file_error
from grus.datasets._missing import check_missing_choice, fill_missing
from grus.datasets._paths import existing_file
from grus.datasets._sequences import Sequences
from grus.datasets._table_columns import (
    check_arguments,
    check_present,
    codes_and_values,
    feature_columns,
    feature_values,
    time_ranks,
)
from grus.datasets._table_frame import read_frame

if TYPE_CHECKING:
    import pandas as pd

    from grus.datasets._sequences import AnyArray


def read_table(
    path: str | os.PathLike[str],
    *,
    id_column: str,
    time_column: str | None = None,
    target_column: str | None = None,
    features: Sequence[str] | None = None,
    missing: str = "error",
) -> Sequences:
    """Read a ``.csv`` or ``.parquet`` table that has one row per time step.

    Parameters
    ----------
    path : str or path object
        The table: a comma-separated text file in UTF-8 with a header line, or parquet.
    id_column : str
        The column that names the sequence a row belongs to. A sequence's rows need not be adjacent.
    time_column : str, optional
        The column (numbers, dates, or text that is ISO 8601 dates) that orders the rows of a sequence.
        Without it the order is the file's. It isn't a feature unless ``features`` names it.
    target_column : str, optional
        The column with the sequence's class or number: the same in all rows of a sequence.
    features : sequence of str, optional
        The columns of ``x``, in this order; numbers or booleans. By default all columns but the three
        above, in the file's order; one that isn't numeric is an error, so none is left out unseen.
    missing : {"error", "zero", "forward", "keep"}, default "error"
        What to do about missing feature values: refuse them, put 0, repeat the feature's last value
        in the same sequence (0 where there is none before), or keep NaN, for :class:`grus.nn.GRUD`.

    Returns
    -------
    Sequences
        In the order in which the identifiers first appear. float32 if all features are, else float64.
        Identifiers of a csv are int64 if all are plain integers, else text (``007`` isn't 7); targets of a
        csv are int64, else float64 if all are numbers, else text. Parquet says its own types.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ImportError
        pandas (or, for parquet, pyarrow) isn't installed.
    ValueError
        The file can't be read or has no rows; a column isn't there, isn't numeric or has missing values;
        two rows of a sequence have the same time, or different targets. The message says where.
    TypeError
        An argument has the wrong type.

    Notes
    -----
    "Data row 1" in a message is the first below the header. Missing in a csv are empty cells and what
    pandas takes for one: NA, NaN, None, null, ….

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from grus.datasets import read_table
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "walks.csv"
    >>> _ = path.write_text("who,t,height,label\\nann,2,1.5,up\\nann,1,1.0,up\\nbob,1,3.0,down\\n")
    >>> data = read_table(path, id_column="who", time_column="t", target_column="label")
    >>> data
    Sequences('walks': 2 sequences, lengths 1 to 2, 1 feature, float64, 2 classes)
    >>> data.x[0].ravel(), data.y, data.ids
    (array([1. , 1.5]), array(['up', 'down'], dtype='<U4'), array(['ann', 'bob'], dtype='<U3'))
    >>> folder.cleanup()
    """
    file = existing_file(path, (".csv", ".parquet"))
    check_missing_choice(missing)
    columns = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    check_arguments(columns, features)
    frame = read_frame(file, id_column, target_column)
    check_present(file, frame, columns, features)
    names = feature_columns(frame, columns, features, file)
    values = feature_values(file, frame, names)
    owner, ids = codes_and_values(file, frame, id_column)
    order, starts = _order(file, frame, time_column, owner, ids)
    x = np.split(values[order], starts[1:])
    rows = np.split(order + 1, starts[1:])
    x = fill_missing(x, missing, path=file, ids=ids, feature_names=names, rows=rows)
    y = None if target_column is None else _targets(file, frame, target_column, owner, ids)
    return Sequences(x, y, ids, tuple(names), file.stem)


def _order(
    file: Path, frame: pd.DataFrame, time_column: str | None, owner: AnyArray, ids: AnyArray
) -> tuple[AnyArray, AnyArray]:
    """The rows sorted by sequence, then time, and where each sequence starts among them."""
    time = np.arange(len(owner)) if time_column is None else time_ranks(file, frame, time_column)
    order = np.lexsort((time, owner))
    same = np.flatnonzero((np.diff(owner[order]) == 0) & (np.diff(time[order]) == 0))
    if len(same):
        one, other = sorted(order[same[0] : same[0] + 2])
        raise file_error(
            file,
            f"a sequence must have each time once; sequence {str(ids[owner[one]])!r} has "
            f"{time_column!r} {str(frame[time_column].iloc[one])!r} in data rows {one + 1} and {other + 1}.",
        )
    return order, np.searchsorted(owner[order], np.arange(len(ids)))


def _targets(file: Path, frame: pd.DataFrame, column: str, owner: AnyArray, ids: AnyArray) -> AnyArray:
    """(N,): the one value of ``column`` in each sequence."""
    codes, values = codes_and_values(file, frame, column)
    _, first_row = np.unique(owner, return_index=True)
    changed = np.flatnonzero(codes != codes[first_row][owner])
    if len(changed):
        row = changed[0]
        before = values[codes[first_row[owner[row]]]]
        raise file_error(
            file,
            f"target column {column!r} must be the same in all rows of a sequence; "
            f"sequence {str(ids[owner[row]])!r} has {str(before)!r} and, in data row {row + 1}, "
            f"{str(values[codes[row]])!r}.",
        )
    targets: AnyArray = values[codes[first_row]]
    return targets
