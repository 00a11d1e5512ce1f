"""The parent's side: workers that take turns, and measurements that are a process each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import Library

ROOT = Path(__file__).parents[1]


class ProcessError(Exception):
    """A process ended, or could not do what it was asked."""


class Participant:
    """A library at a number of threads, in its own process; see ``worker.py`` for what it is asked."""

    def __init__(self, library: Library, threads: int) -> None:
        self.library, self.threads = library, threads
        self.name = f"{library.name}, {threads} thread{'s' * (threads > 1)}"
        given = {key: value.format(threads=threads) for key, value in library.environment.items()}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library.name, str(threads)],
            cwd=ROOT,
            env=os.environ | given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
        )

    def send(self, **request: Any) -> None:
        """Ask; the process works while others are asked."""
        assert self.process.stdin is not None  # it is a pipe
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed("ended") from None

    def receive(self) -> dict[str, Any]:
        """Wait for the answer."""
        assert self.process.stdout is not None  # it is a pipe
        line = self.process.stdout.readline()
        if not line:
            raise self._failed("ended")
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise self._failed(reply["failed"])
        return reply

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """The end of its input ends the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()
        self.errors.close()

    def _failed(self, what: str) -> ProcessError:
        self.errors.seek(0)
        return ProcessError(f"{self.name}: {what}\n{self.errors.read()[-2000:]}")


def run_module(module: str, *arguments: object, **environment: str) -> Any:
    """What ``python -m benchmarks.MODULE`` prints, a JSON value, from a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, encoding="utf-8", errors="replace"
    )
    if done.returncode:
        raise ProcessError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
