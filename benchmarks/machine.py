"""What the numbers were measured on, and its arithmetic limit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import grus
from benchmarks.build import build
from benchmarks.peers import LIBRARIES
from benchmarks.settings import Settings

PEAK_FLAGS = ["-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-pthread"]


def describe() -> dict[str, Any]:
    """Processor, system and interpreter."""
    cpu = grus.cpu_info()
    return {
        "processor": cpu["brand"],
        "architecture": cpu["architecture"],
        "instruction_set": grus.instruction_set(),
        "cores": cpu["cores_online"],
        "cores_used": cpu["threads"],
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions(settings: Settings) -> dict[str, str]:
    """Of every library that takes part."""
    found = {"numpy": version("numpy")}
    for library in settings.libraries:
        found |= library.versions()
    return found


def missing(settings: Settings) -> dict[str, str]:
    """The chosen libraries that are not here, and how to install them."""
    commands = {name: LIBRARIES[name].missing() for name in settings.peers}
    return {name: command for name, command in commands.items() if command is not None}


def peak(settings: Settings) -> dict[str, Any]:
    """Threads -> float32 operations a second of multiply-adds in registers."""
    settings.tell("arithmetic limit")
    try:
        program = build("fma_peak.cpp", "", PEAK_FLAGS)
    except (FileNotFoundError, RuntimeError) as error:
        return {"missing": str(error)}
    seconds = "0.2" if settings.quick else "2"
    return {str(n): _operations(str(program), n, seconds) for n in settings.threads}


def _operations(program: str, threads: int, seconds: str) -> float:
    done = subprocess.run([program, str(threads), seconds], check=True, capture_output=True, text=True)
    return 1e9 * float(done.stdout)
