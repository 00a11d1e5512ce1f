"""What one training step holds at its peak, in a process of its own.

``python -m benchmarks.memory LIBRARY THREADS SAVE`` prints the growth in bytes as JSON; Linux only.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import grus
from benchmarks import passes
from benchmarks.cases import MEMORY_CASE, Case, Data
from benchmarks.peers import LIBRARIES, Peer, load
from benchmarks.processes import run_module
from benchmarks.settings import Settings

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SAVES = ("gates", "outputs")  # what grus's tape may keep, if the installed one leaves the choice


def measure(settings: Settings) -> dict[str, Any]:
    """Bytes at the peak, and the bytes that are needed: tape, inputs, parameters and their gradients."""
    if not CLEAR.exists():
        return {"missing": "Linux's /proc"}
    settings.tell("memory")
    choices = SAVES if "save" in inspect.signature(grus.gru_forward).parameters else ("",)
    runs = [("grus", save) for save in choices]
    runs += [("torch", "")] if "torch" in [library.name for library in settings.libraries] else []
    peaks = {
        f"{name} {save}".strip(): run_module("memory", name, settings.threads[-1], save) for name, save in runs
    }
    return {"case": MEMORY_CASE.name, "needed": needed(MEMORY_CASE), "peak": peaks}


def needed(case: Case) -> int:
    """4 bytes a number: 5*T*B*H of the tape, the input, and the parameters twice."""
    T, B, I, H = case
    return 4 * (5 * T * B * H + T * B * I + 2 * (3 * H * (I + H) + 6 * H))


def peak_growth(library: str, threads: int, save: str) -> int:
    """Bytes by which one training step raises the memory in use: with x and parameters, without d_output."""
    kind = load(library)
    kind(Data.random(Case(2, 2, 2, 2)), threads).training()
    before = status("VmRSS")
    data = Data.random(MEMORY_CASE)
    peer = kind(data, threads)
    CLEAR.write_text("5")  # the peak starts anew: what made the random numbers is not counted
    step(peer, save)
    return status("VmHWM") - before - data.d_output.nbytes


def step(peer: Peer, save: str) -> object:
    """One training step; only grus leaves the choice of what to keep."""
    return passes.training(peer.data, save=save) if save else peer.training()  # type: ignore[attr-defined]


def status(name: str) -> int:
    """A line of this process's status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    if sys.argv[1] not in LIBRARIES:
        raise SystemExit(f"LIBRARY must be one of {', '.join(LIBRARIES)}; got {sys.argv[1]}.")
    print(json.dumps(peak_growth(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
