"""What is being measured, while it is: a line each, or one line that changes on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that shows what is done next, on standard error."""
    start = time.perf_counter()

    def line(what: str) -> None:
        print(f"[{time.perf_counter() - start:4.0f} s] {what}", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield line
        return
    try:
        from rich.console import Console
    except ImportError:
        yield line
        return
    with Console(stderr=True).status("", refresh_per_second=1) as status:  # drawn seldom: drawing costs
        yield lambda what: status.update(f"{what} [dim]({time.perf_counter() - start:.0f} s)[/]")
