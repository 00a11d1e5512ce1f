"""How large the wheel is; built only when asked for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, ProcessError
from benchmarks.settings import Settings


def measure(settings: Settings) -> dict[str, Any]:
    settings.tell("wheel")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ProcessError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
        (built,) = Path(folder).glob("grus-*.whl")
        return {"name": built.name, "bytes": built.stat().st_size}
