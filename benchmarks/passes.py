"""grus's two passes through its public functions: the calls that are timed, and their results by name."""

from __future__ import annotations

from typing import Any

import grus
from benchmarks.cases import Array, Data

GRADIENTS = ("dx", "dh0", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")


def forward(data: Data, **options: Any) -> Array:
    """Inference: keeps nothing."""
    return grus.gru_forward(data.x, data.h0, data.params, training=False, **options)[0]


def training(data: Data, **options: Any) -> grus.GRUGradients:
    """Forward and backward, with every gradient."""
    *_, tape = grus.gru_forward(data.x, data.h0, data.params, **options)
    return grus.gru_backward(tape, data.d_output)  # type: ignore[arg-type]  # in training there is a tape


def answers(data: Data, **options: Any) -> dict[str, Array]:
    """What both passes compute."""
    d = training(data, **options)
    gradients = dict(zip(GRADIENTS, (d.x, d.h0, *d.params), strict=True))
    return {"output": forward(data, **options), **gradients}  # type: ignore[dict-item]  # there are biases
