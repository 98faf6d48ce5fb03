"""Adapters between files and arrays, one module a kind of file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upres.errors import OutputError


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents; raise ``OutputError`` if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to; what is there at the end becomes ``path``, at once.

    If anything is raised meanwhile, ``path`` stays as it was and nothing is left behind.
    Raises ``OutputError`` if the folder or the file cannot be written.
    """
    # Short, as a name that is as long as it may be leaves no room for more.
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}{path.suffix}")
    try:
        temporary.touch()
    except OSError as error:
        raise OutputError(f"{path}: cannot write here: {error.strerror}") from None
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write this file: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
