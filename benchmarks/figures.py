"""What follows from the times: rates, ratios, and whether a target is met; from the results file alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import targets
from benchmarks.cases import PASS_COST, PASSES, SMALL, Case

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
    cases, limits = results.get("cases", {}), results.get("peak", {})
    return [_row(Case.parse(case), name, cases[case][name], limits) for case in cases for name in PASSES]


def option_rows(results: Results) -> dict[str, list[Row]]:
    """Option -> the passes of the small case beside other libraries that have it."""
    peers = results.get("options", {}).get("peers", {})
    return {option: [_row(SMALL, name, times[name], {}) for name in PASSES] for option, times in peers.items()}


def option_costs(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """Case -> option -> pass -> time relative to that without the option."""
    cases = results.get("options", {}).get("cases", {})
    return {
        case: {
            option: {name: each["ratio"] for name, each in of.items() if name != "errors"}
            for option, of in options.items()
        }
        for case, options in cases.items()
    }


def _row(case: Case, name: str, times: Results, limits: Results) -> Row:
    grus = {int(threads): each["median"] for threads, each in times["grus"].items()}
    peers = {p: min(t["median"] for t in by.values()) for p, by in times.items() if p != "grus"}
    return Row(case, name, grus, peers, limits.get(str(max(grus))))


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
    found += _options(results) + _options_elsewhere(results)
    for measurement in (_stream, _startup, _wheel, _memory, _japanese_vowels):
        name = measurement.__name__.removeprefix("_").replace("_", "-")
        if name in results and "missing" not in results[name]:
            found += measurement(results[name])
    return found


def _options(results: Results) -> list[Verdict]:
    return [
        Verdict(
            f"{case} {name}: {option} over without it", ratio, targets.OPTIONS.get(option, targets.OPTION), False
        )
        for case, options in option_costs(results).items()
        for option, ratios in options.items()
        for name, ratio in ratios.items()
        if name in PASSES
    ]


def _options_elsewhere(results: Results) -> list[Verdict]:
    return [
        Verdict(f"{row.case.name} {row.name}: {option}, {peer} over grus", ratio, targets.OPTION_ELSEWHERE, True)
        for option, found in option_rows(results).items()
        for row in found
        for peer, ratio in row.ratios.items()
    ]


def _stream(found: Results) -> list[Verdict]:
    verdicts = [
        Verdict(
            f"{case} a step of a stream", 1e6 * of["seconds"]["grus"], 1e6 * targets.STREAM_STEP[case], False, "us"
        )
        for case, of in found["cases"].items()
    ]
    if "count" in found["allocations"]:
        what = f"allocations of {found['allocations']['steps']:,} steps of a stream"
        verdicts.append(Verdict(what, found["allocations"]["count"], targets.STREAM_ALLOCATIONS, False))
    return verdicts


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
