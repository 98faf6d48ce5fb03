"""Work that goes on in a thread while another takes its results."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_END = object()


def made_ahead(make: Callable[[], Iterator[T]], most: int) -> Iterator[T]:
    """The items of an iterator; a thread makes ``most`` of them before they are asked for.

    An error of the iterator is raised where its item would be. Closing this closes the iterator.
    """
    ready: queue.Queue[object] = queue.Queue(most)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        items = make()
        try:
            for item in items:
                if not put(item):
                    break
        except BaseException as error:
            errors.append(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            put(_END)

    thread = threading.Thread(target=run, name="upres-decoder", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            yield item  # type: ignore[misc]
            del item
        if errors:
            raise errors[0]
    finally:
        stopped.set()
        thread.join()
