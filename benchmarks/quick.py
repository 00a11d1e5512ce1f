"""Times one layer of the native engine alone, for work on the kernels: ``python -m benchmarks.quick``.

Each case first checks output and gradients against the reference, then takes the best of many calls, the thread
counts in turn so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import grus
from benchmarks import answers, passes
from benchmarks.cases import CASES, PASS_COST, PASSES, Case, Data
from benchmarks.timing import in_turn, repeated

CALLS = 3  # in each turn, the best of which counts


def best(call: Callable[[], object], threads: list[int], seconds: float) -> dict[int, float]:
    """The shortest time of the call with each number of threads."""
    run = repeated(call)

    def turn(n: int) -> Callable[[], float]:
        def shortest() -> float:
            grus.set_num_threads(n)
            return min(run(1) for _ in range(CALLS))

        return shortest

    found = in_turn({n: turn(n) for n in threads}, seconds)
    grus.set_num_threads(None)
    return {n: min(times) for n, times in found.items()}


def measure(case: Case, options: argparse.Namespace) -> None:
    """Check, time and print both passes of a case."""
    data, given = Data.random(case, options.dtype), {"reset_after": not options.reset_before}
    found = answers.errors(passes.answers(data, **given), answers.reference(data, **given))
    answers.check(f"grus, case {case.name}", found, options.dtype)
    calls = (passes.forward, passes.training)
    for name, call in zip(PASSES, (partial(call, data, **given) for call in calls), strict=True):
        rate = PASS_COST[name] * case.operations / 1e9
        times = best(call, options.threads, options.seconds).values()
        figures = "".join(f"{1e3 * t:13.3f} {rate / t:8.1f}    " for t in times)
        print(f"{case.name:>18}  {name:8}{figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--reset-before", action="store_true", help="(F3') instead of (F3)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case and pass")
    parser.add_argument("--cases", type=int, nargs="+", default=range(len(CASES)), help="their numbers, from 0")
    options = parser.parse_args()
    print(f"{grus.cpu_info()['brand']}, {grus.instruction_set()}, {options.dtype}")
    heads = (f"{n} thread{'s' * (n > 1)}: ms  GFLOP/s   " for n in options.threads)
    print(f"{'T,B,I,H':>18}  pass      {''.join(heads)}")
    for number in options.cases:
        measure(CASES[number], options)


if __name__ == "__main__":
    main()
