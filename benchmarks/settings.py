"""What a run was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cases import Case
from benchmarks.peers import LIBRARIES, Library


@dataclass(frozen=True)
class Settings:
    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    threads: tuple[int, ...]  # ascending; grus's figure is that at the last
    seconds: float  # for each case, or other measurement
    rounds: int  # at least
    quick: bool
    tell: Callable[[str], None]  # shows the user what is done

    @property
    def libraries(self) -> list[Library]:
        """grus, and the chosen peers that are installed."""
        return [LIBRARIES[name] for name in ("grus", *self.peers) if LIBRARIES[name].missing() is None]

    def least_rounds(self, case: Case) -> int:
        """Three where a call takes long."""
        return min(self.rounds, 3) if case.operations > 1e10 else self.rounds
