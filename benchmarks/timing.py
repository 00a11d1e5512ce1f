"""How a time is taken: bursts of calls long enough for the clock, in turn with everything it is compared with."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
SAMPLE_SECONDS = 0.02  # shorter calls are repeated until a sample takes this long
_REST_SECONDS = 0.01


def repeated(call: Callable[[], object]) -> Callable[[int], float]:
    """The seconds that n calls take, as a function of n."""

    def run(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            call()
        return time.perf_counter() - start

    return run


class Burst:
    """Samples of one call's seconds, a warm-up before each burst of short calls and before the first long one."""

    def __init__(self, run: Callable[[int], float], seconds: float = SAMPLE_SECONDS) -> None:
        self.run, self.seconds, self.calls = run, seconds, 0

    def sample(self) -> float:
        """Seconds of one call: the mean over a burst."""
        if self.calls:
            if self.calls > 1:
                self.run(1)
            return self.run(self.calls) / self.calls
        self.run(1)
        once = self.run(1)
        self.calls = max(1, math.ceil(self.seconds / once))
        return once if self.calls == 1 else self.run(self.calls) / self.calls


def in_turn(turns: Mapping[Key, Callable[[], Result]], seconds: float, least: int = 1) -> dict[Key, list[Result]]:
    """Take every turn once a round until the seconds are over: what else the machine does falls on all of them."""
    results: dict[Key, list[Result]] = {name: [] for name in turns}
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < least or time.perf_counter() < end:
        for name, turn in turns.items():
            results[name].append(turn())
        rounds += 1
    return results


def rest(limit: float = 1.0) -> None:
    """Return when this process's threads have stopped spinning, which many do for a while after a call."""
    end, busy = time.perf_counter() + limit, True
    while busy and time.perf_counter() < end:
        before = time.process_time()
        time.sleep(_REST_SECONDS)
        busy = time.process_time() - before > 0.1 * _REST_SECONDS


def summary(samples: list[float]) -> dict[str, Any]:
    """What the results keep of the samples, in seconds."""
    return {"median": statistics.median(samples), "min": min(samples), "samples": len(samples)}
