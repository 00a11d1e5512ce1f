"""Every layout that a file may have: who reads it, who writes it, with which endings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from grus import _check
from grus.conversion import file_verbs as verbs
from grus.conversion.array_files import below
from grus.conversion.array_layouts import ARRAY_LAYOUTS
from grus.conversion.errors import ConversionError
from grus.conversion.files import Opened
from grus.conversion.recognise import flattened, recognise
from grus.conversion.recognise_files import sizes_of
from grus.conversion.report import Report
from grus.layer import GRU

_ALIASES = {"flax": "linen", "jax": "equinox"}
_PLAIN, _USUAL = (".npz", ".safetensors"), (".safetensors",)
Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class FileLayout:
    """One layout; ``said`` are the options that its reader takes."""

    name: str
    reader: Callable[[Path, Arrays, dict[str, Any], Report], Any]
    writer: Callable[..., None]
    endings: tuple[str, ...] = _PLAIN  # to write; none: any
    kinds: tuple[str, ...] = ("arrays",)  # of files that it reads
    said: tuple[str, ...] = ()

    def read(self, path: Path, arrays: Arrays, said: dict[str, Any], report: Report) -> Any:
        """The model, of what was opened."""
        for name in said:
            if name not in self.said:
                takes = ", ".join(self.said) or "none"
                raise ValueError(f"{name} is of no use to a source of the layout {self.name!r}; it takes {takes}.")
        model = self.reader(path, arrays, said, report)
        if isinstance(model, GRU):
            report.found |= sizes_of(model)
        return model

    def write(self, model: Any, path: Path, allow_cast: bool, report: Report, **options: Any) -> None:
        """A checked file."""
        if not isinstance(model, GRU) and self.name != "onnx":
            raise ConversionError(
                f"the source is a whole {type(model).__name__}, which only ONNX takes; the layout {self.name!r} "
                "is of a GRU alone. Save its GRU by itself."
            )
        before, report.difference = report.difference, None
        self.writer(model, path, allow_cast, report, **options)
        known = [each for each in (before, report.difference) if each is not None]
        report.difference = max(known, default=None)


def layout_of_target(path: Path, to: str | None) -> str:
    """The layout to write, by name or else by the ending."""
    if to is None:
        fitting = [name for name, each in LAYOUTS.items() if _ends(path, each.endings or _USUAL)]
        if len(fitting) != 1:
            raise ValueError(
                f"--to (to=) must name the layout of {path.name!r}, one of {', '.join(fitting or LAYOUTS)}: its "
                "ending does not tell."
            )
        return fitting[0]
    to = _named("--to (to=)", to)
    if LAYOUTS[to].endings and not _ends(path, LAYOUTS[to].endings):
        raise ValueError(
            f"the target must end in {' or '.join(LAYOUTS[to].endings)} for the layout {to!r}; got {path.name!r}."
        )
    return to


def _ends(path: Path, endings: tuple[str, ...]) -> bool:
    return path.name.endswith(endings)


def _named(argument: str, name: str) -> str:
    return _ALIASES.get(name) or _check.choice(argument, name, tuple(LAYOUTS))


def layout_of_source(path: Path, opened: Opened, name: str | None, prefix: str | None) -> tuple[str, Arrays]:
    """The source's layout, by name or by what the file is, its arrays' names and shapes; and those arrays."""
    if name is not None:
        chosen = _named("--from (from_=)", name)
        if opened.kind not in LAYOUTS[chosen].kinds:
            raise ConversionError(f"{str(path)!r} is no file of the layout {name!r}: {_said_by(opened.kind)}.")
    elif opened.kind != "arrays":
        chosen = opened.kind
    else:
        chosen = _recognised(path, below(opened.arrays, prefix))
    return chosen, opened.arrays


def _said_by(kind: str) -> str:
    return "it is arrays by name" if kind == "arrays" else f"it is one of {kind}"


def _recognised(path: Path, arrays: Arrays) -> str:
    """The one layout of the GRUs among the arrays."""
    parts = recognise(flattened(arrays)).parts
    layouts = {part.layouts for part in parts if part.kind == "GRU"}
    if not layouts:
        others = ", ".join(f"{part.kind} ({part.where or 'alone'})" for part in parts)
        held = f"holds {others}" if others else f"holds {', '.join(list(arrays)[:8]) or 'nothing'}"
        raise ConversionError(f"{str(path)!r} holds no GRU that is known by its names and shapes; it {held}.")
    fitting = list(dict.fromkeys(name for each in layouts for name in each))
    if len(fitting) > 1:
        raise ConversionError(
            f"{str(path)!r} fits the layouts {', '.join(fitting)} by its names and shapes: say which it is with "
            f"--from {fitting[0]} (from_={fitting[0]!r}) or another of them."
        )
    return fitting[0]


_SAID = {
    "linen": ("prefix", "activation", "gate_activation", "bidirectional"),
    "nnx": ("prefix", "activation", "gate_activation", "bidirectional"),
    "haiku": ("prefix", "bidirectional"),
    "epynn": ("prefix", "activation", "gate_activation"),
    "onednn": ("prefix", "formulation"),
}
LAYOUTS = {
    each.name: each
    for each in (
        FileLayout("grus", verbs.read_grus, verbs.write_grus, (), ("grus",)),
        FileLayout(
            "torch", verbs.read_torch, verbs.write_torch, (".pt", ".pth", ".safetensors"), ("torch", "arrays"),
            ("prefix",),
        ),
        FileLayout(
            "keras", verbs.read_keras, verbs.write_keras, (".keras", ".weights.h5"), ("keras",),
            ("formulation", "activation", "gate_activation", "reverse"),
        ),
        FileLayout("onnx", verbs.read_onnx, verbs.write_onnx, (".onnx",), ("onnx",), ("node",)),
        *(
            FileLayout(
                name, partial(verbs.read_arrays, layout), partial(verbs.write_arrays, layout),
                said=_SAID.get(name, ("prefix",)),
            )
            for name, layout in ARRAY_LAYOUTS.items()
        ),
    )
}  # fmt: skip
