"""A run over many files, which one bad file does not stop, and which can be gone on with."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from upres.enlarging.files import open_file
from upres.enlarging.options import Existing, Options
from upres.errors import InputError, OutputError, Remedy, UpresError
from upres.files import PROCESS, is_full_disk, remove_leftovers
from upres.runs.executors import MOST_WORKERS, PIXELS_AT_ONCE, Done, Executor, Stopped, Threads
from upres.runs.jobs import Job
from upres.runs.known import NOTHING_KNOWN
from upres.runs.local import Enlargement, LocalWork

__all__ = ["MOST_WORKERS", "PIXELS_AT_ONCE", "Summary", "carry_on", "enlarge_files"]

PATIENCE = 0.5
"""Seconds that work under way gets to end when the run is to stop."""

INTERRUPTED = "interrupted"
"""Why a run ended early that was asked to."""

UNEXPECTED = "an error that upres did not expect, please report it"
"""In the message of an error that nothing else explains; tests look for it."""


class RunJournal(Protocol):
    """The journal of a run: in a folder, or in a store."""

    @property
    def is_empty(self) -> bool: ...

    def known(self, target: Any) -> Any: ...

    def done(self, source: Any, stamp: Any, target: Any) -> None: ...

    def failed(self, source: Any, target: Any, why: str) -> None: ...

    def commit(self, *, at_once: bool = False) -> None: ...

    def remove(self) -> None: ...


@dataclass
class Summary:
    """How a run ended."""

    done: int = 0
    skipped: int = 0
    failed: list[tuple[Any, UpresError]] = field(default_factory=list)
    """By the path or the place of each."""
    not_read: list[Any] = field(default_factory=list)
    """Files in the folders that are pictures and were passed over."""
    left: int = 0
    """Pictures not tried, as the run was stopped."""
    stopped_by: str | None = None
    """Why the run ended early, if it did."""
    remedies: tuple[Remedy, ...] = ()
    """Choices that would mend that."""
    still_busy: bool = False
    """Threads are in the middle of work that cannot be stopped: end the process at once."""
    pixels: int = field(default=0, compare=False)
    """Of all results that were made."""
    core_seconds: float = field(default=0, compare=False)
    """The time that processors were held for them, where each was held for one."""


def enlarge_files(
    jobs: Sequence[Job],
    options: Options,
    *,
    open_picture: Callable[..., Enlargement] = open_file,
    existing: Existing = "refuse",
    journal: RunJournal | None = None,
    stop: threading.Event | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
    finished: Callable[[Any, str], None] | None = None,
    not_kept: Callable[[Any, Sequence[str]], None] | None = None,
) -> Summary:
    """Enlarge each picture in threads; a failure stops no other, a full disk stops the run.

    Reading, the network and writing overlap in ``workers`` threads (default: by the
    processors that this process may use); the results do not depend on their number.
    ``open_picture`` opens each, and plans its result. All else is as in ``carry_on``.
    """
    stop = stop or threading.Event()
    work = LocalWork(options, open_picture, existing)
    summary = carry_on(
        jobs,
        Threads(work, stop, workers),
        sum(job.weight for job in jobs),
        journal=journal,
        stop=stop,
        progress=progress,
        finished=finished,
        not_kept=not_kept,
    )
    if summary.still_busy:
        remove_leftovers({job.target.parent for job in jobs}, of_process=PROCESS)
    return summary


def carry_on(
    jobs: Iterable[Any],
    executor: Executor,
    total: float,
    *,
    journal: RunJournal | None = None,
    stop: threading.Event,
    progress: Callable[[float], None] | None = None,
    finished: Callable[[Any, str], None] | None = None,
    not_kept: Callable[[Any, Sequence[str]], None] | None = None,
) -> Summary:
    """Have each job done by ``executor``, which is closed in the end.

    Jobs are taken as they are needed. Each has a ``source``, a ``target`` and a ``weight``, and
    ``total`` is the weight of all. What ``journal`` has as done is skipped. Setting ``stop`` ends
    the run within about a second.

    ``progress`` is told the part of the whole that is done, ``finished`` each file that is
    written and the text to tell of it, and then ``not_kept``, if there are any, the names of the
    items that the file does not keep; all in the thread that calls this.
    """
    summary = Summary()
    pending: deque[tuple[Any, Future[Done | None]]] = deque()
    waiting = iter(jobs)
    exhausted, settled = False, 0.0

    def tell() -> None:
        if progress:
            progress(min(1.0, (settled + executor.under_way()) / (total or 1)))

    try:
        while summary.stopped_by is None:
            while not exhausted and len(pending) < executor.ahead(bool(summary.done)):
                job = next(waiting, None)
                if job is None:
                    exhausted = True
                    break
                known = journal.known(job.target) if journal else NOTHING_KNOWN
                pending.append((job, executor.submit(job, known)))
            if not pending:
                break
            awaited = [pending[0]] if executor.ordered else [*pending]
            if not _wait([future for _, future in awaited], stop, tell, journal):
                summary.stopped_by = INTERRUPTED
                break
            ended = {future: job for job, future in awaited if future.done()}
            pending = deque(pair for pair in pending if pair[1] not in ended)
            for future, job in ended.items():
                settled += job.weight
                _settle(job, future, summary, journal, finished, not_kept)
            if journal:
                journal.commit()
            tell()
    except (InputError, OutputError) as error:  # of the journal, or of a list that breaks off
        summary.stopped_by = str(error)
    finally:
        stop.set()
        executor.close()
    wait([future for _, future in pending], timeout=PATIENCE)
    for job, future in pending:
        if future.done():
            _settle(job, future, summary, journal, finished, not_kept)
        else:
            summary.left += 1
            summary.still_busy = True
    if isinstance(jobs, Sequence):
        summary.left += sum(1 for _ in waiting)
    if journal:
        with suppress(OutputError):
            journal.commit(at_once=True)
        if summary.stopped_by is None or journal.is_empty:
            journal.remove()
    return summary


def _wait(
    futures: Sequence[Future[Done | None]],
    stop: threading.Event,
    tell: Callable[[], None],
    journal: RunJournal | None,
) -> bool:
    """Wait for one of these pictures; whether it ended before the run was to stop."""
    while not stop.is_set():
        if wait(futures, timeout=0.1, return_when=FIRST_COMPLETED).done:
            return True
        tell()
        if journal:
            journal.commit()
    return False


def _settle(
    job: Any,
    future: Future[Done | None],
    summary: Summary,
    journal: RunJournal | None,
    finished: Callable[[Any, str], None] | None,
    not_kept: Callable[[Any, Sequence[str]], None] | None,
) -> None:
    """Count, note and tell how one picture ended."""
    try:
        done = future.result()
    except (Stopped, CancelledError):
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
        summary.done += 1
        summary.pixels += done.pixels
        summary.core_seconds += done.core_seconds
        if journal:
            journal.done(job.source, done.stamp, job.target)
        if finished:
            finished(job.target, done.told)
        if not_kept and done.not_kept:
            not_kept(job.target, done.not_kept)
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
