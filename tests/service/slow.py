"""Backends for the processes of a service, which import this by name."""

from __future__ import annotations

import os
import time
from functools import partial

from fakes import FakeBackend
from upres.raster.pixels import Float32Array

WINDOW = 64 * 64
"""Small windows, so that pictures have many."""


def slow_backend(seconds: float) -> FakeBackend:
    """A fake that takes so long for a window; these are small then."""
    if not seconds:
        return FakeBackend()

    def wait(window: Float32Array) -> None:
        time.sleep(seconds)

    return FakeBackend(window_pixels=WINDOW, before_window=wait)


def ending_backend() -> FakeBackend:
    """A fake whose process ends at its first window, as by a fault in a library."""

    def end(window: Float32Array) -> None:
        os._exit(3)

    return FakeBackend(before_window=end)


def failing_backend() -> FakeBackend:
    """A fake with a mistake in it."""

    def fail(window: Float32Array) -> None:
        raise ZeroDivisionError("secret.png")

    return FakeBackend(before_window=fail)


def stuck_backend() -> FakeBackend:
    """A fake that never comes back from a window, and hears no word to stop."""
    return FakeBackend(before_window=partial(_sleep_for, 3600.0))


def _sleep_for(seconds: float, window: Float32Array) -> None:
    time.sleep(seconds)
