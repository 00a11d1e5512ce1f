"""How long ``import grus`` takes: fresh interpreters in turn, and the interpreter's own clock."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.settings import Settings
from benchmarks.timing import in_turn

STATEMENTS = {"bare": "pass", "numpy": "import numpy", "grus": "import grus"}


def measure(settings: Settings) -> dict[str, Any]:
    """Medians in seconds; ``grus`` and ``numpy`` are beyond the bare interpreter."""
    settings.tell("import time")
    turns: dict[str, Callable[[], float]] = {
        name: partial(interpreter_seconds, code) for name, code in STATEMENTS.items()
    }
    turns["clock"] = import_clock
    least = 3 if settings.quick else 15
    median = {name: statistics.median(each) for name, each in in_turn(turns, 0, least).items()}
    return {
        "interpreter": median["bare"],
        "numpy": median["numpy"] - median["bare"],
        "grus": median["grus"] - median["bare"],
        "grus_by_importtime": median["clock"],
    }


def interpreter_seconds(code: str) -> float:
    """From the start to the end of an interpreter that runs this."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - start


def import_clock() -> float:
    """The cumulative seconds that ``-X importtime`` gives for grus, NumPy within."""
    command = [sys.executable, "-X", "importtime", "-c", "import grus"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    _, cumulative, _ = next(line for line in done.stderr.splitlines()[::-1] if line.endswith("| grus")).split("|")
    return int(cumulative) / 1e6
