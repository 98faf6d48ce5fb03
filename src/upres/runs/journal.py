"""The journal of a run over many files, and its lock: they make it resumable.

The journal, ``.upres-journal.jsonl`` in the output folder, is there while a run is
unfinished. Its first line has the request; each further line is one picture that is
done or failed, with the path, size and time of change that its source had. A line is
written only after its output is safely on disk, so that the journal is true even
after a power loss; lines that are lost only cost repeated work. The file is locked while a run
writes it: the system drops the lock with the process, however that ends.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from upres.errors import OutputError, Remedy, UsageError
from upres.files import lock_named
from upres.models import Settled
from upres.runs.known import Known, SourceStamp

NAME = ".upres-journal.jsonl"
VERSION = 1
COMMIT_SECONDS = 0.5
"""Lines wait at most about this long for others, as each commit waits for the disk."""


class Journal:
    """An open, locked journal; ``opened`` gives it."""

    def __init__(
        self,
        folder: Path,
        file: io.FileIO,
        started: int,
        lines: Sequence[Mapping[str, Any]] | None,
        settled: Settled | None = None,
    ) -> None:
        self.folder = folder
        self.settled = settled
        """How the models of the run that it goes on with were computed."""
        self.continued = lines is not None
        """Whether it goes on with a run that was interrupted."""
        self._file = file
        self._started = started
        self._lines = {line["output"]: line for line in lines or () if line["result"] == "done"}
        self._pending: list[tuple[Path, dict[str, object]]] = []
        self._committed = time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether no picture is done yet."""
        return not self._lines and not self._pending

    def known(self, target: Path) -> Known:
        """The words of the run before on a result; nothing is looked at."""
        started = self._started if self.continued else None
        return Known(self._lines.get(self._key(target)), started)

    def done(self, source: Path, stamp: SourceStamp, target: Path) -> None:
        """Note that ``target`` is made; ``commit`` writes it."""
        self._note(source, target, size=stamp.size, mtime=stamp.mtime, result="done")

    def failed(self, source: Path, target: Path, why: str) -> None:
        """Note a failure, for whoever reads the journal: the picture will be tried again."""
        self._note(source, target, result="failed", why=why)

    def commit(self, *, at_once: bool = False) -> None:
        """Write the lines that wait, if it is time to; raise ``OutputError`` if that fails."""
        now = time.monotonic()
        if not self._pending or (not at_once and now - self._committed < COMMIT_SECONDS):
            return
        self._committed = now
        # First the outputs and their names, then the lines that say that they are there.
        lines: list[dict[str, object]] = []
        synced: set[Path] = set()
        try:
            for target, line in self._pending:
                if line["result"] == "done":
                    try:
                        line["bytes"] = _sync(target)
                        if target.parent not in synced:
                            inside = Path(self._key(target)).parents
                            folders = {target.parent, *(self.folder / each for each in inside)}
                            for folder in folders - synced:
                                _sync_folder(folder)
                            synced |= folders
                    except FileNotFoundError:
                        continue  # someone has moved it away, which is no trouble of the journal
                lines.append(line)
            _write(self._file, lines)
        except OSError as error:
            path = self.folder / NAME
            raise OutputError(f"{path}: cannot write the journal: {error.strerror}") from error
        self._lines.update({str(line["output"]): line for line in lines})
        self._pending.clear()

    def remove(self) -> None:
        """Remove the journal, when there is nothing to go on with."""
        _remove(self._file, self.folder / NAME)

    def _note(self, source: Path, target: Path, **facts: object) -> None:
        line = {"source": os.path.abspath(source), "output": self._key(target), **facts}
        self._pending.append((target, line))

    def _key(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()


@contextmanager
def opened(
    folder: Path,
    asked: Mapping[str, object],
    *,
    resume: bool,
    anew: bool,
    settled: Settled = (),
) -> Iterator[Journal]:
    """Lock ``folder`` and begin its journal, or ``resume`` the one that is there.

    ``asked`` is all that decides the outputs' bytes, but for how models are computed: that is
    ``settled`` at the beginning, and the journal tells it whoever resumes. ``anew`` lets a journal
    that was left unfinished be replaced.

    Raises ``OutputError`` if another process is at work in the folder, if an unfinished
    journal is there and neither is set, or if it cannot be written; ``UsageError`` if
    the run to be resumed was asked for with other options.
    """
    path = folder / NAME
    asked = json.loads(json.dumps(asked))
    try:
        file = _lock(path)
    except BlockingIOError:
        raise OutputError(
            f"{folder}: another upres is writing into this folder: wait for it, or choose another"
        ) from None
    except OSError as error:
        raise OutputError(f"{path}: cannot write the journal: {error.strerror}") from None
    with file:
        try:
            header, lines = _read(file)
        except OSError as error:
            raise OutputError(f"{path}: cannot read the journal: {error.strerror}") from None
        if header is not None and not resume and not anew:
            raise interrupted(str(folder), "was interrupted")
        if header is not None and resume:
            if header["asked"] != asked:
                raise UsageError(difference(str(folder), header["asked"], asked))
            yield Journal(folder, file, header["started"], lines, settled_in(header))
            return
        try:
            file.truncate(0)
            # The file system's own clock, as outputs' times are compared with it.
            os.utime(path)
            started = os.fstat(file.fileno()).st_mtime_ns
            begun = {"version": VERSION, "started": started, "asked": asked, "settled": settled}
            _write(file, [begun])
            _sync_folder(folder)
        except OSError as error:
            _remove(file, path)
            raise OutputError(f"{path}: cannot write the journal: {error.strerror}") from None
        yield Journal(folder, file, started, None)


def fingerprint(model: str) -> str:
    """A text that tells a model from another, wherever it lies."""
    path = Path(model)
    if not path.is_file():
        return model  # a shipped one
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _read(file: io.FileIO) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The request and the lines. A line that a kill or power loss left half-written is cut off."""
    file.seek(0)
    content = file.readall()
    file.truncate(content.rfind(b"\n") + 1)
    lines = []
    for text in content.split(b"\n")[:-1]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue  # as after a power loss
        if isinstance(line, dict):
            lines.append(line)
    if not lines or lines[0].get("version") != VERSION or not _is_like(lines[0], _HEADER):
        return None, []
    return lines[0], [
        line
        for line in lines[1:]
        if _is_like(line, _LINE) and (line["result"] != "done" or _is_like(line, _DONE))
    ]


_HEADER = {"started": int, "asked": dict}
_LINE = {"source": str, "output": str, "result": str}
_DONE = {"size": int, "mtime": int, "bytes": int}


def _is_like(line: Mapping[str, Any], kinds: Mapping[str, type]) -> bool:
    return all(isinstance(line.get(key), kind) for key, kind in kinds.items())


def _write(file: io.FileIO, lines: Iterable[Mapping[str, object]]) -> None:
    """Write lines, safely on disk."""
    # In ASCII, which holds names that are no valid UTF-8, too.
    rest = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _remove(file: io.FileIO, path: Path) -> None:
    if sys.platform == "win32":  # where an open file cannot be removed
        file.close()
    with suppress(OSError):
        path.unlink()


def settled_in(header: Mapping[str, Any]) -> Settled | None:
    """How the models of a journal's run are computed; ``None`` if its header does not tell."""
    pairs = header.get("settled")
    if not isinstance(pairs, list):
        return None
    good = all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        for pair in pairs
    )
    return tuple((label, mode) for label, mode in pairs) if good else None


def interrupted(folder: str, how: str) -> OutputError:
    """The error for a folder whose run is not finished, with the ways to go on."""
    return OutputError(
        f"{folder}: a run into this folder {how}",
        Remedy("resume", "goes on with it", True),
        Remedy("existing", "starts anew", "replace"),
        Remedy("existing", "keeps the results that are there", "skip"),
    )


def difference(folder: str, before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """The line that says in which options a run differs from the one that is to be resumed."""
    changed = [
        f"{key} was {before.get(key)}, not {now.get(key)}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    return f"{folder}: cannot resume with other options: {'; '.join(changed)}"


def _lock(path: Path) -> io.FileIO:
    """Open and lock a file; raise ``BlockingIOError`` if another process has the lock."""
    while True:
        # Without a buffer, whose rest a full disk would have written again when it is closed.
        file = path.open("a+b", buffering=0)
        try:
            # Whoever had the lock may have removed the file before letting go of it.
            if lock_named(file.fileno(), path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _sync(path: Path) -> int:
    """Have a file, or all files in a folder, safely on disk; the size."""
    if path.is_dir():
        size = sum(_sync(inside) for inside in sorted(path.iterdir()))
        _sync_folder(path)
        return size
    with path.open("r+b") as file:  # Windows syncs only files that are open for writing
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


if sys.platform == "win32":

    def _sync_folder(folder: Path) -> None:
        pass  # Windows has no call for that

else:

    def _sync_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that never does
                raise
        finally:
            os.close(descriptor)
