"""Processes that do the work of requests: each does one at a time, and can be stopped or replaced.

A picture comes from a stranger. Its decoder may take for ever, or end its process; that process is
replaced, and no other request notices.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from upres.engine.protocol import Backend
from upres.service.orders import Tell
from upres.service.problems import ProblemError
from upres.service.settings import BackendOf

STOP_SECONDS = 5.0
"""Seconds that work which is to stop gets to end, before its process is ended: windows of the
slowest models take about a second."""

_TICK = 0.25
"""Seconds after which a wait looks whether it is over."""

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Errand(Protocol):
    """A function of this package, and all of its arguments but the last two; it can be pickled."""

    def __call__(self, *, backend: Backend, tell: Tell) -> Any: ...


class OverdueError(Exception):
    """Errand took longer than it may."""

    def __init__(self, *, worked: bool) -> None:
        super().__init__(worked)
        self.worked = worked
        """Whether it had a processor for that long; if not, the machine is to blame."""


class StoppedError(Exception):
    """Errand was told to stop."""


class EndedError(Exception):
    """A process ended in the middle of its work, or failed in a way that nobody expected."""


class _Stop(BaseException):
    """Unwinds work that is to stop; nothing on its way takes it for an error."""


def serve_work(connection: Connection, backend_of: BackendOf, prepare: Callable[[], None]) -> None:
    """Do work that comes by a connection, until it is closed: a worker's process runs this."""
    # Ctrl-C goes to all processes of a terminal; the service's own tells this one when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prepare()
    backend = backend_of()

    def tell(part: float) -> None:
        if connection.poll():
            connection.recv()
            raise _Stop
        connection.send(("part", part))

    while True:
        try:
            work: Errand | None = connection.recv()
        except (EOFError, OSError):
            return
        if work is None:  # a word to stop that came when the work was done already
            continue
        try:
            answer: tuple[str, Any] = ("done", work(backend=backend, tell=tell))
        except _Stop:
            answer = ("stopped", None)
        except ProblemError as problem:
            answer = ("refused", problem)
        except Exception as error:
            answer = ("failed", type(error).__name__)
        try:
            connection.send((*answer, _resident()))
        except (BrokenPipeError, OSError):
            return


class Worker:
    """A process that does one piece of work at a time; its methods are for threads."""

    def __init__(
        self, backend_of: BackendOf, prepare: Callable[[], None], *, most_resident: int
    ) -> None:
        self._most_resident = most_resident
        # Spawned: a process that is forked must not use an engine that its parent has used.
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=serve_work, args=(other, backend_of, prepare), daemon=True
        )
        self._process.start()
        other.close()
        self._stopped_at: float | None = None
        self._overdue = False
        self._lock = threading.Lock()
        self.is_usable = True
        """Whether it can be given more work."""

    def do(self, work: Errand, tell: Tell, limit: float, patience: float) -> Any:
        """Give work to it, and wait for the result.

        ``tell`` is told the part that is done. Raises ``ProblemError`` as the work does,
        ``OverdueError`` after ``limit`` seconds, ``StoppedError`` after ``stop``, ``EndedError``
        if the process ended or the work failed unexpectedly. On a machine that does much else, the
        limit is on seconds of the processor, until ``patience`` times as many have gone by.
        """
        last = time.monotonic() + patience * limit
        used = self._processor_seconds()

        def has_time(now: float) -> bool:
            if now > last or used is None:
                return False
            return (self._processor_seconds() or math.inf) - used < limit

        deadline = time.monotonic() + limit
        try:
            with self._lock:
                if self._stopped_at is not None:  # before it has begun
                    raise StoppedError
                self._connection.send(work)
            kind, value, *resident = self._next(deadline, has_time)
            while kind == "part":
                tell(value)
                kind, value, *resident = self._next(deadline, has_time)
        except (EOFError, OSError):
            self.end()
            kind, value, resident = "ended", "a process ended", [0]
        if resident[0] > self._most_resident:
            self.end()
        if kind == "done":
            return value
        if kind == "refused":
            raise value
        if self._overdue:
            raise OverdueError(worked=used is None or time.monotonic() < last)
        if self._stopped_at is not None:
            raise StoppedError
        raise EndedError(value)

    @property
    def is_alive(self) -> bool:
        """Whether its process is there: the system may have ended it."""
        return self._process.is_alive()

    def be_ready(self) -> None:
        """Forget that the work before was told to stop; from here on, ``stop`` means the next."""
        self._stopped_at, self._overdue = None, False

    def stop(self) -> None:
        """Tell it to stop; it does so within a window of its picture."""
        with self._lock:
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                with suppress(OSError):
                    self._connection.send(None)

    def end(self) -> None:
        """End its process at once."""
        self.is_usable = False
        with suppress(OSError):
            self._process.kill()
        self._process.join()

    def _processor_seconds(self) -> float | None:
        """Of its process, up to now; ``None`` where nothing tells."""
        with suppress(OSError, ValueError, IndexError):
            told = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8", "replace")
            # Behind its name, which may have spaces.
            user, system = told.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return None

    def _next(self, deadline: float, has_time: Callable[[float], bool]) -> tuple[Any, ...]:
        """The next message; ``EOFError`` where the process has ended."""
        while True:
            ready = self._connection.poll(_TICK)
            now = time.monotonic()
            if now > deadline and self._stopped_at is None and not has_time(now):
                self._overdue = True
                self.stop()
            if ready:
                message: tuple[Any, ...] = self._connection.recv()
                return message
            if self._stopped_at is not None and now > self._stopped_at + STOP_SECONDS:
                self.end()
                raise EOFError


class Pool:
    """Workers that are started when there is work for them; its methods are for one event loop.

    One that holds more than ``most_resident`` bytes when its work is done is replaced.
    """

    def __init__(
        self,
        most: int,
        backend_of: BackendOf,
        prepare: Callable[[], None],
        *,
        most_resident: int,
    ) -> None:
        self._make = lambda: Worker(backend_of, prepare, most_resident=most_resident)
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="upres-serve")
        self._free = asyncio.Semaphore(most)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()

    async def do(
        self,
        work: Errand,
        *,
        limit: float,
        tell: Tell = lambda part: None,
        patience: float = 1.0,
    ) -> Any:
        """Have work done by a worker that is free; raises as ``Worker.do`` does.

        Where the task that waits for it is cancelled, the work is stopped first.
        """
        async with self._free:
            loop = asyncio.get_running_loop()
            worker = await self._next_worker()
            worker.be_ready()
            future = loop.run_in_executor(self._threads, worker.do, work, tell, limit, patience)
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                worker.stop()
                while not future.done():  # however often it is cancelled
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([future])
                if not future.cancelled():
                    future.exception()  # it has been looked at
                raise
            finally:
                if worker.is_usable:
                    self._idle.append(worker)
                else:
                    self._all.discard(worker)

    async def warm_up(self) -> None:
        """Start one worker, so that the first request need not wait for it."""
        if not self._all:
            self._idle.append(await self._next_worker())

    async def _next_worker(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            self._all.discard(worker)
        made = asyncio.get_running_loop().run_in_executor(self._threads, self._make)
        try:
            worker = await asyncio.shield(made)
        except asyncio.CancelledError:
            made.add_done_callback(lambda made: self._keep(made.result()))
            raise
        self._all.add(worker)
        return worker

    def _keep(self, worker: Worker) -> None:
        self._all.add(worker)
        self._idle.append(worker)

    def end(self) -> None:
        """End all processes at once."""
        for worker in self._all:
            worker.end()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where nothing tells."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    return 0
