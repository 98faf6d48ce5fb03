"""Standard input and output as files, which are kept in a folder meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from upres.errors import OutputError, Remedy
from upres.files import create_locked, lock, remove_leftovers
from upres.formats.registry import HEAD_BYTES, read_head
from upres.runs.batch import Summary
from upres.runs.jobs import Job, check_suffix, suffix_of

FOLDER_PREFIX = "upres-stream-"
"""Begins the name of that folder."""

_LOCK = "lock"
"""A file in it that is locked as long as its process lives."""


def enlarge_stream(
    source: Path | None,
    target: Path | None,
    suffix: str | None,
    enlarge: Callable[[Job], Summary],
) -> Summary:
    """Have one picture ``enlarge``d that comes or goes by a stream, through files.

    A ``source`` of ``None`` is standard input, a ``target`` of ``None`` standard output.
    ``suffix`` is that of the result; without it, the result has the format of the picture.

    Raises ``InputError`` if the source cannot be read again and again, ``UsageError`` if
    ``suffix`` is not that of ``target``, ``OutputError`` if a stream cannot be kept or written.
    """
    if target is not None:
        check_suffix(target, suffix)
    with folder() as name:
        file = source or Path(name, "standard input")
        if source is None:
            read_into(file)
        else:
            read_head(file)
        if target is None:
            with file.open("rb") as opened:
                suffix = suffix or suffix_of(opened.read(HEAD_BYTES), file)
        result = target or Path(name, f"standard output{suffix}")
        remove_leftovers({result.parent})
        summary = enlarge(Job(file, result))
        for _, error in summary.failed:
            # The folder is nothing that users know of.
            error.problem = error.problem.replace(f"{name}{os.sep}", "")
        if summary.done and target is None:
            write_from(result)
    return summary


@contextmanager
def folder(kept: str = "standard input") -> Iterator[str]:
    """A folder that is there for a while; those that ended processes left are removed.

    ``kept`` says in errors what is kept there.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{_LOCK}"):
        with suppress(OSError), left.open("r+b") as file:
            lock(file.fileno())
            shutil.rmtree(left.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, ignore_cleanup_errors=True) as name:
        try:
            held = create_locked(Path(name, _LOCK))
        except OSError as error:
            raise _cannot_keep(name, error, kept) from None
        try:
            yield name
        finally:
            os.close(held)


def read_into(path: Path) -> None:
    """Write all that comes from standard input to a file; raises ``OutputError``."""
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise _cannot_keep(path.parent, error) from None


def write_from(path: Path) -> None:
    """Write a file to standard output.

    Raises ``OutputError``, or ``BrokenPipeError`` if whoever read it has gone.
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"standard output: cannot write the picture: {error.strerror}",
            Remedy("output", "names a file elsewhere"),
        ) from None


def _cannot_keep(folder: Path | str, error: OSError, kept: str = "standard input") -> OutputError:
    return OutputError(f"{folder}: cannot keep {kept} here: {error.strerror}")
