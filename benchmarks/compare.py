"""Every case on every library, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import answers
from benchmarks.cases import PASSES, Case, Data
from benchmarks.processes import Participant
from benchmarks.settings import Settings
from benchmarks.timing import in_turn, summary


def measure(settings: Settings) -> dict[str, Any]:
    """Case -> operations, errors, and pass -> library -> threads -> seconds."""
    results = {}
    with tempfile.TemporaryDirectory() as folder, participants(settings) as all_of_them:
        for case in settings.cases:
            settings.tell(f"{case.name}: answers")
            expected = Path(folder) / "expected.npz"
            answers.save(answers.reference(Data.random(case)), expected)
            taking_part = [each for each in all_of_them if each.library.measures(case)]
            errors = check(taking_part, case, expected)
            settings.tell(f"{case.name}: times")
            results[case.name] = {
                "operations": case.operations,
                "errors": errors,
                **times(taking_part, settings.seconds, settings.least_rounds(case)),
            }
    return results


@contextmanager
def participants(settings: Settings) -> Iterator[list[Participant]]:
    """One process for each library and number of threads; all are ended."""
    with ExitStack() as stack:
        started = []
        for library in settings.libraries:
            for threads in settings.threads:
                started.append(Participant(library, threads))
                stack.callback(started[-1].close)
        yield started


def check(
    taking_part: list[Participant], case: Case, expected: Path, **variant: Any
) -> dict[str, dict[str, float]]:
    """Prepare the case everywhere; raise if one computes something else. The largest errors by library."""
    for each in taking_part:
        each.send(prepare=case, expected=str(expected), **variant)
    found = {each: each.receive()["errors"] for each in taking_part}
    largest: dict[str, dict[str, float]] = {}
    for each, errors in found.items():
        answers.check(f"{each.name}, case {case.name}", errors)
        known = largest.setdefault(each.library.name, errors)
        largest[each.library.name] = {name: max(known[name], error) for name, error in errors.items()}
    return largest


def times(
    taking_part: list[Participant], seconds: float, least: int, passes: Sequence[str] = PASSES
) -> dict[str, Any]:
    """Pass -> library -> threads -> summary, from turns of all who take part."""
    turns = {each.name: partial(each.ask, turn=passes) for each in taking_part}
    samples = in_turn(turns, seconds, least)
    results: dict[str, Any] = {}
    for name in passes:
        of_libraries = results.setdefault(name, {})
        for each in taking_part:
            if name in each.library.passes:
                seconds_each = [turn[name] for turn in samples[each.name]]
                of_libraries.setdefault(each.library.name, {})[str(each.threads)] = summary(seconds_each)
    return results
