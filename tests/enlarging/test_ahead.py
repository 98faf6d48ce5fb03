"""Work on one thing that goes on while the one before is used."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from upres.enlarging.ahead import worked

PATIENCE = 20.0
"""Seconds after which something that has not happened never will."""


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("ahead", [False, True])
def test_items_come_in_order_and_worked_on(count: int, ahead: bool) -> None:
    items = [[number] for number in range(count)]
    given = [list(item) for item in worked(items, lambda item: item.append(1), ahead=ahead)]
    assert given == [[number, 1] for number in range(count)]


def test_the_next_one_is_worked_on_while_one_is_used() -> None:
    started = [threading.Event() for _ in range(4)]
    for number in worked(range(4), lambda number: started[number].set(), ahead=True):
        assert started[min(number + 1, 3)].wait(PATIENCE)


def test_no_more_than_one_waits() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            asked.append(number)
            yield number

    for number in worked(items(), lambda _: None, ahead=True):
        assert len(asked) <= number + 2


def test_items_are_asked_for_in_the_thread_of_the_caller() -> None:
    threads = set()

    def items() -> Iterator[int]:
        for number in range(3):
            threads.add(threading.current_thread())
            yield number

    list(worked(items(), lambda _: None, ahead=True))
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("ahead", [False, True])
def test_an_error_comes_where_its_item_would(ahead: bool) -> None:
    def work(number: int) -> None:
        if number == 2:
            raise ValueError("the third")

    works = worked(range(5), work, ahead=ahead)
    assert (next(works), next(works)) == (0, 1)
    with pytest.raises(ValueError, match="the third"):
        next(works)


def test_no_thread_is_left_when_it_is_closed() -> None:
    before = set(threading.enumerate())
    works = worked(range(9), lambda _: None, ahead=True)
    next(works)
    assert set(threading.enumerate()) > before
    works.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("ahead", [False, True])
def test_an_item_goes_with_the_caller(ahead: bool) -> None:
    known = []

    def fresh() -> set[int]:
        item = set[int]()
        known.append(weakref.ref(item))
        return item

    gone = 0
    for item in worked((fresh() for _ in range(5)), lambda _: None, ahead=ahead):
        del item
        late = time.monotonic() + PATIENCE  # the thread lets go of it a moment after its work
        while known[gone]() is not None and time.monotonic() < late:
            time.sleep(0.001)
        assert known[gone]() is None
        gone += 1  # enumerate would hold the item
    assert gone == 5
