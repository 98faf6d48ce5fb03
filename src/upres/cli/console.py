"""What the command shows on standard error: errors, how far it is, and how it ended."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import typer

from upres.errors import Remedy, UpresError

if TYPE_CHECKING:
    from rich.progress import Progress

    from upres.runs.batch import Summary


FLAGS: dict[tuple[str, object], str] = {
    ("existing", "replace"): "--force",
    ("existing", "skip"): "--skip-existing",
    ("overrides", None): "--set",
    ("report", False): "--no-report",
    ("run", None): "--output",
}
"""Flags that are not called as the option of a remedy is, by option and value."""


def show_anything() -> None:
    """Let the terminal show what its encoding lacks, such as the lines of a table, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where it is closed
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Print a line on standard error, if that is open."""
    if sys.stderr is not None:  # else print would take standard output, where the picture goes
        print(line, file=sys.stderr)


def complain(error: UpresError) -> None:
    """Print an error, as one line whatever is in it."""
    say(f"upres: {in_one_line(error.text(as_flag))}")


def as_flag(remedy: Remedy) -> str:
    """A remedy's option as the command has it: ``--max-pixels``."""
    flag = FLAGS.get((remedy.option, remedy.value))
    if flag is None:
        flag = "--" + remedy.option.replace("_", "-")
        flag = flag if remedy.value in (None, True) else f"{flag} {remedy.value}"
    return flag


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


def end(summary: Summary, hint: str = "", *, quiet: bool) -> None:
    """Say how a run ended, and exit if it did not end well."""
    from upres.runs.batch import INTERRUPTED

    for _, error in summary.failed:
        complain(error)
    counts = {
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": len(summary.failed),
        "left": summary.left,
    }
    line = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if summary.stopped_by and sum(counts.values()) > 1:
        complain(UpresError(f"{summary.stopped_by}: {line}; {hint}"))
    elif summary.stopped_by:
        complain(UpresError(summary.stopped_by))
    elif sum(counts.values()) > 1 and (summary.failed or not quiet):
        say(f"upres: {line}")
    code = 130 if summary.stopped_by == INTERRUPTED else 1
    if summary.still_busy:
        # Threads in the engine or in libvips cannot be ended, only left behind.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # as where it is closed
                stream.flush()
        os._exit(code)
    if summary.failed or summary.stopped_by:
        raise typer.Exit(code)
