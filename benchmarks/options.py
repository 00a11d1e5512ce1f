"""What an option costs: its layer in turn with the one without it, and the same option in other libraries.

``python -m benchmarks.options T,B,I,H THREADS SECONDS ROUNDS`` prints one case as JSON, from a process of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

import grus
from benchmarks import answers, option_peers
from benchmarks.cases import OPTIONS_CASES, Case
from benchmarks.layer import Layer
from benchmarks.option_table import OPTIONS, WITHOUT, Option
from benchmarks.processes import run_module
from benchmarks.settings import Settings
from benchmarks.timing import Burst, in_turn, repeated

Call = Callable[[], object]
SAMPLE_SECONDS = 0.01  # short, so that a pair of samples falls on the same moment


def measure(settings: Settings) -> dict[str, Any]:
    """Threads, case -> option -> errors and pass -> ratio; option -> the times of other libraries."""
    found: dict[str, Any] = {"threads": settings.threads[-1], "cases": {}}
    for case in OPTIONS_CASES:
        settings.tell(f"options, {case.name}")
        given = settings.threads[-1], settings.seconds, settings.rounds
        found["cases"][case.name] = run_module("options", case.name, *given)
    return found | {"peers": option_peers.measure(settings)}


def costs(case: Case, seconds: float, least: int, options: Mapping[str, Option] = OPTIONS) -> dict[str, Any]:
    """Option -> the errors of its answers, and each pass's time relative to that without it."""
    layers = {name: Layer(case, option) for name, option in (WITHOUT | dict(options)).items()}
    found = {name: {"errors": checked(name, layers[name])} for name in options}
    turns = {}
    for name, option in options.items():
        for of, (own, other) in option.passes.items():
            without = getattr(layers[option.beside], other)
            turns[name, of] = pair(getattr(layers[name], own), times(without, option.runs))
    for (name, of), samples in in_turn(turns, seconds, least).items():
        found[name][of] = relative(samples)
    return found


def checked(name: str, layer: Layer) -> dict[str, float]:
    """The errors of its answers; raises where one is wrong."""
    errors = answers.errors(layer.answers(), layer.reference())
    answers.check(f"grus with {name}, case {layer.case.name}", errors)
    return errors


def pair(own: Call, without: Call) -> Callable[[], tuple[float, float]]:
    """A sample of each, one right after the other."""
    bursts = [Burst(repeated(call), SAMPLE_SECONDS) for call in (own, without)]
    return lambda: (bursts[0].sample(), bursts[1].sample())


def times(call: Call, runs: int) -> Call:
    """The call, or as many of it, as one."""
    return call if runs == 1 else lambda: [call() for _ in range(runs)]


def relative(samples: list[tuple[float, float]]) -> dict[str, Any]:
    """The median ratio of the pairs, and the medians of both in seconds."""
    own, without = zip(*samples, strict=True)
    return {
        "ratio": statistics.median(a / b for a, b in samples),
        "seconds": statistics.median(own),
        "without": statistics.median(without),
        "samples": len(samples),
    }


def main(case: str, threads: str, seconds: str, least: str) -> None:
    grus.set_num_threads(int(threads))
    print(json.dumps(costs(Case.parse(case), float(seconds), int(least))))


if __name__ == "__main__":
    main(*sys.argv[1:])
