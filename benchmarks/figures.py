"""What follows from the times: rates, ratios, and whether a target is met; from the results file alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import targets
from benchmarks.cases import PASS_COST, PASSES, Case

Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One pass of one case; times are medians in seconds."""

    case: Case
    name: str  # of the pass
    grus: dict[int, float]  # by number of threads
    peers: dict[str, float]  # each at the number of threads that suits it best
    peak: float | None  # operations a second that the machine can do at grus's number of threads

    @property
    def seconds(self) -> float:
        """grus with all threads, its default."""
        return self.grus[max(self.grus)]

    @property
    def speedup(self) -> float:
        """All threads over one."""
        return self.grus[min(self.grus)] / self.seconds

    @property
    def rate(self) -> float:
        """Operations a second."""
        return PASS_COST[self.name] * self.case.operations / self.seconds

    @property
    def share_of_peak(self) -> float | None:
        return None if self.peak is None else self.rate / self.peak

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long as grus each library takes."""
        return {peer: seconds / self.seconds for peer, seconds in self.peers.items()}

    @property
    def fastest(self) -> str | None:
        """The library that comes closest."""
        return min(self.peers, key=self.peers.__getitem__, default=None)

    @property
    def target(self) -> float | None:
        return targets.FASTER_THAN_FASTEST.get(self.case.name, {}).get(self.name)


def rows(results: Results) -> list[Row]:
    """Those of every case and pass that were measured."""
    limits = results.get("peak", {})
    found = []
    for case_name, of_case in results.get("cases", {}).items():
        for name in PASSES:
            times = of_case[name]
            grus = {int(threads): each["median"] for threads, each in times["grus"].items()}
            peers = {p: min(t["median"] for t in by.values()) for p, by in times.items() if p != "grus"}
            found.append(Row(Case.parse(case_name), name, grus, peers, limits.get(str(max(grus)))))
    return found


@dataclass(frozen=True)
class Verdict:
    """A number beside what it is meant to be."""

    what: str
    value: float
    target: float
    at_least: bool
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


def verdicts(results: Results) -> list[Verdict]:
    """Those of the case table that have a target, then all other measurements'."""
    found = []
    for row in rows(results):
        what = f"{row.case.name} {row.name}"
        if row.target is not None and row.fastest is not None:
            ratio = row.ratios[row.fastest]
            found.append(Verdict(f"{what}: {row.fastest} over grus", ratio, row.target, True))
        if row.case.B >= 32 and set(row.grus) == {1, 2}:
            found.append(Verdict(f"{what}: 2 threads over 1", row.speedup, targets.TWO_THREADS, True))
    for measurement in (_options, _startup, _wheel, _memory, _japanese_vowels):
        name = measurement.__name__.removeprefix("_").replace("_", "-")
        if name in results and "missing" not in results[name]:
            found += measurement(results[name])
    return found


def _options(found: Results) -> list[Verdict]:
    return [
        Verdict(f"option {option}, {name}, over plain", ratio, targets.OPTION, False)
        for option, ratios in found.items()
        for name, ratio in ratios.items()
    ]


def _startup(found: Results) -> list[Verdict]:
    return [
        Verdict(f"import {what}", found[key], targets.IMPORT_SECONDS, False, "s")
        for what, key in (("grus", "grus"), ("grus by -X importtime", "grus_by_importtime"))
    ]


def _wheel(found: Results) -> list[Verdict]:
    return [Verdict("wheel", found["bytes"] / 1e6, targets.WHEEL_BYTES / 1e6, False, "MB")]


def _memory(found: Results) -> list[Verdict]:
    verdicts = []
    for name, peak in found["peak"].items():
        if name != "torch":
            needed = peak / found["needed"]
            verdicts.append(Verdict(f"memory of training, {name}, over needed", needed, targets.MEMORY, False))
            if (torch := found["peak"].get("torch")) is not None:
                what = f"memory of training, {name}, over torch"
                verdicts.append(Verdict(what, peak / torch, targets.MEMORY_TO_TORCH, False))
    return verdicts


def _japanese_vowels(found: Results) -> list[Verdict]:
    if "torch" not in found:
        return []
    best = min(found["torch"]["seconds"].values())
    grus = found["grus"]["seconds"]
    ratio = best / grus[max(grus, key=int)]
    return [Verdict("japanese-vowels: torch over grus", ratio, targets.JAPANESE_VOWELS, True)]
