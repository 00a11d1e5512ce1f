"""For each layout that is arrays or a pytree: its converter, and how its result lies in a file of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from grus.conversion import array_files
from grus.conversion.conventions import CONVENTIONS
from grus.conversion.errors import ConversionError
from grus.conversion.report import Report
from grus.layer import GRU

Array = np.ndarray[Any, np.dtype[Any]]
_UNSAID = "the file does not say its activations: tanh and sigmoid were taken where nothing else is given"


@dataclass(frozen=True)
class ArrayLayout:
    """``module`` of grus has the two verbs; ``leaf`` is in every cell of a pytree, "" where there are layers."""

    module: str
    verb: str
    api: str | None = None
    leaf: str = ""
    casts: bool = False  # its verb takes allow_cast; it holds float32 alone, in a file too
    both: bool = False  # directions
    activations: bool = False  # they are not the layout's own

    def write(self, gru: GRU, allow_cast: bool, report: Report) -> dict[str, Array]:
        """The arrays by their names in a file, of a self-checked conversion."""
        options: dict[str, Any] = {"allow_cast": allow_cast} if self.casts else {}
        options |= {"api": self.api} if self.api else {}
        with self._wide():
            result = self._verb("to")(gru, **options, report=report)
            cells = array_files.cells_in_order(_plain(result, self.api), self.leaf) if self.leaf else result
            return array_files.named(map(_mapping, cells), self._sides(gru))

    def _sides(self, gru: GRU) -> tuple[str, ...]:
        if self.module == "onednn":
            return ("",)
        return array_files.SIDES if gru.bidirectional else (array_files.SIDES[gru.reverse],)

    def read(self, arrays: Mapping[str, Any], said: Mapping[str, Any], report: Report) -> GRU:
        """A GRU from a file's arrays, self-checked by the layout's converter."""
        tree = array_files.nested(arrays)
        found = array_files.layers_in(tree)
        layers, reverse = ([[tree]], False) if found is None else found
        if len(layers[0]) > 1 and not self.both:
            raise ConversionError(f"source holds both directions, and {self.module} has one.")
        source: Any = tree if found is None and self.leaf else [self._layer(layer) for layer in layers]
        if self.api == "equinox":
            source = [tuple(map(_equinox, layer)) for layer in layers]
        gru: GRU = self._verb("from")(source, **said, report=report)
        if self.activations and not set(said) - {"bidirectional"}:
            report.note(_UNSAID)
        return from_end(gru) if reverse else gru

    def _layer(self, cells: list[Any]) -> Any:
        return tuple(cells) if self.leaf else cells[0]

    def _verb(self, direction: str) -> Callable[..., Any]:
        verb: Callable[..., Any] = getattr(import_module(f"grus.{self.module}"), f"{direction}_{self.verb}")
        return verb

    def _wide(self) -> AbstractContextManager[Any]:
        """JAX holds float64 while a file is made, whatever the user has set."""
        if not self.leaf:
            return nullcontext()
        from grus.conversion.jax_side import double

        return double()


def _plain(result: Any, api: str | None) -> Any:
    """nnx's modules as what they hold."""
    if api != "nnx":
        return result
    from grus.conversion import nnx

    return nnx.plain(result, set())


def _mapping(cell: Any) -> Mapping[str, Any]:
    """A cell's arrays by name."""
    if isinstance(cell, Mapping):
        return cell
    if hasattr(cell, "dense_i"):
        kernels: dict[str, Any] = {
            name: {"kernel": getattr(cell, name).kernel[...]} for name in ("dense_i", "dense_h")
        }
        kernels["dense_i"]["bias"] = cell.dense_i.bias[...]
        return kernels
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    return {name: getattr(cell, name) for name in names if getattr(cell, name) is not None}


def _equinox(cell: Any) -> Any:
    """A cell of Equinox around these very arrays."""
    from grus.conversion import arrays as given
    from grus.conversion.jax_side import library

    eqx, jax = library("equinox", "jax"), library("jax", "jax")
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    biased = isinstance(cell, Mapping) and bool({"bias", "bias_n"} & set(cell))
    read = given.named("source", cell, names if biased else names[:2], CONVENTIONS["equinox"].library)
    given.hidden_size("source['weight_hh']", read["weight_hh"], columns=False)
    made = eqx.nn.GRUCell(
        read["weight_ih"].shape[-1], read["weight_hh"].shape[1], biased, key=jax.random.PRNGKey(0)
    )
    return eqx.tree_at(lambda tree: [getattr(tree, name) for name in read], made, list(read.values()))


def from_end(gru: GRU) -> GRU:
    """The same cells, reading from the end."""
    twin = GRU.from_config(gru.config() | {"reverse": True}, seed=0)
    twin.flat[...] = gru.flat
    return twin


ARRAY_LAYOUTS = {
    "linen": ArrayLayout("flax", "flax", "linen", "ir", both=True, activations=True),
    "nnx": ArrayLayout("flax", "flax", "nnx", "dense_i", both=True, activations=True),
    "equinox": ArrayLayout("jax", "jax", "equinox", "weight_ih", both=True),
    "haiku": ArrayLayout("jax", "jax", "haiku", "w_i", both=True),
    "mygrad": ArrayLayout("mygrad", "mygrad"),
    "epynn": ArrayLayout("epynn", "epynn", activations=True),
    "onednn": ArrayLayout("onednn", "onednn", casts=True, both=True),
    "tensorflow": ArrayLayout("tensorflow", "tensorflow", casts=True),
    "coreml": ArrayLayout("coreml", "coreml", casts=True),
    "haste": ArrayLayout("haste", "haste"),
}
