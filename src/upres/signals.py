"""Ctrl-C and requests to terminate, as an event that work looks at."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def stop_on_signals(*, insist: bool = False) -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and a request to terminate set, instead of ending at once.

    With ``insist``, a Ctrl-C after that raises ``KeyboardInterrupt`` all the same.
    """
    stop = threading.Event()

    def receive(number: int, frame: FrameType | None) -> None:
        if insist and stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {}
    with suppress(ValueError):  # not in the main thread, where signals do not come
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever started this in the background may have it ignore them: so it stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, receive)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
