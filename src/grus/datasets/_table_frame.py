"""A ``.csv`` or ``.parquet`` file as a pandas data frame: the only place that parses a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grus.datasets._labels import integers_or_text, numbers_or_text
from grus.datasets._messages import file_error

if TYPE_CHECKING:
    import pandas as pd


def read_frame(file: Path, id_column: str, target_column: str | None) -> pd.DataFrame:
    """The table, with at least one row and its rows numbered from 0."""
    _need_pandas()
    if file.suffix.lower() == ".csv":
        frame = _read_csv(file, id_column, target_column)
    else:
        frame = _read_parquet(file)
    if not len(frame):
        raise file_error(
            file, f"must have at least one row of data; it has only {len(frame.columns)} column names."
        )
    return frame


def _need_pandas() -> None:
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ImportError('reading a table needs pandas: pip install "grus[app]"') from None


def _read_csv(file: Path, id_column: str, target_column: str | None) -> pd.DataFrame:
    import pandas as pd

    if not file.stat().st_size:
        raise file_error(file, "must have a header line and rows of data; the file is empty.")
    text_columns = [column for column in (id_column, target_column) if column is not None]
    try:
        frame = pd.read_csv(
            file,
            # As text, for pandas would read the identifiers 007 and 7 as one number.
            dtype=dict.fromkeys(text_columns, str),
            # The exact nearest double; the default is faster and may be off in the last bit.
            float_precision="round_trip",
            # In one piece: chunks could give one column two types.
            low_memory=False,
            encoding="utf-8",
        )
    except (ValueError, OverflowError) as error:
        raise file_error(
            file, f"must be a comma-separated table in UTF-8 with a header line; pandas says: {error}."
        ) from None
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas silently takes the surplus first values as an index: every value is in the wrong column.
        raise file_error(
            file,
            f"rows have more values than the header has names ({len(frame.columns)}). "
            "Name every column, and remove commas at the end of the rows.",
        )
    return _retyped(frame, id_column, target_column)


def _retyped(frame: pd.DataFrame, id_column: str, target_column: str | None) -> pd.DataFrame:
    """Identifiers and targets of a csv as numbers, where that loses nothing."""
    for column, convert in ((id_column, integers_or_text), (target_column, numbers_or_text)):
        if column in frame.columns and column is not None:
            codes, texts = frame[column].factorize()
            if (codes >= 0).all():  # a missing one is reported later, with its row
                frame[column] = convert([str(text) for text in texts])[codes]
    return frame


def _read_parquet(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(file)
    except ImportError:
        raise ImportError('reading .parquet needs pyarrow: pip install "grus[app]"') from None
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes raise a dozen unrelated types, by where the damage is
        raise file_error(
            file, f"can't be read as .parquet. Is it damaged or cut off? pandas says: {error}."
        ) from None
    # A frame written with a named index holds the identifiers there.
    nameless = all(name is None for name in frame.index.names)
    frame = frame.reset_index(drop=nameless)
    return frame
