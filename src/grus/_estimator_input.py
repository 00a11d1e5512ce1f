"""What the estimators take: X in each of its forms, and weights, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from grus import _check

Array = np.ndarray[Any, np.dtype[Any]]
Rows = Array | list[Array]  # (N, T, I), or N arrays (T_i, I)
_FORMS = "a list of (T, features) arrays, an (N, T, features) array, or an (N, T) array or table"


def as_sequences(estimator: Any, X: Any, reset: bool) -> Rows:
    """X in any of its forms as (N, T, I) or N arrays (T_i, I), finite, float32 or float64.

    With ``reset``, the estimator learns here how many features there are and in which form they came; without, X
    is held against that.
    """
    X = _in_known_form(X)
    x = _from_list(X) if isinstance(X, list) else _from_array(estimator, X, reset)
    if x is None:  # a table: scikit-learn's own rules count its columns
        x = _from_table(estimator, X, reset)
    elif reset:
        estimator.n_features_in_, estimator._table = x[0].shape[1], False
        vars(estimator).pop("feature_names_in_", None)  # of an earlier fit on a data frame
    elif x[0].shape[1] != (expected := 1 if estimator._table else estimator.n_features_in_):
        raise ValueError(_features_message(estimator, x[0].shape[1], expected) + ".")
    return _finite(x)


def _in_known_form(X: Any) -> Any:
    """A list of sequences, or an array; whatever has two axes (a data frame, a sparse matrix) stays as it is."""
    if isinstance(X, (list, tuple)):
        return np.asarray(X) if _is_table(X) else list(X)
    if len(getattr(X, "shape", ())) == 2:
        return X
    X = np.asarray(X)
    if X.ndim == 0:
        raise TypeError(f"X must be {_FORMS}; got {type(X[()]).__name__}.")
    return list(X) if X.ndim == 1 and X.dtype == object else X


def _is_table(X: Sequence[Any]) -> bool:
    """Lists of numbers in a list, all of one length, are the rows of an (N, T) table, as in scikit-learn."""
    if not all(isinstance(row, (list, tuple)) and all(np.ndim(value) == 0 for value in row) for row in X):
        return False
    return len(X) > 0 and len({len(row) for row in X}) == 1


def _from_list(X: list[Any]) -> list[Array]:
    """N arrays (T_i, I), or (T_i,) where there is one feature."""
    if not X:
        raise ValueError("X must hold at least one sequence; got none.")
    x = []
    for i, each in enumerate(X):
        sequence = _numbers(f"X[{i}]", _check.array(f"X[{i}]", each))
        if sequence.ndim not in (1, 2):
            raise ValueError(
                f"X[{i}] must have shape (T, features), or (T,) for one feature; got {sequence.shape}."
            )
        x.append(sequence[:, None] if sequence.ndim == 1 else sequence)
        if not all(x[i].shape) or x[i].shape[1] != x[0].shape[1]:
            expected = f"(T, {x[0].shape[1] or 'features'})"
            raise ValueError(
                f"X[{i}] must have shape {expected} with at least one step, as all sequences have the same "
                f"features; got {sequence.shape}."
            )
    return x


def _from_array(estimator: Any, X: Any, reset: bool) -> Array | None:
    """(N, T, I); None where X has two axes."""
    if len(X.shape) == 2:
        return None
    if X.ndim != 3:
        raise ValueError(f"X must be {_FORMS}; got an array of shape {X.shape}. Reshape your data.")
    if not all(X.shape):
        raise ValueError(f"X must hold at least one sequence, step and feature; got shape {X.shape}.")
    return _numbers("X", X)


def _from_table(estimator: Any, X: Any, reset: bool) -> Array:
    """(N, T) as (N, T, 1)."""
    if reset or estimator._table:
        table = validate_data(estimator, X, reset=reset, ensure_all_finite=False)
        estimator._table = True
    else:
        table = check_array(X, ensure_all_finite=False, estimator=estimator, input_name="X")
        if estimator.n_features_in_ != 1:
            raise ValueError(
                f"{_features_message(estimator, 1, estimator.n_features_in_)}: an array of shape {table.shape} "
                f"reads as {len(table)} sequences of one feature. If it is one sequence, pass [X]."
            )
    return _numbers("X", table)[:, :, None]


def _features_message(estimator: Any, got: int, expected: int) -> str:
    """In scikit-learn's words."""
    return f"X has {got} features, but {type(estimator).__name__} is expecting {expected} features as input"


def _numbers(name: str, values: Array) -> Array:
    """Real numbers as float32 or float64."""
    if values.dtype == object:
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must hold numbers; got dtype object with something else inside.") from None
    if values.dtype.kind not in "biuf" or values.dtype == np.float16:
        advice = " Pass it as .astype('float32')." if values.dtype == np.float16 else ""
        raise TypeError(f"{name} must hold float32, float64 or whole numbers; got dtype {values.dtype}.{advice}")
    return values if values.dtype == np.float32 else values.astype(np.float64, copy=False)


def _finite(x: Rows) -> Rows:
    for i, sequence in enumerate(x):
        bad = np.argwhere(~np.isfinite(sequence))
        if len(bad):
            step, feature = bad[0]
            what = "NaN" if np.isnan(sequence[step, feature]) else "infinity"
            raise ValueError(
                f"X must be finite; got {what} in sequence {i}, step {step}, feature {feature}. Fill it in, or "
                "leave that sequence out; grus.nn.GRUD takes missing values as NaN."
            )
    return x


def as_weights(sample_weight: Any, count: int) -> Array:
    """(N,) float64; ones when omitted."""
    if sample_weight is None:
        return np.ones(count)
    weight = np.asarray(sample_weight)
    if weight.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight must hold numbers; got dtype {weight.dtype}.")
    weight = _check.shaped("sample_weight", weight.astype(np.float64), (count,), f"X holds {count} sequences")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"sample_weight must be finite and at least 0; got {weight.min():g} ... {weight.max():g}."
        )
    if not weight.any():
        raise ValueError("sample_weight must be above 0 for at least one sequence; got weights that are all zero.")
    return weight
