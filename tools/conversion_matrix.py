"""Print, as Markdown, what becomes of each library's GRUs in every other.

Run: ``python tools/conversion_matrix.py``, or with the names of some of ``SIDES``.

A source is made at random by its own library, for each of {1, 2 layers} x {1, 2 directions} x {biases, none} x
{after, before} x {float64, float32} that it has. grus reads it and writes it for the target; then both libraries,
not grus, run on the same random input from the same random states. The status is 1 if a difference is above the
bound, or if a target refuses what it has, or takes what it has not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import grus
from grus.conversion import ConversionError
from layouts import GRID, TOLERANCE, Case, difference
from library_sides import SIDES

REASONS = {  # why a target refuses: what of the message tells it
    "formulation": "They are different functions",
    "bidirectional": "has no bidirectional",
    "b_hn": "no recurrent bias in the new gate",
    "float64": "allow_cast=True to round",
}


class Outcome(NamedTuple):
    """What became of one GRU in one target."""

    source: str
    target: str
    case: Case
    difference: float | None  # None: it was refused
    refused: str | None  # a key of REASONS
    message: str | None
    wrong: str | None  # what should have been otherwise


# --------------------------------------------------------------------------------------- in processes of their own


def write_sources(folder: Path, name: str) -> None:
    """Make, convert and run: for each GRU the one that grus got, and the answer of the library's own."""
    side = SIDES[name]
    for number, case in enumerate(case for case in GRID if side.makes(case)):
        rng, path = np.random.default_rng(number), folder / f"{name} {case}"
        x = rng.standard_normal((4, 7, 3)).astype(case.dtype)
        h0 = rng.uniform(-1, 1, (case.layers * case.directions, 4, 5)).astype(case.dtype)
        with side.within(case.dtype):
            source = side.make(case, rng)
            grus.save(side.read(source), f"{path}.safetensors")
            output, h_n = side.run(source, x, h0, case.directions)
        np.savez(f"{path}.npz", x=x, h0=h0, output=np.asarray(output), h_n=np.asarray(h_n))


def write_outcomes(folder: Path, name: str) -> None:
    """What becomes of all sources in this target."""
    found = [outcome(path, name)._asdict() for path in sorted(folder.glob("*.npz"))]
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def outcome(path: Path, name: str) -> Outcome:
    """Write the GRU for the target, run that, and compare with what the source gave."""
    side, (source, words) = SIDES[name], path.stem.split(" ")
    case = next(case for case in GRID if str(case) == words)
    gru = grus.load(path.with_suffix(".safetensors"))
    recurrent = [array[2 * gru.hidden_size :] for key, array in gru.parameters.items() if "bias_hh" in key]
    lacks = side.lacks(case, b_hn=any(map(np.any, recurrent)))
    with np.load(path) as file:
        given = dict(file)
    try:
        with side.within(case.dtype):
            answer = side.run(side.write(gru), given["x"], given["h0"], case.directions)
    except ConversionError as error:
        reason = next((word for word, text in REASONS.items() if text in str(error)), None)
        wrong = None if reason in lacks else "refused for another reason" if lacks else "refused"
        return Outcome(source, name, case, None, reason, str(error), wrong)
    worst = difference((given["output"], given["h_n"]), answer)
    wrong = "converted" if lacks else None if worst <= TOLERANCE[case.dtype] else "another function"
    return Outcome(source, name, case, worst, None, None, wrong)


# ----------------------------------------------------------------------------------------------------- the table


def outcomes(names: Sequence[str]) -> list[Outcome]:
    """All, each side in a process of its own: Keras has one backend in it, and JAX keeps what it compiled."""
    with TemporaryDirectory() as folder:
        for stage in ("sources", "targets"):
            for name in names:
                settings = {"KERAS_BACKEND": SIDES[name].keras, "NUMBA_DISABLE_JIT": "1"}
                settings |= {
                    "JAX_COMPILATION_CACHE_DIR": folder,
                    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                }
                command = [sys.executable, __file__, stage, folder, name]
                subprocess.run(command, env=os.environ | settings, check=True)
        read = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.json")]
    return [Outcome(**each | {"case": Case(*each["case"])}) for part in read for each in part]


def table(found: Sequence[Outcome], names: Sequence[str], dtype: str) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"| {dtype}, source ↓ target → |" + "|".join(f" {SIDES[name].title} " for name in names) + "|"
    yield "|---" * (len(names) + 1) + "|"
    for source in names:
        of = [each for each in found if each.source == source and each.case.dtype == dtype]
        if of:
            cells = [cell([each for each in of if each.target == name]) for name in names]
            yield f"| {SIDES[source].title} |" + "|".join(f" {each} " for each in cells) + "|"


def cell(found: Sequence[Outcome]) -> str:
    """The largest difference of what was converted, and what was refused: of a formulation, its name."""
    differences = [each.difference for each in found if each.difference is not None]
    refused = {
        each.case.formulation if each.refused == "formulation" else str(each.refused)
        for each in found
        if each.difference is None
    }
    parts = [f"{max(differences):.1e}" if any(differences) else "0"] if differences else []
    return "; ".join([*parts, *([f"refused: {', '.join(sorted(refused))}"] if refused else [])])


def legend(found: Sequence[Outcome]) -> Iterator[str]:
    """One message for each reason."""
    for reason in REASONS:
        message = next((each.message for each in found if each.refused == reason), None)
        if message:
            yield f"- refused, {'after or before' if reason == 'formulation' else reason}: *{message}*"


def main(arguments: Sequence[str]) -> int:
    """Print the tables."""
    if arguments and arguments[0] in ("sources", "targets"):
        stage, folder, name = arguments
        (write_sources if stage == "sources" else write_outcomes)(Path(folder), name)
        return 0
    names = [name for name in SIDES if name in arguments or not arguments]
    found = outcomes(names)
    for dtype in ("float64", "float32"):
        print("\n".join(table(found, names, dtype)), end="\n\n")
    print("\n".join(legend(found)), end="\n\n")
    for dtype, bound in sorted(TOLERANCE.items(), reverse=True):
        own = [each.difference for each in found if each.case.dtype == dtype and each.difference is not None]
        refused = sum(each.case.dtype == dtype for each in found) - len(own)
        worst = max(own, default=0.0)
        print(f"{dtype}: {len(own)} converted, worst {worst:.1e}, bound {bound:.0e}; {refused} refused.")
    wrong = [each for each in found if each.wrong]
    for each in wrong:
        print(
            f"WRONG: {each.source} to {each.target}, {each.case}: {each.wrong} ({each.difference or each.message})"
        )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
