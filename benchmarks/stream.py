"""One step at a time, of one sequence: ``grus.Stream`` beside what others call for it, and what it allocates.

``python -m benchmarks.stream STEPS`` prints the allocations of so many steps as JSON; see :func:`allocations`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from ctypes import CDLL
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import answers, compare
from benchmarks.build import build
from benchmarks.cases import SMALL, STREAM_CASES, Case, Data
from benchmarks.peers import load
from benchmarks.processes import run_module
from benchmarks.settings import Settings

STEPS = 1_000_000
COUNTER_FLAGS = ["-std=c++17", "-O2", "-shared", "-fPIC"]


def measure(settings: Settings) -> dict[str, Any]:
    """Case -> errors, and library -> seconds of a step; and the number of allocations."""
    peers = tuple(name for name in ("torch", "onnxruntime") if name in settings.peers)
    found: dict[str, Any] = {"cases": {}}
    one_thread = replace(settings, peers=peers, threads=(1,))
    with tempfile.TemporaryDirectory() as folder, compare.participants(one_thread) as taking_part:
        for case in STREAM_CASES:
            settings.tell(f"stream, {case.name}")
            errors = compare.check(taking_part, case, expected(case, folder), variant="stream")
            times = compare.times(taking_part, settings.seconds / 2, settings.rounds, ("forward",))
            of_step = {name: by["1"]["median"] / case.T for name, by in times["forward"].items()}
            found["cases"][case.name] = {"errors": errors, "seconds": of_step}
    settings.tell("stream, allocations")
    return found | {"allocations": allocations(STEPS // 100 if settings.quick else STEPS)}


def expected(case: Case, folder: str) -> Path:
    """The file of the outputs from a state of zeros."""
    data, path = Data.random(case), Path(folder) / "expected.npz"
    answers.save(answers.reference(replace(data, h0=np.zeros_like(data.h0))), path)
    return path


def allocations(steps: int) -> dict[str, Any]:
    """How often the whole process asks for memory in so many steps: every object of Python counts too."""
    if not sys.platform.startswith("linux"):
        return {"missing": "Linux's LD_PRELOAD"}
    try:
        counter = build("count_allocations.cpp", ".so", COUNTER_FLAGS)
    except (FileNotFoundError, RuntimeError) as error:
        return {"missing": str(error)}
    count = run_module("stream", steps, str(counter), LD_PRELOAD=str(counter), PYTHONMALLOC="malloc")
    return {"steps": steps, "count": count}


def counted(steps: int, counter: str) -> int:
    """The allocations of the steps, without those of a loop of them."""
    peer, allocated = load("grus", "stream")(Data.random(SMALL), 1), CDLL(counter).allocations
    step, x_t = peer.stream.step, peer.rows[0]  # type: ignore[attr-defined]

    def loop(n: int) -> int:
        before = allocated()
        for _ in repeat(None, n):
            step(x_t)
        return int(allocated() - before)

    loop(1000)  # what is made once
    return loop(1 + steps) - loop(1)


if __name__ == "__main__":
    print(json.dumps(counted(int(sys.argv[1]), sys.argv[2])))
