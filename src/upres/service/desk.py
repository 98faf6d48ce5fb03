"""The desk of a service: takes pictures in, has them enlarged in turn, keeps results a while."""

from __future__ import annotations

import asyncio
import math
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from upres.engine.machine import usable_processors
from upres.runs.batch import UNEXPECTED
from upres.service.line import Line, Seat
from upres.service.orders import Delivered, Estimate, Order, fulfil, look
from upres.service.problems import ProblemError
from upres.service.settings import LIGHT_WORKERS, Settings
from upres.service.workers import EndedError, Errand, OverdueError, Pool, StoppedError

State = Literal["uploading", "waiting", "working", "done", "failed"]

LOOK_SECONDS = 10.0
"""Within which a picture's header has to be read; it takes milliseconds."""

VIEW_SECONDS = 60.0
"""Within which a view has to be made: all pixels of a large result are read for one."""

LOOK_PATIENCE = 6.0
"""How many times as long both may take on a machine that does much else."""

SHORT_SECONDS = 1.0
"""Work that lasts no longer shares the processors with other work, each with some threads: those of
one small picture wait for each other, which costs a sixth of the processor's time. Of longer work
all threads go on once the others have ended."""

ENDING = ProblemError(503, "ending", "this service is about to end: try again later", 10)


@dataclass(eq=False)
class Ticket:
    """A request, from its upload to its end."""

    id: str
    folder: Path
    place: Seat
    state: State = "uploading"
    part: float = 0.0
    """That is done, from 0 to 1."""
    order: Order | None = None
    estimate: Estimate | None = None
    result: Delivered | None = None
    problem: ProblemError | None = None
    had: set[Path] = field(default_factory=set)
    """The files of it that anyone has had."""
    upload: asyncio.Task[Any] | None = None
    """Receives the picture, until that is taken in."""
    task: asyncio.Task[Delivered] | None = None
    ended_at: float = math.inf
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set at the next change, and replaced."""

    @property
    def fetched(self) -> bool:
        """Whether anyone has had the result, and its error map if there is one."""
        made = self.result
        return bool(made and {made.path, made.error_map} <= {*self.had, None})

    def change(self, state: State | None = None, part: float | None = None) -> None:
        """Note how it goes on, and wake those who wait for that."""
        self.state = state or self.state
        self.part = self.part if part is None else part
        self.changed.set()
        self.changed = asyncio.Event()


class Desk:
    """All requests of a service; its methods are for one event loop."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        ended: Callable[[Ticket], None] = lambda ticket: None,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.settings = settings
        self.line = Line(
            places=settings.places,
            workers=settings.workers_at_once,
            memory=settings.work_bytes,
        )
        self.is_ending = False
        self.jobs: dict[str, Ticket] = {}
        self._folder = folder
        self._ended, self._free = ended, free
        self._open: set[Ticket] = set()
        started = (settings.backend_of, settings.prepare)
        workers, kept = settings.workers_at_once, settings.kept_bytes
        # One number, however many work: each takes a compilation of its own.
        self._shared_threads = max(1, usable_processors() // workers)
        self._heavy = Pool(workers, *started, most_resident=kept)
        self._seeing = asyncio.Lock()
        self._light = Pool(LIGHT_WORKERS, *started, most_resident=kept)

    async def start(self) -> None:
        """Start a process of each kind; requests are taken from then on."""
        await asyncio.gather(self._heavy.warm_up(), self._light.warm_up())

    def open(self) -> Ticket:
        """A ticket for a picture that is still to come.

        Raises ``ProblemError`` 429 if there is no place for it, 503 if the service is to end.
        """
        if self.is_ending:
            raise ENDING
        self.forget_old()
        place = self.line.enter()
        name = secrets.token_urlsafe(16)
        folder = self._folder / name
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            self.line.leave(place, done=False)
            raise ProblemError(507, "no_room", "the disk of this service is full") from None
        ticket = Ticket(name, folder, place, upload=asyncio.current_task())
        self._open.add(ticket)
        return ticket

    async def admit(self, ticket: Ticket, order: Order, *, limit: float) -> Estimate:
        """Look at a picture that is uploaded, and take it in or refuse it for its plan.

        ``limit`` are the seconds that it may take. Raises ``ProblemError``.
        """
        ticket.order = order
        damaged = "this picture takes too long to look at: it is damaged, or made to do that"
        estimate = await self._ask(partial(look, order), LOOK_SECONDS, damaged)
        assert isinstance(estimate, Estimate)
        if self.is_ending:
            raise ENDING
        self._make_room(estimate.disk)
        ticket.estimate = estimate
        self.line.admit(ticket.place, memory=estimate.memory, seconds=estimate.seconds, limit=limit)
        ticket.change("waiting")
        return estimate

    def begin(self, ticket: Ticket, *, limit: float) -> asyncio.Task[Delivered]:
        """Have an admitted picture enlarged when its turn comes."""
        ticket.task = asyncio.create_task(self._work(ticket, limit))
        return ticket.task

    async def see(self, work: Errand) -> object:
        """Have a view made, one after another: a process is left to those who come.

        Raises ``ProblemError``.
        """
        async with self._seeing:
            return await self._ask(work, VIEW_SECONDS, "this part takes too long to be shown")

    def find(self, name: str) -> Ticket:
        """A job; raises ``ProblemError`` 404 if there is none of that name, any more."""
        self.forget_old()
        if name not in self.jobs:
            raise ProblemError(404, "no_job", "there is no job of this name, or no longer")
        return self.jobs[name]

    async def close(self, ticket: Ticket) -> None:
        """Stop its work, and remove all that there is of it."""
        self.jobs.pop(ticket.id, None)
        if ticket.task and not ticket.task.done():
            ticket.task.cancel()
            await asyncio.wait([ticket.task])
        self._remove(ticket)

    def forget_old(self) -> None:
        """Remove jobs whose results nobody has fetched for long enough."""
        oldest = time.monotonic() - self.settings.kept_seconds
        for ticket in [t for t in self.jobs.values() if t.ended_at < oldest]:
            del self.jobs[ticket.id]
            self._remove(ticket)

    def _make_room(self, needed: int) -> None:
        """Let the disk have room for work, if need be by removing results that were fetched.

        Raises ``ProblemError`` 507 where there is none beside the work that was taken in before.
        """
        under_way = [t.estimate for t in self._open if t.estimate and math.isinf(t.ended_at)]
        needed += sum(estimate.disk for estimate in under_way)
        fetched = sorted(
            (ticket for ticket in self.jobs.values() if ticket.fetched),
            key=lambda ticket: ticket.ended_at,
        )
        while self._free(self._folder) < needed:
            if not fetched:
                problem = "the disk of this service has no room for this result: try again later"
                raise ProblemError(507, "no_room", problem)
            oldest = fetched.pop(0)
            del self.jobs[oldest.id]
            self._remove(oldest)

    async def end(self) -> None:
        """Finish the work under way, within the settings' grace; refuse everything else."""
        self.is_ending = True
        tasks = []
        for ticket in list(self._open):
            if ticket.task is None and ticket.upload is not None:
                ticket.problem = ENDING
                ticket.upload.cancel()
            if ticket.task is None or ticket.task.done():
                continue
            if ticket.place.started is None:
                ticket.problem = ENDING
                ticket.task.cancel()
            tasks.append(ticket.task)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.settings.grace_seconds)
            for ticket in list(self._open):
                if ticket.task in late:
                    ticket.problem = ENDING
                    ticket.task.cancel()
            if late:
                await asyncio.wait(late)

    def end_at_once(self) -> None:
        """End all processes, whatever they do, and remove all files."""
        self.is_ending = True
        self._heavy.end()
        self._light.end()
        for ticket in list(self._open):
            self._remove(ticket)

    def _remove(self, ticket: Ticket) -> None:
        self.line.leave(ticket.place, done=False)
        self._open.discard(ticket)
        shutil.rmtree(ticket.folder, ignore_errors=True)

    async def _work(self, ticket: Ticket, limit: float) -> Delivered:
        try:
            ticket.result = await self._enlarge(ticket, limit)
        except asyncio.CancelledError:
            if ticket.problem is None:
                raise
            raise ticket.problem from None
        except ProblemError as problem:
            ticket.problem = problem
            raise
        finally:
            self.line.leave(ticket.place, done=ticket.result is not None)
            ticket.ended_at = time.monotonic()
            keep = self.settings.kept_seconds
            asyncio.get_running_loop().call_later(keep + 0.1, self.forget_old)
            ticket.change("done" if ticket.result else "failed")
            self._ended(ticket)
        return ticket.result

    async def _enlarge(self, ticket: Ticket, limit: float) -> Delivered:
        assert ticket.order
        assert ticket.estimate
        start = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                await self.line.turn(ticket.place)
        except TimeoutError:
            raise _late(limit) from None
        ticket.change("working")
        loop = asyncio.get_running_loop()

        def tell(part: float) -> None:
            loop.call_soon_threadsafe(ticket.change, None, part)

        estimate = ticket.estimate
        threads = self._threads(estimate)
        work = partial(fulfil, ticket.order, estimate.suffix, estimate.result_name, threads)
        rest = max(1.0, limit - (time.monotonic() - start))
        try:
            result: Delivered = await self._heavy.do(work, limit=rest, tell=tell)
        except OverdueError:
            raise _late(limit) from None
        except (EndedError, StoppedError) as error:
            raise (ENDING if self.is_ending else _unexpected(error)) from None
        return result

    def _threads(self, estimate: Estimate) -> int | None:
        """How many threads work that begins now has, if not all."""
        if self.line.running < 2 or estimate.seconds * self.line.pace > SHORT_SECONDS:
            return None
        return self._shared_threads

    async def _ask(self, work: Errand, limit: float, overdue: str) -> object:
        try:
            return await self._light.do(work, limit=limit, patience=LOOK_PATIENCE)
        except OverdueError as error:
            if not error.worked:
                problem = "the machine of this service does too much else: try again later"
                raise ProblemError(503, "overloaded", problem, int(limit)) from None
            raise ProblemError(422, "input", overdue) from None
        except (EndedError, StoppedError) as error:
            raise _unexpected(error) from None


def _late(limit: float) -> ProblemError:
    problem = f"this took longer than the {limit:,.0f} seconds that it may take"
    return ProblemError(504, "too_long", f"{problem}: choose a smaller size or another model")


def _unexpected(error: Exception) -> ProblemError:
    return ProblemError(500, "unexpected", f"{UNEXPECTED}: {error}")
