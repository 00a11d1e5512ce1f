"""What an option costs: each relative to the plain pass of the same size, in a process of its own.

``python -m benchmarks.options SECONDS ROUNDS`` prints it as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import grus
from benchmarks import answers, passes
from benchmarks.cases import OPTIONS_CASE, PASSES, Array, Data
from benchmarks.processes import run_module
from benchmarks.settings import Settings
from benchmarks.timing import Burst, in_turn, repeated

Calls = dict[str, Callable[[], object]]


def measure(settings: Settings) -> dict[str, Any]:
    settings.tell("options")
    return run_module("options", settings.seconds, settings.rounds)


def options(T: int, B: int) -> dict[str, dict[str, Any]]:
    """The call keywords of each; lengths and mask leave out a part of the work."""
    rng = np.random.default_rng(1)
    return {
        "plain": {},
        "lengths": {"lengths": rng.integers(1, T + 1, B)},
        "mask": {"mask": rng.random((T, B)) < 0.8},
        "reset": {"reset": rng.random((T, B)) < 0.05},
        "reset_after=False": {"reset_after": False},
    }


def function_calls(data: Data, given: dict[str, Any]) -> Calls:
    """The two passes of :func:`grus.gru_forward` with these keywords."""

    return {"forward": partial(passes.forward, data, **given), "training": partial(passes.training, data, **given)}


def layer_calls(data: Data, bidirectional: bool) -> Calls:
    """The two passes of :class:`grus.GRU`; two runs one after the other where one direction is asked for."""
    gru = grus.GRU(data.x.shape[2], data.h0.shape[1], batch_first=False, bidirectional=bidirectional, seed=0)
    d_output: Array = np.concatenate([data.d_output] * gru.directions, axis=-1)
    runs = range(1 if bidirectional else 2)

    def training() -> object:
        return [gru.backward(gru.forward(data.x).tape, d_output) for _ in runs]

    return {"forward": lambda: [gru(data.x) for _ in runs], "training": training}


def ratios(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Option -> pass -> time relative to that without it."""
    data = Data.random(OPTIONS_CASE)
    calls = {}
    for name, given in options(OPTIONS_CASE.T, OPTIONS_CASE.B).items():
        errors = answers.errors(passes.answers(data, **given), answers.reference(data, **given))
        answers.check(f"grus with {name}", errors)
        calls[name] = function_calls(data, given)
    calls["bidirectional"], calls["two runs"] = layer_calls(data, True), layer_calls(data, False)
    turns = {(o, p): Burst(repeated(calls[o][p])).sample for o in calls for p in PASSES}
    median = {key: statistics.median(each) for key, each in in_turn(turns, seconds, rounds).items()}
    without = {name: "plain" for name in calls} | {"bidirectional": "two runs"}
    compared = [name for name in calls if name not in without.values()]
    return {o: {p: median[o, p] / median[without[o], p] for p in PASSES} for o in compared}


if __name__ == "__main__":
    print(json.dumps(ratios(float(sys.argv[1]), int(sys.argv[2]))))
