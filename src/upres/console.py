"""What the command shows on standard error: errors, and how far it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from upres.errors import UpresError

if TYPE_CHECKING:
    from rich.progress import Progress


def complain(error: UpresError) -> None:
    """Print an error, as one line whatever is in it."""
    print(f"upres: {in_one_line(str(error))}", file=sys.stderr)


def in_one_line(text: str) -> str:
    """``text``, with spaces for what a file's name may hold that begins a line."""
    return " ".join(text.splitlines())


def progress_bar(quiet: bool) -> Progress:
    """A bar on standard error, or none where it would not be seen."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Bars belong on a terminal; in a log they are noise.
    return Progress(console=console, disable=quiet or not console.is_terminal)
