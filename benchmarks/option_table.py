"""The options that are measured: what each gives the layer, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case, Data

Passes = Mapping[str, tuple[str, str]]  # pass -> the layer's method with the option, and that without it
INFERENCE: Passes = {"forward": ("inference", "inference"), "training": ("training", "training")}
DRAWN: Passes = {"forward": ("forward", "forward"), "training": ("training", "training")}  # nothing in inference
TRACE: Passes = {"forward": ("trace", "forward"), "inference": ("trace", "inference")}


@dataclass(frozen=True)
class Option:
    """Keywords of :class:`grus.GRU`, and the names of those of a call (see :func:`arrays`)."""

    model: Mapping[str, Any] = field(default_factory=dict)
    call: tuple[str, ...] = ()
    beside: str = "plain"
    runs: int = 1  # of what it is compared with
    passes: Passes = field(default_factory=lambda: INFERENCE)


WITHOUT = {"plain": Option(), "two layers": Option({"num_layers": 2})}
_DROPOUTS = {"input_dropout": 0.2, "recurrent_dropout": 0.2, "weight_dropout": 0.2}
_ALL = {**_DROPOUTS, "dropout": 0.2, "zoneout": 0.1, "learn_h0": True, "num_layers": 2}
OPTIONS = {
    **{name: Option({name: rate}, passes=DRAWN) for name, rate in _DROPOUTS.items()},
    "dropout": Option({"dropout": 0.2, "num_layers": 2}, beside="two layers", passes=DRAWN),
    "zoneout": Option({"zoneout": 0.1}),
    "relu": Option({"activation": "relu"}),
    "softsign": Option({"activation": "softsign"}),
    "hard_sigmoid": Option({"gate_activation": "hard_sigmoid"}),
    "clip": Option({"clip": 3.0}),
    "learn_h0": Option({"learn_h0": True}),
    "update_bias": Option({"update_bias": 1.0}),
    "decay": Option(call=("decay",)),
    "lengths": Option(call=("lengths",)),
    "mask": Option(call=("mask",)),
    "reset": Option(call=("reset",)),
    "layer_norm": Option({"layer_norm": True}),
    "candidate": Option({"formulation": "candidate"}),
    "reset_after=False": Option({"reset_after": False}),
    "trace": Option(passes=TRACE),
    "bidirectional": Option({"bidirectional": True}, runs=2),
    "all together": Option(_ALL, ("decay", "lengths", "reset"), beside="two layers", passes=DRAWN),
}


def arrays(case: Case) -> dict[str, Array]:
    """What varies with the data, by its keyword. Most steps stay: the time must not be that of steps left out."""
    T, B, _, H = case
    rng = np.random.default_rng(1)
    mask, reset = rng.random((T, B)) < 0.9, rng.random((T, B)) < 0.05
    mask[0], reset[0], reset[T // 2] = True, False, True
    return {
        "lengths": np.linspace(T, 0.8 * T, B).astype(int),
        "mask": mask,
        "reset": reset,
        "decay": rng.random((T, B, H), np.float32),
    }


def as_function(option: Option, data: Data) -> tuple[Data, dict[str, Any]]:
    """The same of one layer for :func:`grus.gru_forward`, which is given what the layer draws at random."""
    (T, B, _, H), rng, given = data.case, np.random.default_rng(2), {n: arrays(data.case)[n] for n in option.call}
    for name, value in option.model.items():
        if name == "layer_norm":
            gains = [1 + rng.standard_normal(3 * H, np.float32) / 4 for _ in range(2)]
            data = replace(data, params=data.params._replace(gain_ih=gains[0], gain_hh=gains[1]))
        elif name == "recurrent_dropout":
            given["recurrent_mask"] = (rng.random((B, 3 * H)) >= value).astype(np.float32) / np.float32(1 - value)
        elif name == "zoneout":
            given["zoneout"] = (rng.random((T, B, H)) < value).astype(np.float32)
        else:
            given[name] = value
    return data, given
