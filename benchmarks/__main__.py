"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import grus
from benchmarks import compare, japanese_vowels, machine, memory, options, startup, stream, wheel
from benchmarks.answers import WrongAnswerError
from benchmarks.build import OUTPUT
from benchmarks.cases import CASES, Case
from benchmarks.peers import PEERS
from benchmarks.processes import ProcessError
from benchmarks.progress import progress
from benchmarks.report import report
from benchmarks.settings import Settings

MEASUREMENTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "cases": compare.measure,
    "options": options.measure,
    "stream": stream.measure,
    "startup": startup.measure,
    "memory": memory.measure,
    "japanese-vowels": japanese_vowels.measure,
    "wheel": wheel.measure,
}
QUICK_CASES = CASES[:4]


def all_cores() -> int:
    return int(grus.cpu_info()["threads"])


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure grus beside other libraries.")
    p.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}")
    p.add_argument("--cases", nargs="+", type=Case.parse, metavar="T,B,I,H", help="instead of the usual ones")
    p.add_argument("--peers", nargs="*", choices=PEERS, metavar="NAME", help=f"of {', '.join(PEERS)}")
    p.add_argument("--grus-only", action="store_true", help="no peers")
    p.add_argument("--threads", nargs="+", type=int, help="default: 1 and all cores; with --quick all")
    p.add_argument("--seconds", type=float, help="for each case, beyond the least number of rounds; default 10")
    p.add_argument(
        "--output", type=Path, default=OUTPUT / "results.json", help="the JSON file; default %(default)s"
    )
    p.add_argument("--quick", action="store_true", help="see that everything runs; the times mean little")
    p.add_argument("--require-peers", action="store_true", help="a missing library is an error")
    p.add_argument("--wheel", action="store_true", help="build the wheel too, for its size")
    return p


def settings_of(given: argparse.Namespace, tell: Callable[[str], None]) -> Settings:
    peers = () if given.grus_only else tuple(PEERS if given.peers is None else given.peers)
    seconds = given.seconds if given.seconds is not None else (0.0 if given.quick else 10.0)
    cases = tuple(given.cases or (QUICK_CASES if given.quick else CASES))
    rounds = 1 if given.quick else 5
    threads = given.threads or ([all_cores()] if given.quick else {1, all_cores()})
    return Settings(cases, peers, tuple(sorted(threads)), seconds, rounds, given.quick, tell)


def chosen(given: argparse.Namespace) -> list[str]:
    """The measurements that are asked for; the wheel only by name."""
    names = given.only or [name for name in MEASUREMENTS if name != "wheel"]
    return [*names, "wheel"] if given.wheel and "wheel" not in names else names


def run(given: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure, writing what there is after every measurement."""
    settings, start = settings_of(given, tell), time.perf_counter()
    results: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks {shlex.join(sys.argv[1:])}".strip(),
        "machine": machine.describe(),
        "versions": machine.versions(settings),
        "missing": machine.missing(settings),
        "threads": settings.threads,
        "peak": machine.peak(settings),
    }
    if given.require_peers and results["missing"]:
        raise ProcessError("; ".join(f"{name} is missing: {how}" for name, how in results["missing"].items()))
    for name in chosen(given):
        results[name] = MEASUREMENTS[name](settings)
        results["seconds"] = round(time.perf_counter() - start, 1)
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def main() -> None:
    given = parser().parse_args()
    try:
        with progress() as tell:
            results = run(given, tell)
    except (WrongAnswerError, ProcessError) as error:
        raise SystemExit(f"error: {error}") from None
    print(report(results))
    print(f"\n{results['seconds']:.0f} s; written to {given.output}")


if __name__ == "__main__":
    main()
