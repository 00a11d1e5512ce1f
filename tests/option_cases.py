"""Options of ``grus.GRU`` by name, and random sets of them that go together."""

from __future__ import annotations

from typing import Any

import numpy as np

import grus

DROPPED = ("dropout", "input_dropout", "recurrent_dropout", "weight_dropout")  # off outside training
RANDOM = (*DROPPED, "zoneout")

# What the constructor is given for each; every one of them changes the forward pass or the gradients.
OPTIONS: dict[str, dict[str, Any]] = {
    "before": {"formulation": "before"},
    "candidate": {"formulation": "candidate"},
    "activations": {"activation": "softsign", "gate_activation": ("hard_sigmoid", "sigmoid")},
    "clip": {"clip": 0.6},
    "blocks": {"blocks": 2},
    "layer_norm": {"layer_norm": True},
    **{name: {name: 0.4} for name in RANDOM},
    "learn_h0": {"learn_h0": True},
    "truncate": {"truncate": 2},
    "bias": {"bias": False},
    "outputs": {"save": "outputs"},
    "init": {"init": {"weight_hh": ["identity", "orthogonal", 0.1], "weight_ih": "uniform"}},
}
CALLS = ("plain", "lengths", "mask", "reset", "decay", "shared decay", "all")


def random_options(rng: np.random.Generator, count: int, first: str | None = None) -> dict[str, Any]:
    """So many options together, ``first`` among them."""
    others = [name for name in OPTIONS if name != first]
    chosen = [str(name) for name in rng.choice(others, count - (first is not None), replace=False)]
    given: dict[str, Any] = {}
    for name in [*chosen, *([] if first is None else [first])]:
        given |= OPTIONS[name]
    return given


def random_gru(*sizes: int, **options: Any) -> grus.GRU:
    """A float64 GRU, unless told; all parameters are random, gains and learned states too."""
    gru = grus.GRU(*sizes, **({"dtype": "float64", "seed": 1} | options))
    gru.flat[...] = np.random.default_rng(2).standard_normal(gru.flat.size) * 0.7
    return gru


def call(kind: str, rng: np.random.Generator, gru: grus.GRU, batch: int = 3, steps: int = 4) -> dict[str, Any]:
    """The call keywords of one kind, for a GRU with ``batch_first=True``."""
    shape, states = (batch, steps), (gru.num_layers * gru.directions, batch, gru.hidden_size)
    given: dict[str, Any] = {}
    if kind in ("lengths", "all"):
        given["lengths"] = np.array([steps, 0, *rng.integers(1, steps, batch)])[:batch]
    if kind in ("mask", "all"):
        given["mask"] = rng.random(shape) < 0.7
    if kind in ("reset", "all"):
        given["reset"] = rng.random(shape) < 0.4
        given["reset"][0, :2] = True, False
        if not gru.learn_h0:
            given["reset_state"] = rng.standard_normal(states).astype(gru.dtype)
    if kind in ("decay", "all"):
        given["decay"] = rng.uniform(0.3, 1.2, (*shape, gru.hidden_size)).astype(gru.dtype)
    if kind == "shared decay":
        given["decay"] = rng.uniform(0.3, 1.2, (*shape, 1)).astype(gru.dtype)
    return given
