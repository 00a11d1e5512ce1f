"""Compiles the C++ of this folder when it is first needed, or changed, into ``benchmarks/build``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
OUTPUT = FOLDER / "build"


def compiler() -> str | None:
    """What CXX names, or the system's C++ compiler, if there is one."""
    return os.environ.get("CXX") or next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def build(source: str, suffix: str, flags: Sequence[str], links: Sequence[str] = ()) -> Path:
    """The compiled file; its name tells what it was compiled from, so that it is never stale."""
    path, named = FOLDER / source, compiler()
    if named is None:
        raise FileNotFoundError("no C++ compiler was found; install one, or name it with CXX.")
    recipe = [named, *flags, *links]
    digest = hashlib.sha256(path.read_bytes() + repr(recipe).encode()).hexdigest()[:12]
    target = OUTPUT / f"{path.stem}-{digest}{suffix}"
    if target.exists():
        return target
    OUTPUT.mkdir(exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")  # two processes may build it at once
    command = [named, *flags, str(path), "-o", str(partial), *links]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    partial.replace(target)
    return target
