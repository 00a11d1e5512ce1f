"""One library in a process of its own: ``python -m benchmarks.worker LIBRARY THREADS``.

It answers each line of JSON on its standard input with one on its standard output; between them it sleeps.

    {"prepare": [T, B, I, H], "expected": FILE}   ->  {"errors": {"output": 1e-7, ...}}
    {"turn": ["forward", "training"]}             ->  {"forward": SECONDS, "training": SECONDS}

With "variant": "options" or "stream", and "arguments", prepare takes the library's file of that name instead.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import answers
from benchmarks.cases import Case, Data
from benchmarks.peers import LIBRARIES, Peer, load
from benchmarks.timing import Burst, rest


class Worker:
    """The library, and the case it is prepared for."""

    def __init__(self, name: str, threads: int) -> None:
        self.library, self.threads = LIBRARIES[name], threads
        self.peer: Peer | None = None
        self.bursts: dict[str, Burst] = {}
        if self.library.threads_by_affinity:
            use_cores(threads)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if "prepare" in request:
            case, expected = Case(*request.pop("prepare")), Path(request.pop("expected"))
            return self.prepare(case, expected, **request)
        return self.turn(request["turn"])

    def prepare(
        self, case: Case, expected: Path, variant: str = "", arguments: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Set up the case and compare its answers."""
        self.peer, self.bursts = None, {}  # the last case's memory goes first
        self.peer = load(self.library.name, variant)(Data.random(case), self.threads, *arguments)
        self.bursts = {name: Burst(self.peer.clock(name)) for name in self.library.passes}
        return {"errors": answers.errors(self.peer.answers(), answers.load(expected))}

    def turn(self, passes: list[str]) -> dict[str, float]:
        """A sample of each pass."""
        seconds = {name: self.bursts[name].sample() for name in passes if name in self.bursts}
        rest()
        return seconds


def use_cores(count: int) -> None:
    """Leave this process so many cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def main() -> None:
    # What a library prints goes to standard error: standard output is for the answers.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
