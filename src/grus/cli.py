"""The ``grus`` command: what is there to ask for; the work is in :mod:`grus._commands`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; an error is one clear line, with a traceback only if ``GRUS_DEBUG`` is set."""
    try:
        from grus._commands import app
    except ImportError as error:
        sys.exit(f'The grus command needs {error.name}: pip install "grus[app]"')
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        if os.environ.get("GRUS_DEBUG"):
            raise
        from rich.console import Console

        Console(stderr=True, highlight=False).print(f"[bold red]Error:[/] {_escaped(str(error))}")
        sys.exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
