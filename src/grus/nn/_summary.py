"""The table that shows a model: each layer's shapes forward and backward, and its parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from grus.nn._data import Array, Inputs, pad
from grus.nn._layer import Context

if TYPE_CHECKING:
    from grus.nn.sequential import Sequential

Shape = tuple[Any, ...]
_HEADER = ("layer", "kind", "forward: x -> y", "backward: dy -> dx", "parameters")
_RIGHT_ALIGNED = len(_HEADER) - 1


def layer_shapes(model: Sequential, x: Inputs) -> list[dict[str, dict[str, Shape]]]:
    """For every layer ``forward`` (x, its parameters, y) and ``backward`` (dy, their gradients, dx), by a dry run.

    A shape that does not fit is an error that names the layer.
    """
    inputs = model.inputs(x)
    current, lengths = pad(inputs) if isinstance(inputs, list) else (inputs, None)
    context = Context(True, np.random.default_rng(0), lengths)
    found: list[dict[str, dict[str, Shape]]] = []
    tapes = []
    for layer in model.build(x).layers:
        with model.naming(layer):
            y, tape = layer.forward(current, context)
        found.append({"forward": {"x": current.shape, **layer.parameters.shapes, "y": y.shape}})
        tapes.append(tape)
        current = y
    d: Array | None = current
    for layer, tape, shapes in reversed(list(zip(model.layers, tapes, found, strict=True))):
        gradients = layer.parameters.like()
        shapes["backward"] = {"dy": shapes["forward"]["y"]}
        d = None if d is None else layer.backward(tape, d, gradients)
        shapes["backward"] |= {f"d{name}": array.shape for name, array in gradients.items()}
        shapes["backward"] |= {} if d is None else {"dx": d.shape}
    return found


def summary(model: Sequential, x: Inputs | None = None) -> str:
    """The table as text."""
    if x is None and not model.built:
        return f"{model!r}: call summary(x) with a batch to infer the sizes."
    found = layer_shapes(model, _sample(model) if x is None else x)
    steps = (model.input_shape or (0,))[0] if x is None else None
    rows = [row for layer, shapes in zip(model.layers, found, strict=True) for row in _rows(layer, shapes, steps)]
    widths = [max(len(row[i]) for row in (_HEADER, *rows)) for i in range(len(_HEADER))]
    lines = [_line(row, widths) for row in (_HEADER, tuple("-" * w for w in widths), *rows)]
    megabytes = model.flat.nbytes / 1e6
    return "\n".join([*lines, f"{model.parameters.size:,} parameters, {model.dtype}, {megabytes:.3g} MB"])


def _sample(model: Sequential) -> Array:
    """A batch of one, like the first sequence that the model saw."""
    sizes, shape = model.layers[0].sizes or {}, (1, *(model.input_shape or ()))
    if "vocabulary" in sizes:
        return np.full(shape, sizes["vocabulary"][0])
    return np.zeros(shape, model.dtype)


def _rows(layer: Any, shapes: dict[str, dict[str, Shape]], steps: int | None) -> list[tuple[str, ...]]:
    """A row for the layer, and one for each of its parameters."""
    symbols = "vocabulary" in (layer.sizes or {})

    def arrow(first: Shape, last: Shape | None) -> str:
        return f"{_text(first, steps, symbols)} -> {'none' if last is None else _text(last, steps)}"

    forward, backward = shapes["forward"], shapes["backward"]
    passes = arrow(forward["x"], forward["y"]), arrow(backward["dy"], backward.get("dx"))
    parameters = [
        ("", f"  {name}", str(shape), f"d{name} {backward[f'd{name}']}", f"{math.prod(shape):,}")
        for name, shape in layer.parameters.shapes.items()
    ]
    return [(layer.name, layer.kind, *passes, f"{layer.parameters.size:,}"), *parameters]


def _text(shape: Shape, steps: int | None, symbols: bool = False) -> str:
    """(2, 3, 5); or (B, T, 5) where the batch was made up and holds ``steps`` steps; (B, T) of symbols."""
    if steps is not None:
        time = "T" if (len(shape) == 3 or (symbols and len(shape) == 2)) and shape[1] == steps else None
        shape = ("B", time or shape[1], *shape[2:]) if len(shape) > 1 else ("B",)
    return f"({', '.join(map(str, shape))})"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        c.rjust(w) if i == _RIGHT_ALIGNED else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
