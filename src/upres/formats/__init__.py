"""Adapters between files and arrays, one module a kind of file."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from upres.errors import OutputError
from upres.formats.options import Estimate as Estimate
from upres.formats.options import Options as Options

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".gif")
"""Of the files that are read, in lower case."""

OUTPUT_SUFFIXES = SUFFIXES
"""Of the files that can be written."""

TEMPORARY = re.compile(r"\..{0,40}\.upres-(?P<pid>\d+)-\d+(\.\w+)?")
"""Full names of the files that are there only while a process is at work on a result."""

SPLICE_BLOCK = 2**20
"""Bytes that ``splice`` moves at once."""

_count = itertools.count()


class Enlargement(Protocol):
    """A file that is open, and what is to become of it."""

    @property
    def estimate(self) -> Estimate:
        """What this will make and need, told without decoding pixels."""

    @property
    def why(self) -> str:
        """Which model was chosen and why, where the file decided; else empty."""

    def write(self, target: Path, *, progress: Callable[[float], None] | None = None) -> None:
        """Make the result, and write it to ``target``, whose suffix decides its format.

        ``target`` is replaced at once and whole, or stays as it was; its folder must exist.
        ``progress`` is told the part that is done, from 0 to 1. Only once.

        Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if
        ``target`` cannot be written or cannot hold the result.
        """


def open_file(source: Path, options: Options) -> Enlargement:
    """Open a picture's file to be enlarged.

    Raises ``InputError`` if ``source`` cannot be read or is too small or large for what is
    asked, ``ModelError`` if there is no such model.
    """
    # Here, so that asking for the options alone loads neither libvips nor the engine.
    from upres.formats import photo

    return photo.open_file(source, options)


def enlarge_file(
    source: Path,
    target: Path,
    options: Options,
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Enlarge a picture file to another: ``open_file``, then its ``write``."""
    open_file(source, options).write(target, progress=progress)


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents; raise ``OutputError`` if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from None


def machine_memory() -> int | None:
    """Bytes of memory that the machine has; ``None`` where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def splice(path: Path, start: int, end: int, content: bytes) -> None:
    """Put bytes in the place of those from ``start`` to ``end``; what follows is moved."""
    shift = len(content) - (end - start)
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        tops = range(end, size, SPLICE_BLOCK) if shift else ()
        # Of what moves up, the last first, and of what moves down the first.
        for top in reversed(tops) if shift > 0 else tops:
            file.seek(top)
            block = file.read(min(SPLICE_BLOCK, size - top))
            file.seek(top + shift)
            file.write(block)
        file.seek(start)
        file.write(content)
        file.truncate(size + shift)


def temporary_name(path: Path, suffix: str) -> Path:
    """A name beside ``path`` that no other result, thread or process has; see ``TEMPORARY``."""
    # Short, as a name that is as long as it may be leaves no room for more.
    return path.with_name(f".{path.stem[:40]}.upres-{os.getpid()}-{next(_count)}{suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to; what is there at the end becomes ``path``, at once.

    If anything is raised meanwhile, ``path`` stays as it was and nothing is left behind.
    Raises ``OutputError`` if the folder or the file cannot be written.
    """
    temporary = temporary_name(path, path.suffix)
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
