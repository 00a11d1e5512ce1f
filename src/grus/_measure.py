"""How good an estimator is on data, in numbers that JSON can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from grus.datasets import Sequences


def measure(estimator: Any, data: Sequences) -> dict[str, Any]:
    """Accuracy and each class's precision, recall and F1; or R2, mean absolute and root mean square error."""
    from sklearn import metrics

    if data.y is None:
        raise ValueError("the data has no targets to measure against. Name their column with --target.")
    predicted, count = estimator.predict(data.x), len(data)
    if not hasattr(estimator, "classes_"):
        return {
            "sequences": count,
            "r2": float(metrics.r2_score(data.y, predicted)),
            "mae": float(metrics.mean_absolute_error(data.y, predicted)),
            "rmse": float(metrics.root_mean_squared_error(data.y, predicted)),
        }
    labels = np.unique(np.concatenate([np.asarray(estimator.classes_), data.y]))
    columns = metrics.precision_recall_fscore_support(data.y, predicted, labels=labels, zero_division=0.0)
    rows = [
        {"class": _native(c), "precision": float(p), "recall": float(r), "f1": float(f), "sequences": int(n)}
        for c, p, r, f, n in zip(labels, *columns, strict=True)
    ]
    matrix = metrics.confusion_matrix(data.y, predicted, labels=labels).tolist()
    accuracy = float(metrics.accuracy_score(data.y, predicted))
    return {"sequences": count, "accuracy": accuracy, "classes": rows, "confusion_matrix": matrix}


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
