"""The command's words on standard error: errors, how far it is, and how it ended."""

from __future__ import annotations

import codecs
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from upres.errors import Remedy, UpresError

if TYPE_CHECKING:
    from rich.progress import Progress

    from upres.runs.batch import Summary

_AS_IT_IS = "upres.as_it_is"
_ESCAPED_BYTES = range(0xDC80, 0xDD00)
"""How Python has the bytes of names that are no text (PEP 383)."""

TELL_AFTER, TELL_FROM = 5, 60
"""After so many seconds of a run, tell how long it will take, if it is at least so many."""

FLAGS: dict[tuple[str, object], str] = {
    ("consistent", "force"): "--force-consistent",
    ("errors", "force"): "--force-error-map",
    ("existing", "replace"): "--force",
    ("existing", "skip"): "--skip-existing",
    ("overrides", None): "--set",
    ("report", False): "--no-report",
    ("run", None): "--output",
}
"""Flags that are not called as the option of a remedy is, by option and value."""


def show_anything() -> None:
    """Let the terminal show characters that its encoding lacks, as those of a table, as escapes.

    Bytes of a file's name that are no text come out as they are.
    """
    codecs.register_error(_AS_IT_IS, _as_it_is)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where it is closed
            stream.reconfigure(errors=_AS_IT_IS)


def _as_it_is(error: UnicodeError) -> tuple[bytes, int]:
    """For what cannot be encoded: the bytes that Python has read it from, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    parts = []
    for letter in error.object[error.start : error.end]:
        number = ord(letter)
        if number in _ESCAPED_BYTES:
            parts.append(bytes([number - _ESCAPED_BYTES[0] + 0x80]))
        else:
            parts.append(letter.encode("ascii", "backslashreplace"))
    return b"".join(parts), error.end


def say(line: str) -> None:
    """Print a line on standard error, if that is open."""
    if sys.stderr is None:  # print would take standard output, where the picture goes
        return
    try:
        print(line, file=sys.stderr)
    except OSError:  # its disk is full, or its reader has gone: that fails no picture
        sys.stderr = None


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
    """``text``, with spaces for the ends of lines that a file's name may hold."""
    return " ".join(text.splitlines())


def progress_bar(quiet: bool) -> Progress:
    """A bar on standard error, or none where it would not be seen."""
    from rich.console import Console
    from rich.progress import Progress

    # Bars belong on a terminal; in a log they are noise, whatever FORCE_COLOR says of colours.
    shown = sys.stderr is not None and sys.stderr.isatty()
    return Progress(console=Console(stderr=True), disable=quiet or not shown)


def end(summary: Summary, hint: str = "", *, quiet: bool, alone: bool = False) -> None:
    """Say how a run ended, and exit if it did not end well.

    ``hint`` says how it can be gone on with: of several files, and ``alone`` of one, too.
    """
    from upres.runs.batch import INTERRUPTED

    for _, error in summary.failed:
        complain(error)
    if not quiet:
        for path in summary.not_read:
            say(in_one_line(f"{path}: not read: {NOT_READ}"))
    counts = {
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": len(summary.failed),
        "left": summary.left,
        "not read": len(summary.not_read),
    }
    line = ", ".join(f"{count} {fate}" for fate, count in counts.items() if count)
    if summary.stopped_by and sum(counts.values()) > 1:
        complain(UpresError(f"{summary.stopped_by}: {line}; {hint}", *summary.remedies))
    elif summary.stopped_by:
        line = f"{summary.stopped_by}; {hint}" if alone else summary.stopped_by
        complain(UpresError(line, *summary.remedies))
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


def lacking(target: str, names: Sequence[str]) -> str:
    """The line on what a result does not keep."""
    return in_one_line(f"{target}: not kept: {', '.join(names)}")


NOT_READ = "a picture, but in no format that upres reads, or not named as one"


def duration(seconds: float) -> str:
    """A text: ``3 minutes`` or ``2.5 hours``."""
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{minutes / 60:.1f} hours"


class Reporter:
    """Shows how a run goes on: a bar on a terminal, lines elsewhere, nothing if ``quiet``."""

    def __init__(
        self,
        name: str,
        bar: Progress,
        *,
        quiet: bool,
        clock: Callable[[], float] = time.monotonic,
        warms_up: bool = False,
    ) -> None:
        """Count the time from the first picture on if the run ``warms_up``, as a cluster does."""
        from rich.markup import escape

        self._name = name
        self._bar = bar
        self._quiet = quiet
        self._clock = clock
        self._task = bar.add_task(escape(name), total=1.0)
        self._start: float | None = None if warms_up else clock()
        self._first = 0.0
        self._told = False

    def tell(self, line: str) -> None:
        """Show a line, above the bar if there is one."""
        if not self._bar.disable:
            console = self._bar.console
            console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)
        elif not self._quiet:
            say(line)

    def warned(self, warning: str) -> None:
        self.tell(f"upres: warning: {warning}")

    def progress(self, part: float) -> None:
        """Show that this part of the whole is done, and once how long the rest will take."""
        self._bar.update(self._task, completed=part)
        if self._start is None:
            if part > 0:
                self._start, self._first = self._clock(), part
            return
        passed = self._clock() - self._start
        if not self._told and passed > TELL_AFTER and part > self._first:
            self._told = True
            left = passed / (part - self._first) * (1 - part)
            if left >= TELL_FROM:
                self.tell(f"{self._name}: about {duration(left)} to go")

    def finished(self, target: Path, told: str) -> None:
        """Tell that a result is written, and what there is to tell of it."""
        self.tell(in_one_line(f"wrote {target}{told and f' ({told})'}"))

    def not_kept(self, target: Path, names: Sequence[str]) -> None:
        """Tell what the result lacks of what its picture's file said of itself."""
        self.tell(lacking(str(target), names))
