"""What the commands print with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)


def two_columns(title: str, rows: Mapping[str, Any]) -> Table:
    """Names and values, without lines."""
    table = Table(title=escape(title), title_justify="left", show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[dim]{escape(name)}[/]", escape(str(value)))
    return table


__all__ = ["console", "escape", "two_columns"]
