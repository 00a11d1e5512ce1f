"""grus's two passes through its public functions: the calls that are timed, and their results by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grus
from benchmarks.cases import Array, Data

GRADIENTS = ("dx", "dh0", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")  # without options


def forward(data: Data, **options: Any) -> Array:
    """Inference: keeps nothing."""
    return grus.gru_forward(data.x, data.h0, data.params, training=False, **options)[0]


def training(data: Data, **options: Any) -> grus.GRUGradients:
    """Forward and backward, with every gradient."""
    *_, tape = grus.gru_forward(data.x, data.h0, data.params, **options)
    return grus.gru_backward(tape, data.d_output)  # type: ignore[arg-type]  # in training there is a tape


def answers(data: Data, **options: Any) -> dict[str, Array]:
    """What both passes compute: the gradients of all that entered."""
    return {"output": forward(data, **options), **named(training(data, **options)._asdict())}


def named(gradients: Mapping[str, Any]) -> dict[str, Array]:
    """Gradients by name, those of the parameters among the others; what is None is left out."""
    found: dict[str, Array] = {}
    for name, d in gradients.items():
        if hasattr(d, "_asdict"):
            found |= named(d._asdict())
        elif isinstance(d, Mapping):
            found |= named(d)
        elif d is not None:
            found[f"d{name}"] = d
    return found
