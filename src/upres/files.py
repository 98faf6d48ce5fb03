"""Writes files so that nothing is lost: temporary names, locks, replacing at once and whole."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from upres.errors import ExistsError, OutputError

SPLICE_BLOCK = 2**20
"""Bytes that ``splice`` moves at once, unless it is told otherwise."""

FULL = 2**16
"""A disk with fewer free bytes is full: there is no picture that it would hold."""

PROCESS = os.urandom(4).hex()
"""Tells this process from all others, those in containers included, whose numbers are alike."""

TEMPORARY = re.compile(r"\..{0,40}\.upres-(?P<process>[0-9a-f]{8})-\d+(\.\w+)?", re.DOTALL)
"""Full names of the files that are there only while a process is at work on a result."""

FOLDER_LOCK = ".upres-lock"
"""A file in a temporary folder that is locked as long as its process is at work on it."""

LONGEST_NAME = 255
"""Bytes that common file systems allow for a name."""

_count = itertools.count()


if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> None:
        """Lock an open file until it is closed; ``BlockingIOError`` if another has the lock."""
        # A byte far beyond the end, as nobody else can read locked bytes here.
        os.lseek(descriptor, 2**40, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Lock an open file until it is closed; ``BlockingIOError`` if another has the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents; raise ``OutputError`` if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(
            f"{folder}: cannot make this folder: a file is there: give another name, or one with "
            "the suffix of a format"
        ) from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from None


def check_name(target: Path, *, folder: bool = False) -> None:
    """Raise ``OutputError`` if a file cannot have that name: a folder has it, or it is too long.

    The name of a ``folder`` must not be that of a file.
    """
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise OutputError(f"{target}: this name is too long: give another")
    if folder and os.path.lexists(target) and not target.is_dir():
        raise OutputError(f"{target}: is a file, where a folder is to be: give another name")
    if target.is_dir() and not folder:
        raise OutputError(f"{target}: is a folder, where a file is to be: give another name")


def full_disk(folder: Path) -> OSError | None:
    """The error of a full disk, if that of ``folder`` is full; a cause for another error."""
    with suppress(OSError):
        if shutil.disk_usage(folder).free < FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def is_full_disk(error: BaseException) -> bool:
    """Whether an error comes from a full disk, so that the next picture would fail, too."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in numbers:
            return True
        # libvips knows no error numbers.
        if any(os.strerror(number) in str(cause) for number in numbers):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def temporary_name(path: Path, suffix: str) -> Path:
    """A name beside ``path`` that no other result, thread or process has; see ``TEMPORARY``."""
    # Short, as a name that is as long as it may be leaves no room for more.
    return path.with_name(f".{path.stem[:40]}.upres-{PROCESS}-{next(_count)}{suffix}")


@contextmanager
def temporary(path: Path, suffix: str) -> Iterator[Path]:
    """Give the name of a new, empty file beside ``path``, which is there for a while.

    Raises ``OSError`` if it cannot be made.
    """
    name = temporary_name(path, suffix)
    descriptor = create_locked(name)
    if sys.platform == "win32":
        os.close(descriptor)  # an open file cannot be replaced there
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(descriptor)


@contextmanager
def replacing(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a name to write to; the file there becomes ``path`` at the end, at once.

    If anything is raised meanwhile, ``path`` stays as it was and nothing is left behind.
    Raises ``OutputError`` if the folder or the file cannot be written, ``ExistsError`` if
    ``path`` is there at the end and is not to be ``replace``d.
    """
    written = False
    try:
        with temporary(path, path.suffix) as name:
            written = True
            yield name
            publish(name, path, replace=replace)
    except OSError as error:
        place = "this file" if written else "here"
        raise OutputError(f"{path}: cannot write {place}: {error.strerror}") from None


def publish(name: Path, path: Path, *, replace: bool) -> None:
    """Make the file that is called ``name`` be called ``path``, at once.

    Raises ``ExistsError`` if ``path`` is there and is not to be ``replace``d, ``OSError`` if it
    cannot be.
    """
    if replace or not _link(name, path):
        os.replace(name, path)


def _link(name: Path, path: Path) -> bool:
    """Give a file the name ``path``, too; whether the file system can.

    Raises ``ExistsError`` if there is a file of that name, be it since a moment ago.
    """
    try:
        os.link(name, path)
    except FileExistsError:
        raise ExistsError(path) from None
    except OSError:  # a file system without links, where to look is all that can be done
        if os.path.lexists(path):
            raise ExistsError(path) from None
        return False
    return True


def create_locked(path: Path, *, locking: Callable[[int], None] = lock) -> int:
    """Make a new file, and give it open for reading and writing, locked while it is open.

    ``locking`` takes the lock, as ``lock`` does. Raises ``OSError`` if that cannot be done.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            # Before it was locked, another process may have taken it for left behind.
            if lock_named(descriptor, path, locking=locking):
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        path.unlink(missing_ok=True)


def lock_named(descriptor: int, path: Path, *, locking: Callable[[int], None] = lock) -> bool:
    """Lock an open file; whether ``path`` is still its name, now that nobody else has the lock.

    ``locking`` takes the lock, as ``lock`` does. Raises ``BlockingIOError`` if another has it. On a
    file system without locks, nobody has.
    """
    try:
        locking(descriptor)
    except BlockingIOError:
        raise
    except OSError:
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_leftovers(folders: Iterable[Path], *, of_process: str | None = None) -> None:
    """Remove the temporary files that ended processes left in ``folders``, or that one left."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                match = TEMPORARY.fullmatch(entry.name)
                if match is None or of_process not in (None, match["process"]):
                    continue
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        _remove_folder(Path(entry.path), locked=of_process is not None)
                    elif of_process is None:
                        _remove_unlocked(entry.path)
                    else:
                        os.unlink(entry.path)


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        lock(descriptor)
        if sys.platform != "win32":
            os.unlink(path)
    finally:
        os.close(descriptor)
    if sys.platform == "win32":
        os.unlink(path)


def _remove_folder(folder: Path, *, locked: bool) -> None:
    """Remove a temporary folder that nobody is at work on, or one that is ``locked``, too."""
    if not locked and (folder / FOLDER_LOCK).exists():
        _remove_unlocked(os.fspath(folder / FOLDER_LOCK))
    shutil.rmtree(folder, ignore_errors=True)


def place_of(path: Path, known: dict[str, str] | None = None) -> str:
    """The one path for all paths to a place: through links to folders, not to files.

    ``known`` are places of folders that were asked for before, and gets others.
    """
    if os.path.isdir(path):
        return os.path.realpath(path)
    known = {} if known is None else known
    folder, name = os.path.split(path)
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return os.path.join(known[folder], name)


def splice(path: Path, start: int, end: int, content: bytes, *, block: int = SPLICE_BLOCK) -> None:
    """Put bytes in the place of those from ``start`` to ``end``; those behind are moved.

    ``block`` is how many bytes are moved at once.
    """
    with path.open("r+b") as file:
        _splice(file, start, end, content, block)


def splice_all(path: Path, edits: Sequence[tuple[int, int, bytes]]) -> None:
    """``splice`` several places, start, end and content of each, in order and near each other.

    The bytes behind the last are moved once.
    """
    if not edits:
        return
    first, last = edits[0][0], edits[-1][1]
    with path.open("r+b") as file:
        file.seek(first)
        content = file.read(last - first)
        parts, at = [], first
        for start, end, new in edits:
            parts += [content[at - first : start - first], new]
            at = end
        _splice(file, first, last, b"".join(parts), SPLICE_BLOCK)


def _splice(file: BinaryIO, start: int, end: int, content: bytes, block: int) -> None:
    shift = len(content) - (end - start)
    size = file.seek(0, os.SEEK_END)
    tops = range(end, size, block) if shift else ()
    # Of bytes that move up, the last first, and of those that move down the first.
    for top in reversed(tops) if shift > 0 else tops:
        file.seek(top)
        moved = file.read(min(block, size - top))
        file.seek(top + shift)
        file.write(moved)
    file.seek(start)
    file.write(content)
    file.truncate(size + shift)
