"""Work on one thing that goes on while the one before is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def worked(items: Iterable[_T], work: Callable[[_T], None], *, ahead: bool) -> Iterator[_T]:
    """Give each item, in order, once ``work`` is done to it.

    ``ahead``, that goes on in a thread while the caller uses the item before. Items are still asked
    for in the caller's thread, and of those that it has not got yet at most one is worked on.

    An error of the work is raised where its item would be. To close this waits for the work that
    is under way.
    """
    if not ahead:
        held = deque[_T]()
        for item in items:
            work(item)
            held.append(item)
            del item  # as its memory is for the next one, once the caller has done with it
            yield held.pop()
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="upres-window")
    under_way: deque[tuple[Future[None], _T]] = deque()

    def next_one() -> _T:
        done, item = under_way.popleft()
        done.result()
        return item

    try:
        for item in items:
            under_way.append((pool.submit(work, item), item))
            del item
            if len(under_way) > 1:
                yield next_one()
        while under_way:
            yield next_one()
    finally:
        pool.shutdown(cancel_futures=True)
