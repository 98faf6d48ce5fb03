"""Where the pictures of a run are worked on: threads here; ``upres.runs.cluster`` is another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from upres.engine.machine import usable_processors

PIXELS_AT_ONCE = 4_000_000
"""Output pixels that are worked on at once: small pictures overlap, a large one runs alone."""

MOST_WORKERS = 8
"""Pictures that are worked on at once, however many processors there are."""


@dataclass(frozen=True)
class Done:
    """A picture that is enlarged."""

    stamp: Any
    """Its source's, for the journal."""
    told: str
    """The text to tell of it, such as why by which model."""
    not_kept: Sequence[str] = ()
    """Names of the items that its result does not keep."""
    pixels: int = 0
    """Of the result."""
    core_seconds: float = 0
    """The time that processors were held for it; 0 where pictures share them."""


Room = Callable[[int, int], AbstractContextManager[None]]
"""Gives a context, once a picture of so many result pixels, and so many bytes of memory as its plan
predicts, may be worked on. On a cluster it raises if the worker has not asked for as much."""


class Making(Protocol):
    """The making of one result. Where processes do it, it can be pickled."""

    def __call__(
        self, job: Any, known: Any, room: Room, tell: Callable[[float], None]
    ) -> Done | None:
        """Enlarge one picture; ``None`` if it is passed over.

        ``known`` is what the journal knows of its result, and ``tell`` is told the part that is
        done. Raises ``UpresError``, and what decoders raise.
        """
        ...


class Executor(Protocol):
    """Does the work of a run."""

    ordered: bool
    """Whether results are told of in the order of the jobs; else as they end."""

    def ahead(self, warm: bool) -> int:
        """How many jobs may be under way or wait; ``warm`` is whether one has been done."""
        ...

    def submit(self, job: Any, known: Any) -> Future[Done | None]:
        """Begin a job, or have it wait its turn."""
        ...

    def under_way(self) -> float:
        """The sum of the parts that are done of jobs under way, each of its weight."""
        ...

    def close(self) -> None:
        """Begin no more work, and stop what is under way as soon as it can be."""
        ...


class Stopped(Exception):  # noqa: N818  # it is no error of anyone's
    """Unwinds a thread's work when the run is to stop."""


class Threads:
    """Threads of this process: reading, the network and writing overlap.

    Setting ``stop`` ends their work. There are so many ``workers`` (default: by the processors
    that this process may use).
    """

    ordered = True

    def __init__(self, work: Making, stop: threading.Event, workers: int | None = None) -> None:
        # So many that the processors seldom wait for what holds Python's lock.
        self._workers = workers or min(MOST_WORKERS, 2 * usable_processors())
        self._work, self._stop = work, stop
        self._parts: dict[Any, float] = {}
        self._free = PIXELS_AT_ONCE
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="upres")

    def ahead(self, warm: bool) -> int:
        """See ``Executor``.

        The first runs alone: the others share its models, loaded and compiled. The engine must not
        be called for the first time by two threads: it may wait for ever.
        """
        return 2 * self._workers if warm else 1

    def submit(self, job: Any, known: Any) -> Future[Done | None]:
        return self._pool.submit(self._enlarge, job, known)

    def under_way(self) -> float:
        return sum((job.weight * part for job, part in list(self._parts.items())), 0.0)

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _enlarge(self, job: Any, known: Any) -> Done | None:
        try:
            return self._work(job, known, self._room, partial(self._tell, job))
        finally:
            self._parts.pop(job, None)

    def _tell(self, job: Any, part: float) -> None:
        self._check_stop()
        self._parts[job] = part

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped

    @contextmanager
    def _room(self, pixels: int, memory: int) -> Iterator[None]:
        """Wait until so many more pixels may be worked on."""
        pixels = min(pixels, PIXELS_AT_ONCE)
        with self._turn, self._changed:  # in turn, so that a large picture gets room, too
            while self._free < pixels:
                self._check_stop()
                self._changed.wait(0.1)
            self._free -= pixels
        try:
            self._check_stop()
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
