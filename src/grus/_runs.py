"""What the commands do: read data, train, measure, predict, and write files."""

from __future__ import annotations

import io
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grus import _check
from grus._engine import cpu_info, engine_name
from grus._files import write_atomically
from grus._measure import measure
from grus._sources import guess_task, read, read_train_test
from grus.datasets import Sequences
from grus.io import inspect, load, save
from grus.report import plot_history

if TYPE_CHECKING:
    import pandas as pd

    from grus.estimators import GRUClassifier, GRURegressor


@dataclass(frozen=True)
class Files:
    """Where a training run writes."""

    model: Path
    metrics: Path
    picture: Path
    checkpoint: Path

    @classmethod
    def of(cls, model: Path, metrics: Path | None) -> Files:
        """Beside the model file, under its name."""
        return cls(
            model,
            metrics or model.with_suffix(".metrics.json"),
            model.with_suffix(".png"),
            model.with_suffix(".checkpoint"),
        )

    def check(self, replace: bool) -> None:
        """Find out before training, not after, that the files can't be written."""
        for path in (self.model, self.metrics):
            if not path.parent.is_dir():
                raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; make it first.")
        for path in (self.model, self.metrics, self.picture):
            check_absent(path, replace)


def check_absent(path: Path, replace: bool) -> None:
    """What the user has is not replaced unasked."""
    if path.exists() and not replace:
        raise FileExistsError(f"{str(path)!r} exists. Name another file with --out, or replace it with --force.")


@dataclass
class Run:
    """One training run of the command line."""

    data: str
    test: str | None
    columns: dict[str, Any]
    task: str | None
    settings: dict[str, Any]
    seed: int
    resume: bool

    def train(self, files: Files, progress: bool, tell: Callable[[str], None]) -> dict[str, Any]:
        """Train, measure, write the three files; returns what the metrics file holds."""
        train, test = read_train_test(self.data, self.test, self.columns)
        estimator = self._estimator(train, files, progress)
        tell(f"[bold]{train!r}[/]")
        started, interrupted = time.perf_counter(), False
        try:
            estimator.fit(train.x, train.y)
        except KeyboardInterrupt:
            if not hasattr(estimator, "history_") or not estimator.history_.epochs:
                raise
            interrupted = True
            best = estimator.history_.best_epoch
            tell(f"[yellow]Interrupted: the best model so far, of epoch {best}, is kept.[/]")
        report = self._report(estimator, train, test, time.perf_counter() - started, interrupted)
        notes = {"data": self.data, "columns": self.columns, "features": train.feature_names}
        save(estimator, files.model, notes=notes)
        write_json(files.metrics, report)
        final = {k: v for k, v in (report["test"] or {}).items() if isinstance(v, float)}
        title = f"{self.data}: {type(estimator).__name__}, {estimator.hidden_size} units"
        plot_history(estimator.history_, files.picture, title=title, final=final)
        return report

    def _estimator(self, train: Sequences, files: Files, progress: bool) -> Any:
        from grus.estimators import GRUClassifier, GRURegressor

        if train.y is None:
            raise ValueError(f"{self.data!r} has no targets to learn. Name their column with --target.")
        task = _check.choice("--task", self.task or guess_task(train.y), ("classify", "regress"))
        kind = GRUClassifier if task == "classify" else GRURegressor
        common: dict[str, Any] = {"checkpoint": str(files.checkpoint), "resume": self.resume, "progress": progress}
        return kind(**self.settings, **common, random_state=self.seed)

    def _report(
        self, estimator: Any, train: Sequences, test: Sequences | None, seconds: float, interrupted: bool
    ) -> dict[str, Any]:
        """Everything about the run that a person or a program may ask for later."""
        return {
            "data": self.data,
            "test_data": self.test,
            "model": type(estimator).__name__,
            "settings": {k: v if _plain(v) else repr(v) for k, v in estimator.get_params().items()},
            "parameters": int(estimator.model_.flat.size),
            "seed": self.seed,
            "seconds": seconds,
            "interrupted": interrupted,
            "best_epoch": estimator.history_.best_epoch,
            "training": measure(estimator, train),
            "test": None if test is None else measure(estimator, test),
            "history": dict(estimator.history_),
            "versions": {"grus": version("grus"), "numpy": np.__version__, "python": platform.python_version()},
            "engine": engine_name(),
            "machine": cpu_info(),
        }


def _plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, type(None)))


def evaluate(model: Path, data: str, columns: dict[str, Any]) -> dict[str, Any]:
    """A model's scores on data."""
    estimator, sequences = _model_and_data(model, data, columns)
    return measure(estimator, sequences)


def predict(model: Path, data: str, columns: dict[str, Any]) -> pd.DataFrame:
    """Id, prediction and each class's probability of every sequence, as a table."""
    import pandas as pd

    estimator, sequences = _model_and_data(model, data, columns, targets=False)
    table = pd.DataFrame({"id": sequences.ids, "prediction": estimator.predict(sequences.x)})
    if hasattr(estimator, "classes_"):
        probabilities = estimator.predict_proba(sequences.x)
        for label, column in zip(estimator.classes_, probabilities.T, strict=True):
            table[f"probability_{label}"] = column
    return table


def _model_and_data(
    model: Path, data: str, columns: dict[str, Any], targets: bool = True
) -> tuple[GRUClassifier | GRURegressor, Sequences]:
    """The model, and data read as its training data was unless told otherwise."""
    header = inspect(model)
    if not header["kind"].startswith(("GRUC", "GRUR")):
        raise ValueError(
            f"{str(model)!r} holds a {header['kind']}; this command needs a model that grus train wrote."
        )
    known = dict(header["notes"].get("columns", {}))
    if data.endswith((".csv", ".parquet")):
        known.setdefault("features", list(header["notes"].get("features", [])) or None)
    known |= columns
    if not targets:
        known.pop("target_column", None)
    return load(model), read(data, known)


def described(header: dict[str, Any]) -> dict[str, Any]:
    """What a model file's header tells a person."""
    arrays = header["arrays"].items()
    rows = {name: f"{shape} {dtype}" for name, (shape, dtype) in arrays}
    notes = {f"note: {name}": value for name, value in header["notes"].items() if value}
    return notes | rows


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a csv or parquet file whole or not at all."""
    buffer = io.BytesIO()
    if path.suffix == ".parquet":
        table.to_parquet(buffer, index=False)
    else:
        table.to_csv(buffer, index=False)
    write_atomically(path, buffer.getvalue())
