"""Flax nnx's GRU cells, what runs them over time, and their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from grus.conversion import arrays as given
from grus.conversion.cells import cells_of
from grus.conversion.conventions import CONVENTIONS, Blocks
from grus.conversion.errors import ConversionError
from grus.conversion.formulas import Step
from grus.conversion.jax_cells import DIRECTIONS, Cell, Functions, items
from grus.conversion.jax_side import array, library, widened
from grus.conversion.report import Report
from grus.functional import GRUParams
from grus.layer import GRU

_OURS = CONVENTIONS["nnx"]
_NAMES = ("dense_i/kernel", "dense_h/kernel", "dense_i/bias")


class Run(NamedTuple):
    """How a module runs its cell over time."""

    reverse: bool
    time_major: bool


def _nnx() -> Any:
    return library("flax.nnx", "flax")


def write(gru: GRU, functions: Functions, report: Report | None) -> Any:
    """A ``GRUCell``, an ``RNN`` or a ``Bidirectional`` of them, or a ``Sequential`` of such layers."""
    nnx = _nnx()
    cells = [[_write(cell, functions, report) for cell in layer] for layer in cells_of(gru)]
    if gru.num_layers == gru.directions == 1 and not gru.reverse:
        return cells[0][0]
    settings = {"time_major": not gru.batch_first, "reverse": gru.reverse, "keep_order": gru.reverse}
    rnns = [[nnx.RNN(cell, **settings) for cell in layer] for layer in cells]
    layers = [
        layer[0] if len(layer) == 1 else nnx.Bidirectional(*layer, time_major=not gru.batch_first)
        for layer in rnns
    ]
    return layers[0] if len(layers) == 1 else nnx.Sequential(*layers)


def _write(params: GRUParams, functions: Functions, report: Report | None) -> Any:
    blocks = _OURS.pack(params, report)
    inputs, size = len(blocks.weight_ih), len(blocks.weight_hh)
    bias = np.zeros(3 * size, blocks.weight_hh.dtype) if blocks.bias_ih is None else blocks.bias_ih
    cell = _new_cell(inputs, size, functions, blocks.weight_hh.dtype.name)
    _fill(cell, _pure(*map(array, (blocks.weight_ih, blocks.weight_hh, bias))))
    return cell


def _pure(kernel: Any, recurrent: Any, bias: Any) -> dict[str, Any]:
    return {"dense_i": {"kernel": kernel, "bias": bias}, "dense_h": {"kernel": recurrent}}


def _new_cell(inputs: int, size: int, functions: Functions, dtype: str) -> Any:
    nnx, (new, gate) = _nnx(), functions
    zeros = nnx.initializers.zeros_init()
    return nnx.GRUCell(
        inputs, size, gate_fn=gate, activation_fn=new, param_dtype=dtype, kernel_init=zeros,
        recurrent_kernel_init=zeros, rngs=nnx.Rngs(0),
    )  # fmt: skip


def _fill(cell: Any, pure: dict[str, Any]) -> None:
    nnx = _nnx()
    state = nnx.state(cell, nnx.Param)
    nnx.replace_by_pure_dict(state, pure)
    nnx.update(cell, state)


def plain(source: Any, runs: set[Run]) -> Any:
    """The tree of cells in modules and states; how they run goes to ``runs``."""
    nnx = _nnx()
    if isinstance(source, nnx.State):
        return _without_rngs(nnx.to_pure_dict(source))
    if isinstance(source, nnx.RNN):
        _check_order(source)
        runs.add(Run(source.reverse, source.time_major))
        return {"cell": source.cell}
    if isinstance(source, nnx.Bidirectional):
        _check_merge(source.merge_fn)
        runs.add(Run(False, source.time_major))
        return {key: {"cell": _rnn(source, key).cell} for key in DIRECTIONS}
    if isinstance(source, nnx.Sequential):
        return [plain(each, runs) for each in source.layers]
    if isinstance(source, Mapping):
        return {key: plain(each, runs) for key, each in source.items()}
    if isinstance(source, (list, tuple)) or type(source).__name__ == "List":  # nnx.List, from Flax 0.12 on
        parts = [plain(each, runs) for each in source]
        return tuple(parts) if isinstance(source, tuple) else parts
    return source


def _rnn(source: Any, key: str) -> Any:
    rnn = getattr(source, key)
    if not isinstance(rnn, _nnx().RNN):
        raise ConversionError(f"nnx.Bidirectional must have an nnx.RNN as {key}; got {type(rnn).__name__}.")
    return rnn


def _without_rngs(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {key: _without_rngs(own) for key, own in tree.items() if key != "rngs"}


def _check_order(rnn: Any) -> None:
    if rnn.reverse and not rnn.keep_order:
        raise ConversionError(
            "nnx.RNN(reverse=True, keep_order=False) gives its output last step first, which grus.GRU never does. "
            "Set keep_order=True: that is grus.GRU(reverse=True)."
        )


def _check_merge(merge: Any) -> None:
    """Any function that joins the directions side by side is the default one."""
    a, b = np.random.default_rng(0).standard_normal((2, 2, 3, 4)).astype("float32")
    merged = np.asarray(merge(a, b))
    if merged.shape != (2, 3, 8) or not (merged == np.concatenate([a, b], axis=-1)).all():
        raise ConversionError(
            "nnx.Bidirectional must concatenate its directions, as grus does; its merge_fn differs."
        )


def read(tree: Any, name: str, functions: Callable[[], Functions], report: Report | None) -> Cell | None:
    """A cell, if the tree is one; ``functions`` give those that it runs with, which states don't tell."""
    nnx = _nnx()
    if isinstance(tree, nnx.GRUCell):
        return _read_module(tree, name, report)
    if not isinstance(tree, Mapping) or not {"dense_i", "dense_h"} & set(tree):
        return None
    read = _arrays(tree, name)
    kernel, recurrent, bias = (read[key] for key in _NAMES)

    def step() -> Step:
        cell = _new_cell(len(kernel), len(recurrent), functions(), "float64")
        _fill(cell, widened(_pure(kernel, recurrent, bias)))
        return _step(cell)

    return Cell(_OURS.unpack(Blocks(kernel, recurrent, bias, None)), step, "nnx")


def _read_module(cell: Any, name: str, report: Report | None) -> Cell:
    nnx = _nnx()
    read = _arrays(nnx.to_pure_dict(nnx.state(cell, nnx.Param)), name)
    if report is not None and cell.dtype is not None and np.dtype(cell.dtype) != read[_NAMES[0]].dtype:
        report.note(f"{name} computes in {np.dtype(cell.dtype)}; grus computes in its parameters' own dtype")
    kernel, recurrent, bias = (read[key] for key in _NAMES)
    params = _OURS.unpack(Blocks(kernel, recurrent, bias, None))
    return Cell(params, lambda: _step(_widened_cell(cell)), "nnx", (cell.activation_fn, cell.gate_fn))


def _arrays(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    flat = {f"{key}/{leaf}": a for key, own in tree.items() for leaf, a in items(own)}
    read = given.named(name, flat, _NAMES, _OURS.library)
    size = given.hidden_size(f"{name}['dense_h/kernel']", read["dense_h/kernel"], columns=True)
    for key, shape in {"dense_i/kernel": (None, 3 * size), "dense_i/bias": (3 * size,)}.items():
        given.shaped(f"{name}[{key!r}]", read[key], shape)
    return read


def _widened_cell(cell: Any) -> Any:
    """A copy of the very module, whatever it was changed to, in float64."""
    nnx = _nnx()
    graph, params, rest = nnx.split(cell, nnx.Param, ...)
    twin = nnx.merge(graph, widened(params), rest)
    for each in (twin, twin.dense_i, twin.dense_h):
        each.dtype = None
    return twin


def _step(cell: Any) -> Step:
    return lambda x, h: np.asarray(cell(h, x)[0])
