"""The commands, with typer and rich: ``train``, ``evaluate``, ``predict``, ``info``; others hang in here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from grus import _check, _convert_commands, _runs
from grus._console import console, two_columns
from grus._engine import cpu_info, engine_name
from grus.io import inspect, load

_HELP = """Train Gated Recurrent Units on sequences, and use them.

Begin with: [bold]grus train japanese-vowels[/]

[bold]DATA[/] is a name, [bold]japanese-vowels[/] or [bold]dummy-strings[/], or a file:

- [bold].csv[/], [bold].parquet[/]: a row is a time step; --id, --time and --target name its columns

- [bold].npz[/]: x (N, T, I), or x (steps, I) and lengths (N,); y (N,)

- [bold].ts[/]: of the time-series archives (pip install "grus\\[ts]")
"""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=_HELP,
)
Data = Annotated[str, typer.Argument(help="A name or a file, see above.", metavar="DATA")]
ModelFile = Annotated[Path, typer.Argument(help="A file that grus train wrote.", metavar="MODEL")]
IdColumn = Annotated[str | None, typer.Option("--id", help="Table: the column that names the sequence.")]
TimeColumn = Annotated[str | None, typer.Option("--time", help="Table: the column that orders its rows.")]
TargetColumn = Annotated[str | None, typer.Option("--target", help="Table: the column to predict.")]
Features = Annotated[
    str | None, typer.Option(help="Table: the columns to read, with commas; all others if omitted.")
]
Missing = Annotated[str | None, typer.Option(help="Table: missing values are an error, zero, or forward-filled.")]
Metrics = Annotated[Path | None, typer.Option(help="Write the numbers to this file, as JSON.")]


@app.command(
    help=(
        "Train a model; write it, its metrics and its learning curve.\n\n"
        "Ctrl-C stops early and keeps the best model so far. A run that was killed goes on with --resume and "
        "ends with the same numbers as if it had never stopped.\n\n"
        "What is not given is as in GRUClassifier or GRURegressor."
    ),
    epilog="Example: grus train runs.csv --id run --time t --target fault --test later.csv --out fault.model",
)
def train(
    data: Data,
    task: Annotated[str | None, typer.Option(help="classify or regress; from the targets if omitted.")] = None,
    test: Annotated[str | None, typer.Option(help="A file to measure on, never trained on.")] = None,
    out: Annotated[Path | None, typer.Option(help="The model file; DATA's name .safetensors if omitted.")] = None,
    metrics: Metrics = None,
    hidden: Annotated[int | None, typer.Option(help="Units.")] = None,
    layers: Annotated[int | None, typer.Option(help="Layers.")] = None,
    bidirectional: Annotated[bool | None, typer.Option(help="Read from both ends.")] = None,
    pool: Annotated[str | None, typer.Option(help="What a sequence is judged by: last, mean or max.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Rate.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the optimiser.")] = None,
    early_stopping: Annotated[bool | None, typer.Option(help="Hold out a tenth; keep the best epoch.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped run of the same command stood.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing model file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    target_column: TargetColumn = None,
    features: Features = None,
    missing: Missing = None,
) -> None:
    settings = {
        "hidden_size": hidden, "num_layers": layers, "bidirectional": bidirectional, "pool": pool,
        "dropout": dropout, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "early_stopping": early_stopping,
    }  # fmt: skip
    columns = _columns(id_column, time_column, target_column, features, missing)
    files = _runs.Files.of(out or Path(f"{Path(data).stem}.safetensors"), metrics)
    files.check(force or resume)
    run = _runs.Run(data, test, columns, task, {k: v for k, v in settings.items() if v is not None}, seed, resume)
    report = run.train(files, progress=not quiet, tell=console.print)
    _print_scores(report["test"] or report["training"], "test" if report["test"] else "training")
    console.print(f"model     [bold]{files.model}[/]\nmetrics   {files.metrics}\npicture   {files.picture}")
    if report["interrupted"]:
        raise typer.Exit(130)


@app.command(epilog="Example: grus evaluate japanese-vowels.safetensors japanese-vowels")
def evaluate(
    model: ModelFile,
    data: Data,
    metrics: Metrics = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    target_column: TargetColumn = None,
    features: Features = None,
    missing: Missing = None,
) -> None:
    """Measure a model on data with targets. Columns that are not named are those of the training data."""
    columns = _columns(id_column, time_column, target_column, features, missing)
    scores = _runs.evaluate(model, data, columns)
    _print_scores(scores, data)
    if metrics is not None:
        _runs.write_json(metrics, scores)


@app.command(epilog="Example: grus predict fault.safetensors new.csv --out predictions.csv")
def predict(
    model: ModelFile,
    data: Data,
    out: Annotated[Path, typer.Option(help="The file to write: .csv or .parquet.")] = Path("predictions.csv"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    features: Features = None,
    missing: Missing = None,
) -> None:
    """Predict every sequence of the data, with the probability of each class, into a table."""
    _check.choice("the ending of --out", out.suffix, (".csv", ".parquet"))
    _runs.check_absent(out, force)
    table = _runs.predict(model, data, _columns(id_column, time_column, None, features, missing))
    _runs.write_table(out, table)
    console.print(f"{len(table)} predictions   [bold]{out}[/]")


@app.command(epilog="Example: grus info japanese-vowels.safetensors")
def info(
    model: Annotated[
        Path | None, typer.Argument(help="A model file, to see what it holds.", metavar="[MODEL]")
    ] = None,
) -> None:
    """Show what grus runs on, and what a model file holds."""
    import grus

    rows: dict[str, Any] = {"grus": grus.__version__, "engine": engine_name()}
    rows |= {name.replace("_", " "): _text(value) for name, value in cpu_info().items()}
    console.print(two_columns("this machine", rows))
    if model is not None:
        header = inspect(model)
        rows = {"kind": header["kind"], "written by grus": header["grus_version"], **_runs.described(header)}
        console.print(two_columns(str(model), rows))
        loaded = load(model)
        console.print(repr(loaded))


def _columns(*values: Any) -> dict[str, Any]:
    """What of a table to read; only what was asked for."""
    names = ("id_column", "time_column", "target_column", "features", "missing")
    given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if "features" in given:
        given["features"] = [name.strip() for name in given["features"].split(",")]
    return given


def _print_scores(scores: dict[str, Any], name: str) -> None:
    """A line for each number, and a table where there are classes."""
    for key, value in scores.items():
        if isinstance(value, float):
            console.print(
                f"{name} {key} [bold]{value:.4f}[/]"
                + (f" on {scores['sequences']} sequences" if key in ("accuracy", "r2") else "")
            )
    if "classes" in scores:
        table = Table("class", "precision", "recall", "F1", "sequences", title=None, box=None)
        for row in scores["classes"]:
            table.add_row(
                str(row["class"]), *(f"{row[k]:.3f}" for k in ("precision", "recall", "f1")), str(row["sequences"])
            )
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


_convert_commands.hang_into(app)

__all__ = ["app"]
