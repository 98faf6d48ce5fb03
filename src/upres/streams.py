"""Standard input and output as files: what comes and goes there is kept in a folder meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upres.errors import OutputError
from upres.journal import is_alive

PREFIX = "upres-stream-"
"""Begins the name of such a folder, before its process' number."""


@contextmanager
def folder() -> Iterator[str]:
    """A folder that is there for a while; those that ended processes left are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    prefix = f"{PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        yield name


def read_into(path: Path) -> None:
    """Write all that comes from standard input to a file; raises ``OutputError``."""
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot keep standard input here: {error.strerror}"
        ) from None


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
        raise OutputError(f"standard output: cannot write the picture: {error.strerror}") from None
