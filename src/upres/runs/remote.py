"""The part of a cluster's run that happens on its workers, and how it comes home."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from functools import cache
from typing import Any

from upres import __version__
from upres.errors import DeviceError, InputError, UpresError
from upres.files import is_full_disk
from upres.runs.executors import Done, Making
from upres.runs.journal import fingerprint


@dataclass(frozen=True)
class Ended:
    """How a task ended, as it is sent: errors by class and content, as not all can be pickled."""

    done: Done | None = None
    error: tuple[type[UpresError], dict[str, Any]] | None = None
    unexpected: str = ""
    full_disk: bool = False
    memory: int = 0
    """Bytes that the task needs, where it has asked for fewer."""


class _TooLarge(Exception):  # noqa: N818  # it is no error of anyone's
    """Unwinds a task that has not asked for enough memory."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self.memory = memory


def rebuilt(ended: Ended) -> UpresError:
    """The error with which a task ended, as it was."""
    assert ended.error is not None
    kind, content = ended.error
    error = kind.__new__(kind)
    error.__dict__.update(content)
    error.args = (error.problem, *error.remedies)
    if ended.full_disk:
        error.__cause__ = OSError(ENOSPC, os.strerror(ENOSPC))
    return error


def version_here() -> str:
    """The version of upres on a worker."""
    return __version__


@dataclass(frozen=True)
class Sent:
    """The work of a run, and the things that a worker must have just so."""

    work: Making
    version: str
    model: tuple[str, str] | None = None
    """A model file's path and fingerprint."""

    def problem(self) -> str | None:
        """The difference between this machine and the one that asks, if there is one."""
        if self.version != __version__:
            return f"a machine of the cluster has upres {__version__}, not {self.version}"
        if self.model is not None and _fingerprint(self.model[0]) != self.model[1]:
            return f"a machine of the cluster has another model at {self.model[0]}, or none"
        return None


_fingerprint = cache(fingerprint)


def on_worker(sent: Sent, job: Any, known: Any, memory: int, threads: int) -> Ended:
    """Make one result, on a worker."""
    if (problem := sent.problem()) is not None:
        return Ended(error=(DeviceError, vars(DeviceError(f"{job.source}: {problem}"))))
    _set_up(threads)

    @contextmanager
    def room(pixels: int, needed: int) -> Iterator[None]:
        if needed > memory:
            raise _TooLarge(needed)
        yield

    start = time.monotonic()
    try:
        done = sent.work(job, known, room, _silent)
    except _TooLarge as large:
        return Ended(memory=large.memory)
    except UpresError as error:
        return Ended(error=(type(error), vars(error)), full_disk=is_full_disk(error))
    except MemoryError:
        problem = f"{job.source}: there is not enough memory for this picture"
        return Ended(error=(InputError, vars(InputError(problem))))
    except Exception as error:
        return Ended(unexpected=f"{type(error).__name__}: {error}")
    if done is None:
        return Ended()
    held = (time.monotonic() - start) * threads
    return Ended(Done(done.stamp, done.told, done.not_kept, done.pixels, held))


_silent: Callable[[float], None] = lambda _: None  # noqa: E731


@cache
def _set_up(threads: int) -> None:
    """Make the settings of a worker's process that the command makes of its own."""
    os.environ["VIPS_BLOCK_UNTRUSTED"] = "1"
    os.environ.setdefault("VIPS_WARNING", "0")
    os.environ["VIPS_CONCURRENCY"] = str(threads)
    import pyvips

    pyvips.cache_set_max(0)
