"""A run over many files, which one bad file does not stop, and which can be gone on with."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from upres.engine.machine import usable_processors
from upres.enlarging.files import open_file
from upres.enlarging.options import Existing, Larger, Options
from upres.enlarging.writing import Written
from upres.errors import (
    ExistsError,
    InputError,
    LargeEnoughError,
    OutputError,
    Remedy,
    UpresError,
)
from upres.files import PROCESS, check_name, is_full_disk, make_folder, remove_leftovers
from upres.runs.jobs import Job
from upres.runs.journal import Journal, SourceStamp

PIXELS_AT_ONCE = 4_000_000
"""Output pixels that are worked on at once: small pictures overlap, a large one runs alone."""

MOST_WORKERS = 8
"""Pictures that are worked on at once, however many processors there are."""

PATIENCE = 0.5
"""Seconds that work under way gets to end when the run is to stop."""

INTERRUPTED = "interrupted"
"""Why a run ended early that was asked to."""

UNEXPECTED = "an error that upres did not expect, please report it"
"""In the message of an error that nothing else explains; tests look for it."""


class Enlargement(Protocol):
    """A picture that is open, with its plan: see ``upres.enlarging.files``."""

    @property
    def pixels(self) -> int: ...

    @property
    def why(self) -> str: ...

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
    ) -> Written: ...


Done = tuple[SourceStamp, str, Sequence[str]]
"""Of a picture that is enlarged: its source's stamp, the text to tell of it, such as why by which
model, and names of the items that its result does not keep."""


@dataclass
class Summary:
    """How a run ended."""

    done: int = 0
    skipped: int = 0
    failed: list[tuple[Path, UpresError]] = field(default_factory=list)
    not_read: list[Path] = field(default_factory=list)
    """Files in the folders that are pictures and were passed over."""
    left: int = 0
    """Pictures not tried, as the run was stopped."""
    stopped_by: str | None = None
    """Why the run ended early, if it did."""
    remedies: tuple[Remedy, ...] = ()
    """Choices that would mend that."""
    still_busy: bool = False
    """Threads are in the middle of work that cannot be stopped: end the process at once."""


def enlarge_files(
    jobs: Sequence[Job],
    options: Options,
    *,
    open_picture: Callable[..., Enlargement] = open_file,
    existing: Existing = "refuse",
    journal: Journal | None = None,
    stop: threading.Event | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    finished: Callable[[Path, str], None] | None = None,
    not_kept: Callable[[Path, Sequence[str]], None] | None = None,
) -> Summary:
    """Enlarge each picture; a failure stops no other, a full disk stops the run.

    Reading, the network and writing overlap in ``workers`` threads (default: by the
    processors that this process may use); the results do not depend on their number. What
    ``journal`` has as done is skipped. Setting ``stop`` ends the run within about a second.

    ``open_picture`` opens each, and plans its result.

    ``progress`` is told the part of the whole that is done, ``finished`` each file that is
    written and the text to tell of it, in the order of ``jobs``, and then ``not_kept``, if there
    are any, the names of the items that the file does not keep; all in the thread that calls this.
    """
    stop = stop or threading.Event()
    shared = _Shared(
        lambda job: job.opened(open_picture, options), existing, options.larger, journal, stop
    )
    # So many that the processors seldom wait for what holds Python's lock.
    workers = workers or min(MOST_WORKERS, 2 * usable_processors())
    summary = Summary()
    pending: deque[tuple[Job, Future[Done | None]]] = deque()
    waiting = deque(jobs)
    settled = 0

    def tell() -> None:
        if progress:
            progress((settled + sum(list(shared.parts.values()))) / len(jobs))

    pool = ThreadPoolExecutor(workers, thread_name_prefix="upres")
    try:
        while (waiting or pending) and summary.stopped_by is None:
            # The first runs alone: the others share its models, loaded and compiled. The engine
            # must not be called for the first time by two threads: it may wait for ever.
            while waiting and len(pending) < (2 * workers if summary.done else 1):
                job = waiting.popleft()
                pending.append((job, pool.submit(shared.enlarge, job)))
            job, future = pending[0]
            if not _wait(future, shared.stop, tell, journal):
                summary.stopped_by = INTERRUPTED
                break
            pending.popleft()
            settled += 1
            _settle(job, future, summary, journal, finished, not_kept)
            if journal:
                journal.commit()
            tell()
    except OutputError as error:  # of the journal
        summary.stopped_by = str(error)
    finally:
        shared.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
    wait([future for _, future in pending], timeout=PATIENCE)
    for job, future in pending:
        if future.done():
            _settle(job, future, summary, journal, finished, not_kept)
        else:
            summary.left += 1
            summary.still_busy = True
    summary.left += len(waiting)
    if summary.still_busy:
        remove_leftovers({job.target.parent for job, _ in pending}, of_process=PROCESS)
    if journal:
        with suppress(OutputError):
            journal.commit(at_once=True)
        if summary.stopped_by is None or journal.is_empty:
            journal.remove()
    return summary


class _Stopped(Exception):  # noqa: N818  # it is no error of anyone's
    """Unwinds a thread's work when the run is to stop."""


class _Shared:
    """Shared by the threads of a run."""

    def __init__(
        self,
        open_picture: Callable[[Job], Enlargement],
        existing: Existing,
        larger: Larger,
        journal: Journal | None,
        stop: threading.Event,
    ) -> None:
        self.stop = stop
        self.parts: dict[Job, float] = {}
        """Of each picture that is being worked on, the part that is done."""
        self._open_picture = open_picture
        self._replaces = existing == "replace"
        skipped: dict[type[UpresError], bool] = {
            ExistsError: existing == "skip",
            LargeEnoughError: larger == "skip",
        }
        self._passed_over = tuple(error for error, skips in skipped.items() if skips)
        self._journal = journal
        self._free = PIXELS_AT_ONCE
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    def enlarge(self, job: Job) -> Done | None:
        """Enlarge one picture; None if it is skipped."""
        try:
            return self._enlarge(job)
        except self._passed_over:
            return None

    def _enlarge(self, job: Job) -> Done | None:
        try:
            check_name(job.target, folder=bool(job.members))
            stamp = SourceStamp.of(*job.files) if os.path.exists(job.source) else SourceStamp(0, 0)
            if self._journal and self._journal.has_done(job.source, stamp, job.target):
                return None
            made = self._journal is not None and self._journal.has_made(job.source, job.target)
            replace = made or self._replaces
            if not replace and os.path.lexists(job.target):
                raise ExistsError(job.target)
        except OSError as error:
            raise InputError(f"{job.source}: cannot look at this file: {error.strerror}") from error
        picture = self._open_picture(job)
        with self._room(picture.pixels):
            self._check_stop()
            make_folder(job.target.parent)
            try:
                written = picture.write(
                    job.target, replace=replace, progress=partial(self._tell, job)
                )
            finally:
                self.parts.pop(job, None)
        facts = (picture.why, written.agreement, written.errors)
        told = ", ".join(str(fact) for fact in facts if fact)
        return stamp, told, written.not_kept

    def _tell(self, job: Job, part: float) -> None:
        self._check_stop()
        self.parts[job] = part

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    @contextmanager
    def _room(self, pixels: int) -> Iterator[None]:
        """Wait until so many more pixels may be worked on."""
        pixels = min(pixels, PIXELS_AT_ONCE)
        with self._turn, self._changed:  # in turn, so that a large picture gets room, too
            while self._free < pixels:
                self._check_stop()
                self._changed.wait(0.1)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


def _wait(
    future: Future[Done | None],
    stop: threading.Event,
    tell: Callable[[], None],
    journal: Journal | None,
) -> bool:
    """Wait for one picture; whether it ended before the run was to stop."""
    while not stop.is_set():
        if wait([future], timeout=0.1).done:
            return True
        tell()
        if journal:
            journal.commit()
    return False


def _settle(
    job: Job,
    future: Future[Done | None],
    summary: Summary,
    journal: Journal | None,
    finished: Callable[[Path, str], None] | None,
    not_kept: Callable[[Path, Sequence[str]], None] | None,
) -> None:
    """Count, note and tell how one picture ended."""
    try:
        done = future.result()
    except (_Stopped, CancelledError):
        summary.left += 1
        summary.stopped_by = summary.stopped_by or INTERRUPTED
        return
    except UpresError as error:
        failure = error
    except MemoryError:
        failure = InputError(f"{job.source}: there is not enough memory for this picture")
    except Exception as error:  # one picture's trouble, of whatever kind, stops no other
        failure = UpresError(f"{job.source}: {UNEXPECTED}: {type(error).__name__}: {error}")
    else:
        if done is None:
            summary.skipped += 1
            return
        stamp, why, lost = done
        summary.done += 1
        if journal:
            journal.done(job.source, stamp, job.target)
        if finished:
            finished(job.target, why)
        if not_kept and lost:
            not_kept(job.target, lost)
        return
    if is_full_disk(failure):
        summary.left += 1
        # The first: others that had begun may fail likewise before they are asked to stop.
        if summary.stopped_by is None:
            summary.stopped_by, summary.remedies = failure.problem, failure.remedies
        return
    summary.failed.append((job.source, failure))
    if journal:
        journal.failed(job.source, job.target, str(failure))
