"""Options that other libraries have too, or that a loop in them can do: their times beside grus's."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import answers, compare
from benchmarks.cases import SMALL, Data
from benchmarks.option_table import OPTIONS, as_function
from benchmarks.settings import Settings

LOOP, KERAS = "torch", "keras"  # in PyTorch it takes a loop over the steps
HAVE = {
    "recurrent_dropout": (LOOP, KERAS),
    "zoneout": (LOOP,),
    "layer_norm": (LOOP,),
    "decay": (LOOP,),
    "reset": (LOOP,),
    "mask": (KERAS,),
    "relu": (KERAS,),
    "reset_after=False": (KERAS,),
}
ROUNDS = 3  # they take many times as long


def measure(settings: Settings) -> dict[str, Any]:
    """Option -> errors, and pass -> library -> threads -> seconds, at the small case, where one thread is best."""
    peers = tuple(name for name in (LOOP, KERAS) if name in settings.peers)
    chosen = replace(settings, peers=peers, threads=(1,))
    if len(chosen.libraries) == 1:
        return {}
    found = {}
    with tempfile.TemporaryDirectory() as folder, compare.participants(chosen) as everyone:
        for option, libraries in HAVE.items():
            taking_part = [each for each in everyone if each.library.name in ("grus", *libraries)]
            if {each.library.name for each in taking_part} == {"grus"}:
                continue
            settings.tell(f"option {option} in other libraries")
            errors = compare.check(
                taking_part, SMALL, expected(option, folder), variant="options", arguments=[option]
            )
            times = compare.times(taking_part, 0.0, min(ROUNDS, settings.rounds))
            found[option] = {"errors": errors, **times}
    return found


def expected(option: str, folder: str) -> Path:
    """The file of the answers that all must give."""
    path = Path(folder) / "expected.npz"
    data, given = as_function(OPTIONS[option], Data.random(SMALL))
    answers.save(answers.reference(data, **given), path)
    return path
