"""The line in which requests wait: who may come in, whose turn it is, and when to come back.

All by the memory and the seconds of their plans. It knows nothing of pictures, and waits for
nothing but its own places: tests give it a clock.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from upres.service.problems import ProblemError

USUAL_SECONDS = 2.0
"""Of a request, as long as none has ended."""

LEAST_PACE, MOST_PACE = 0.02, 5.0
"""Bounds of how much longer than planned work is taken to last: a plan is right within a factor of
three, on a machine that does nothing else."""


@dataclass(eq=False)
class Seat:
    """A request's place in the line."""

    memory: int = 0
    seconds: float = 0.0
    """By the plan."""
    planned: bool = False
    """Whether these two are known: before, the picture is being uploaded or looked at."""
    started: float | None = None
    """When its work began."""
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class Line:
    """Places, first come, first served; its methods are for one event loop."""

    def __init__(
        self,
        *,
        places: int,
        workers: int,
        memory: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._workers, self._memory, self._clock = places, workers, memory, clock
        self._places: list[Seat] = []
        self.pace = 1.0
        """How much longer than planned work takes here, as far as is known."""
        self._usual = USUAL_SECONDS
        self._ended = 0
        self._promised = -math.inf

    @property
    def waiting(self) -> int:
        """Requests whose work has not begun."""
        return sum(place.started is None for place in self._places)

    @property
    def running(self) -> int:
        """Requests whose work has begun."""
        return sum(place.started is not None for place in self._places)

    @property
    def memory_used(self) -> int:
        """Bytes that the plans of running work tell."""
        return sum(place.memory for place in self._places if place.started is not None)

    def enter(self) -> Seat:
        """A place for a request whose picture is still to come.

        Raises ``ProblemError`` 429 if the line is full.
        """
        if len(self._places) >= self._most:
            raise self._busy("all places of this service are taken")
        place = Seat()
        self._places.append(place)
        return place

    def admit(self, place: Seat, *, memory: int, seconds: float, limit: float) -> None:
        """Take a request in for its plan, or refuse it.

        ``limit`` are the seconds that it may take, its wait included. Raises ``ProblemError`` 413
        if it is too large for the service at any time, 429 if it is at this time.
        """
        if memory > self._memory:
            raise ProblemError(
                413,
                "too_much_memory",
                f"enlarging this takes about {_megabytes(memory)} MB of memory, more than the "
                f"{_megabytes(self._memory)} MB that this service has for pictures",
            )
        expected = seconds * self.pace
        if expected > limit:
            raise ProblemError(
                413,
                "too_many_seconds",
                f"enlarging this takes about {expected:,.0f} seconds, more than the "
                f"{limit:,.0f} that this service allows: choose a smaller size or another model",
            )
        wait = self.wait_for(memory)
        if wait + expected > limit:
            raise self._busy("the work that waits is too much", wait + expected - limit)
        place.memory, place.seconds, place.planned = memory, seconds, True
        # In the order in which they are ready, as an upload may take long.
        self._places.remove(place)
        self._places.append(place)
        self._call()

    async def turn(self, place: Seat) -> None:
        """Wait until it is the request's turn."""
        await place.turn.wait()

    def leave(self, place: Seat, *, done: bool) -> None:
        """Give up a place; ``done`` tells whether its work came to its end."""
        if place not in self._places:
            return
        self._places.remove(place)
        if done and place.started is not None:
            took = self._clock() - place.started
            # The first says more than no measurement; later ones are means of some.
            self._ended += 1
            weight = max(0.2, 1 / self._ended)
            self._usual += weight * (took - self._usual)
            if place.seconds > 0:
                ratio = min(MOST_PACE, max(LEAST_PACE, took / place.seconds))
                self.pace += weight * (ratio - self.pace)
        self._call()

    def wait_for(self, memory: int) -> float:
        """Seconds until work with so much memory would begin, if it came now; about."""
        now = self._clock()
        ends: list[tuple[float, int]] = []
        used, at = 0, 0.0

        def make_room(needed: int) -> None:
            nonlocal used, at
            while ends and (len(ends) >= self._workers or used + needed > self._memory):
                end, freed = heapq.heappop(ends)
                at, used = max(at, end), used - freed

        for place in sorted(self._planned(), key=lambda place: place.started is None):
            rest = place.seconds * self.pace
            if place.started is None:
                make_room(place.memory)
            else:
                # Late already: nobody knows for how much longer.
                rest = max(rest - (now - place.started), 0.1 * rest)
            heapq.heappush(ends, (at + rest, place.memory))
            used += place.memory
        make_room(memory)
        return at

    def _planned(self) -> list[Seat]:
        return [place for place in self._places if place.planned]

    def _call(self) -> None:
        """Let those begin whose turn it is. None overtakes, so that large ones get room, too."""
        for place in self._planned():
            if place.started is not None:
                continue
            full = self.running >= self._workers
            if full or self.memory_used + place.memory > self._memory:
                return
            place.started = self._clock()
            place.turn.set()

    def _busy(self, why: str, after: float = 0.0) -> ProblemError:
        """A refusal with the time from which on there is room, not promised to anyone before."""
        now = self._clock()
        known = [place.seconds * self.pace for place in self._planned()]
        step = (statistics.fmean(known) if known else self._usual) / self._workers
        # As each that ends makes room for one, those who are refused are told one time each.
        self._promised = max(now + after, self._promised) + step
        seconds = max(1, math.ceil(self._promised - now))
        detail = f"{why}: try again in {seconds} second{'s' * (seconds != 1)}"
        return ProblemError(429, "busy", detail, retry_after=seconds)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}"
