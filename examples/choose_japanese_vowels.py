"""Choose a classifier's settings for Japanese Vowels by cross-validation on its 270 training utterances alone.

Three rounds: the shape of the model; then how the two best shapes are trained, each by 5-fold cross-validation;
then the four best settings again, with two more splits and seeds. The winner has the highest mean accuracy, and
where that is equal the lowest log loss. The 370 test utterances are never looked at.

Takes about a quarter of an hour on two cores; ``--quick`` runs a tiny version in seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold

from grus.datasets import load_japanese_vowels
from grus.estimators import GRUClassifier

Settings = dict[str, Any]
Row = dict[str, Any]
SHAPES = ParameterGrid(
    {
        "bidirectional": [False, True],
        "pool": ["last", "mean", "max"],
        "hidden_size": [32, 64],
        "dropout": [0.0, 0.3],
        "learning_rate": [0.01],
        "epochs": [60],
    }
)
CHANGES: list[Settings] = [{"learning_rate": 0.003}, {"epochs": 30}, {"epochs": 120}, {"dropout": 0.5}]
QUICK_SHAPES = ParameterGrid({"pool": ["last", "mean"], "hidden_size": [8], "epochs": [3]})


class Search:
    """What was measured so far, setting by setting."""

    def __init__(self, X: list[Any], y: Any, folds: int, jobs: int) -> None:
        self.X, self.y, self.folds, self.jobs = X, y, folds, jobs
        self.found: dict[str, Row] = {}

    def measure(self, candidates: list[Settings], seeds: range) -> None:
        """Cross-validate each candidate once for every seed, which decides the split and the training alike."""
        for seed in seeds:
            started = time.perf_counter()
            search = GridSearchCV(
                GRUClassifier(random_state=seed),
                [{name: [value] for name, value in each.items()} for each in candidates],
                cv=StratifiedKFold(self.folds, shuffle=True, random_state=seed),
                scoring=("accuracy", "neg_log_loss"),
                refit=False,
                n_jobs=self.jobs,
            )
            self._add(search.fit(self.X, self.y).cv_results_)
            print(f"{len(candidates)} settings, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)

    def _add(self, results: dict[str, Any]) -> None:
        folds = [f"split{i}_test" for i in range(self.folds)]
        for i, settings in enumerate(results["params"]):
            empty = {"settings": settings, "accuracy": [], "log_loss": [], "seconds": []}
            row = self.found.setdefault(key(settings), empty)
            row["accuracy"] += [float(results[f"{fold}_accuracy"][i]) for fold in folds]
            row["log_loss"] += [float(-results[f"{fold}_neg_log_loss"][i]) for fold in folds]
            row["seconds"] += [float(results["mean_fit_time"][i])]

    def table(self) -> list[Row]:
        """One row a setting, those that were measured most often first, then by accuracy and log loss."""
        rows = [summarised(row) for row in self.found.values()]
        return sorted(rows, key=lambda row: (-row["fits"], -row["accuracy"], row["log_loss"]))

    def best(self, count: int) -> list[Settings]:
        """The settings of the first rows."""
        return [row["settings"] for row in self.table()[:count]]


def key(settings: Settings) -> str:
    """Equal settings, equal text."""
    return json.dumps(settings, sort_keys=True)


def summarised(row: Row) -> Row:
    """Means over all folds and seeds, and the standard error of the mean accuracy."""
    accuracy = np.array(row["accuracy"])
    return {
        "settings": row["settings"],
        "accuracy": round(float(accuracy.mean()), 5),
        "standard_error": round(float(accuracy.std(ddof=1) / np.sqrt(len(accuracy))), 5),
        "log_loss": round(float(np.mean(row["log_loss"])), 5),
        "fits": len(accuracy),
        "seconds_per_fit": round(float(np.mean(row["seconds"])), 2),
    }


def show(table: list[Row]) -> None:
    """Print the table."""
    print("\naccuracy   +-      log loss  fits  s/fit  settings")
    for row in table:
        settings = "  ".join(f"{name}={value}" for name, value in row["settings"].items())
        print(
            f"{row['accuracy']:.4f}   {row['standard_error']:.4f}   {row['log_loss']:.4f}  {row['fits']:4d}  "
            f"{row['seconds_per_fit']:5.1f}  {settings}"
        )


def search_fully(search: Search) -> None:
    """The three rounds."""
    search.measure(list(SHAPES), range(1))
    search.measure([shape | change for shape in search.best(2) for change in CHANGES], range(1))
    search.measure(search.best(4), range(1, 3))


def main() -> None:
    """Search, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny version, to see that it runs")
    parser.add_argument("--jobs", type=int, default=2, help="fits at the same time (default 2)")
    parser.add_argument("--output", type=Path, default=Path("japanese_vowels_cv.json"), help="where results go")
    arguments = parser.parse_args()
    train = load_japanese_vowels().train
    if arguments.quick:
        search = Search(train.x[::5], train.y[::5], folds=2, jobs=1)
        search.measure(list(QUICK_SHAPES), range(1))
    else:
        search = Search(train.x, train.y, folds=5, jobs=arguments.jobs)
        search_fully(search)
    table = search.table()
    show(table)
    result = {"data": repr(train), "folds": search.folds, "winner": table[0]["settings"], "table": table}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
