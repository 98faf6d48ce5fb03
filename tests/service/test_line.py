"""Who waits, who begins, and when the others are to come back: with a clock of the test's own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from upres.service.line import Line, Seat
from upres.service.problems import ProblemError

LIMIT = 1000.0


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def line(clock: Clock, *, places: int = 8, workers: int = 2, memory: int = 100) -> Line:
    return Line(places=places, workers=workers, memory=memory, clock=clock)


def admitted(line: Line, memory: int = 10, seconds: float = 10.0, limit: float = LIMIT) -> Seat:
    place = line.enter()
    try:
        line.admit(place, memory=memory, seconds=seconds, limit=limit)
    except ProblemError:
        line.leave(place, done=False)
        raise
    return place


def begun(*places: Seat) -> list[bool]:
    return [place.turn.is_set() for place in places]


def test_as_many_begin_as_there_are_workers_and_the_next_when_one_leaves() -> None:
    queue = line(Clock())
    first, second, third = (admitted(queue) for _ in range(3))
    assert begun(first, second, third) == [True, True, False]
    queue.leave(second, done=True)
    assert begun(third) == [True]


def test_work_waits_for_memory_and_none_overtakes() -> None:
    queue = line(Clock(), workers=4)
    first, large, small = admitted(queue, 60), admitted(queue, 50), admitted(queue, 10)
    assert begun(first, large, small) == [True, False, False]
    assert queue.memory_used == 60
    queue.leave(first, done=True)
    assert begun(large, small) == [True, True]


def test_an_upload_that_takes_long_holds_up_nobody() -> None:
    queue = line(Clock(), workers=1)
    slow = queue.enter()
    quick = admitted(queue)
    assert begun(quick) == [True]
    queue.admit(slow, memory=1, seconds=1, limit=LIMIT)
    assert begun(slow) == [False]


def test_requests_that_are_too_large_for_ever_are_told_so() -> None:
    queue = line(Clock())
    for memory, seconds, code in ((101, 1, "too_much_memory"), (1, 1001, "too_many_seconds")):
        with pytest.raises(ProblemError) as caught:
            admitted(queue, memory, seconds)
        assert (caught.value.status, caught.value.code) == (413, code)
        assert caught.value.retry_after is None
    assert queue.waiting == 0


def test_the_wait_is_that_of_the_work_before_on_all_workers() -> None:
    clock = Clock()
    queue = line(clock)
    assert queue.wait_for(10) == 0
    for seconds in (10, 4, 8):  # the third begins after 4 seconds
        admitted(queue, 10, seconds)
    assert queue.wait_for(10) == 10
    clock.now += 3
    assert queue.wait_for(10) == 7
    # One that needs all of the memory waits for all.
    assert queue.wait_for(100) == 9


def test_whoever_comes_back_after_the_time_told_is_let_in() -> None:
    clock = Clock()
    queue = line(clock, workers=1, places=3)
    places = [admitted(queue, seconds=10) for _ in range(3)]
    told = []
    for _ in range(3):
        with pytest.raises(ProblemError) as caught:
            queue.enter()
        assert caught.value.status == 429
        told.append(caught.value.retry_after)
    # One place becomes free each 10 seconds: three clients are told three times.
    assert told == [10, 20, 30]
    for seconds, place in zip(told, places, strict=True):
        assert seconds is not None
        clock.now = 100 + seconds
        queue.leave(place, done=True)
        admitted(queue, seconds=10)


def test_work_that_would_wait_beyond_its_limit_is_sent_away_with_the_time() -> None:
    queue = line(Clock(), workers=1)
    admitted(queue, seconds=50)
    admitted(queue, seconds=10, limit=60)
    with pytest.raises(ProblemError) as caught:
        admitted(queue, seconds=10, limit=60)
    # 60 seconds of work are before it, and with its own 10 it would have to begin within 50.
    assert caught.value.status == 429
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 10


def test_plans_that_are_wrong_on_this_machine_are_corrected() -> None:
    clock = Clock()
    queue = line(clock, workers=1)
    for _ in range(40):
        place = admitted(queue, seconds=10)
        clock.now += 3
        queue.leave(place, done=True)
    admitted(queue, seconds=10)
    assert queue.wait_for(10) == pytest.approx(3, rel=0.05)


def test_a_place_that_is_given_up_counts_no_more_and_only_once() -> None:
    queue = line(Clock(), places=2)
    first, second = queue.enter(), queue.enter()
    for place in (first, first, second):
        queue.leave(place, done=False)
    assert (queue.waiting, queue.running) == (0, 0)
    assert [queue.enter() for _ in itertools.repeat(None, 2)]
    with pytest.raises(ProblemError):
        queue.enter()
