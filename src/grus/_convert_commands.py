"""The commands ``convert`` and ``inspect``."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grus._console import console, escape, two_columns

if TYPE_CHECKING:
    from grus.conversion import Conversion, Recognised

_SHOWN = 12  # entries of a list
_ABOUT = """Convert the weights of a GRU from one library's file to another's: exactly, or not at all.

[bold]SOURCE[/] is a model file of grus, or ends in [bold].pt .pth .safetensors[/] (PyTorch's names), \
[bold].keras .h5[/], [bold].onnx[/], or [bold].npz .safetensors[/] (arrays by name).

[bold]--to[/] and [bold]--from[/] are grus, torch, keras, onnx, linen (or flax), nnx, equinox (or jax), haiku, \
mygrad, epynn, onednn, tensorflow, coreml or haste. --to may be left out where TARGET's ending tells; --from \
where names and shapes do.

Arrays of the layouts from linen on are named layer/direction/name: 0/forward/ir/kernel. Whole models of grus \
train go to ONNX, with their standardisation and class labels.
"""

Source = Annotated[Path, typer.Argument(help="The file to read.", metavar="SOURCE")]
Target = Annotated[Path, typer.Argument(help="The file to write.", metavar="TARGET")]


def hang_into(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(help=_ABOUT, epilog="Example: grus convert encoder.pt encoder.onnx")(convert)
    app.command(epilog="Example: grus inspect encoder.safetensors")(inspect)


def convert(
    source: Source,
    target: Target,
    to: Annotated[str | None, typer.Option("--to", help="The layout of TARGET.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="The layout of SOURCE.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    allow_cast: Annotated[bool, typer.Option("--allow-cast", help="Round float64 to float32 if need be.")] = False,
    streaming: Annotated[bool, typer.Option("--streaming", help="ONNX: the graph of one step.")] = False,
    prefix: Annotated[str | None, typer.Option(help="Where the GRU stands in SOURCE: encoder.gru")] = None,
    node: Annotated[str | None, typer.Option(help="Which of the GRUs of an ONNX file, with commas.")] = None,
    formulation: Annotated[
        str | None, typer.Option(help="after or before, if SOURCE does not say: Keras' weights, oneDNN.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="The new gate's, if SOURCE does not say.")] = None,
    gate_activation: Annotated[str | None, typer.Option(help="The other gates', if SOURCE does not say.")] = None,
    bidirectional: Annotated[
        bool | None, typer.Option(help="Whether numbered cells come in pairs: linen, nnx, Haiku.")
    ] = None,
    reverse: Annotated[bool | None, typer.Option("--reverse", help="Keras' weights: of go_backwards.")] = None,
) -> None:
    from grus.conversion import convert as run

    said: dict[str, Any] = {
        "prefix": prefix, "node": node.split(",") if node else None, "formulation": formulation,
        "activation": activation, "gate_activation": gate_activation, "bidirectional": bidirectional,
        "reverse": reverse,
    }  # fmt: skip
    _choose_backend()
    switches = {"force": force, "allow_cast": allow_cast, "streaming": streaming}
    done = run(source, target, to=to, from_=from_, **switches, **said)
    _print_conversion(source, target, done)


def inspect(
    file: Annotated[Path, typer.Argument(help="A file of weights, or a model file.", metavar="FILE")],
) -> None:
    """Say whose GRU a file holds: layout, formulation, gate order, layers, sizes, and what else is in it."""
    from grus.conversion import inspect as run

    found = run(file)
    _print_recognised(file, found)


def _choose_backend() -> None:
    """Keras without a word takes TensorFlow: where that is missing, what is there."""
    if "KERAS_BACKEND" not in os.environ and find_spec("tensorflow") is None:
        backend = next((name for name in ("jax", "torch") if find_spec(name) is not None), None)
        if backend is not None:
            os.environ["KERAS_BACKEND"] = backend


def _print_conversion(source: Path, target: Path, done: Conversion) -> None:
    report = done.report
    console.print(two_columns(str(source), report.found))
    _print_notes(report.notes)
    check = "" if report.difference is None else f"   largest difference of the check {report.difference:.1e}"
    console.print(f"{done.source} to {done.target}   [bold]{escape(str(target))}[/]{check}")


def _print_recognised(file: Path, found: Recognised) -> None:
    for part in found.parts:
        where = f"{file}: {part.where}" if part.where else str(file)
        rows = {"kind": part.kind, **part.found}
        if part.layouts:
            rows["--from"] = " or ".join(part.layouts)
        console.print(two_columns(where, rows))
    if not found.parts:
        console.print(f"{escape(str(file))}: no recurrent layer is known by its names and shapes")
    if found.others:
        more = f" and {len(found.others) - _SHOWN} more" if len(found.others) > _SHOWN else ""
        console.print(f"[dim]not of a recurrent layer[/] {escape(', '.join(found.others[:_SHOWN]))}{more}")
    _print_notes(found.notes)


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        console.print(f"[dim]note[/] {escape(note)}")
