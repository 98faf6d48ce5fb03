"""A run's work on a cluster of Ray's: one process for each picture that is worked on at once.

Each picture is a task that asks for processors and memory. A worker opens the picture first, and
looks at its plan: where that predicts more memory than the task has asked for, the task is given
back, and asks again for as much. A worker keeps its models from task to task. Extra: ``fleet``.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from upres import __version__
from upres.engine.machine import machine_memory
from upres.errors import DeviceError, InputError, UpresError, UsageError, needs_extra
from upres.runs.executors import Done, Making
from upres.runs.journal import fingerprint
from upres.runs.remote import Ended, Sent, on_worker, rebuilt, version_here

ORDINARY = 512 * 2**20
"""Bytes of memory that a task asks for at first: enough for pictures of a few megapixels."""

ATTEMPTS = 3
"""How often a picture is tried whose worker dies."""

EACH = 4
"""Tasks for each processor that are under way or wait: enough that none waits for the driver."""

OBJECTS = 100 * 2**20
"""Bytes that a cluster on this machine keeps for objects: only small ones pass."""

CONNECTING = 10
"""Seconds in which a cluster's machine is to answer."""

FIRST = 900
"""Seconds in which the first task is to begin: a cluster that grows may have to get a machine."""

TICK = 0.05
"""Seconds between two looks at the tasks."""

_ADDRESS = re.compile(r"(ray://)?[^/\s]+:\d+")


@dataclass
class _Turn:
    """A job that is under way."""

    job: Any
    known: Any
    future: Future[Done | None]
    memory: int = ORDINARY
    deaths: list[str] = field(default_factory=list)


def require(address: str) -> None:
    """Raise ``UsageError`` for an address of no kind, ``MissingExtraError`` without Ray."""
    if address != "auto" and not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"cluster {address}: give auto, or an address such as ray://host:10001 "
            "or, on one of its machines, host:6379"
        )
    # Else workers give way to all other programs of this machine, as threads do not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # It would tell its makers of its use.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Else it warns that it will stop hiding accelerators where none are asked for.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with needs_extra("a cluster", "fleet"):
        import ray  # noqa: F401


class Cluster:
    """See ``upres.runs.executors.Executor``.

    ``address`` is ``auto``, ``ray://host:10001`` or, on one of the cluster's own machines,
    ``host:6379``; a cluster that is connected already is used
    as it is. Each task has so many ``threads``, and as many processors. ``model`` is the path of a
    model file, which must be there and the same on each machine. Setting ``stop`` ends the wait for
    its first machine.

    Raises ``DeviceError`` if it cannot be reached, or its machines have another upres or none, or
    too few processors; ``KeyboardInterrupt`` if the wait was ended.
    """

    ordered = False

    def __init__(
        self,
        address: str,
        work: Making,
        threads: int = 1,
        *,
        model: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        require(address)
        import ray

        self._ray, self._threads = ray, threads
        self._owned = not ray.is_initialized()
        if self._owned:
            _connect(address)
        if address == "auto":
            _check_processors(ray, threads)
        self._remote = ray.remote(max_retries=0, num_cpus=threads)(on_worker)
        _check_versions(ray, threads, stop or threading.Event())
        known = None if model is None else (model, fingerprint(model))
        self._work = ray.put(Sent(work, __version__, known))
        self._lock = threading.Lock()
        self._waiting: deque[_Turn] = deque()
        self._closed = threading.Event()
        self._processors, self._largest, self._looked = 1, 0, 0.0
        self._look()
        self._thread = threading.Thread(target=self._serve, name="upres-cluster", daemon=True)
        self._thread.start()

    def ahead(self, warm: bool) -> int:
        return max(2, EACH * self._processors // self._threads)

    def submit(self, job: Any, known: Any) -> Future[Done | None]:
        turn = _Turn(job, known, Future())
        turn.future.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append(turn)
        return turn.future

    def under_way(self) -> float:
        return 0.0  # workers do not tell: pictures are many, and each counts when it is done

    def close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=5)
        if self._owned:
            with suppress(Exception):
                self._ray.shutdown()

    def _look(self) -> None:
        """Look, now and then, how large the cluster is: machines come and go."""
        if time.monotonic() - self._looked < 10:
            return
        self._looked = time.monotonic()
        with suppress(Exception):
            nodes: Any = self._ray.nodes()  # type: ignore[no-untyped-call]
            alive = [node["Resources"] for node in nodes if node["Alive"]]
            self._processors = max(1, int(sum(each.get("CPU", 0) for each in alive)))
            self._largest = int(max((each.get("memory", 0) for each in alive), default=0))

    def _serve(self) -> None:
        """Start tasks, and look how they end, until the run is at its end."""
        running: dict[Any, _Turn] = {}
        while not self._closed.is_set():
            with self._lock:
                begun, self._waiting = [*self._waiting], deque()
            for turn in begun:
                running[self._start(turn)] = turn
            if not running:
                time.sleep(TICK)
                continue
            ready, _ = self._ray.wait([*running], num_returns=len(running), timeout=TICK)
            for ref in ready:
                turn = running.pop(ref)
                try:
                    again = self._end(turn, ref)
                except Exception as error:
                    turn.future.set_exception(error)
                    continue
                if again:
                    running[self._start(turn)] = turn
            self._look()
        for ref in running:
            with suppress(Exception):
                self._ray.cancel(ref, force=True)

    def _start(self, turn: _Turn) -> Any:
        task = self._remote.options(memory=turn.memory, name=f"upres {turn.job.source}")
        return task.remote(self._work, turn.job, turn.known, turn.memory, self._threads)

    def _end(self, turn: _Turn, ref: Any) -> bool:
        """Take over how a task ended; whether it is to be started again."""
        try:
            ended: Ended = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            # Of Ray or of what is sent: the task itself raises nothing.
            raise UpresError(f"{turn.job.source}: {str(error).splitlines()[-1]}") from None
        except self._ray.exceptions.RayError as error:
            turn.deaths.append(_cause(error))
            if len(turn.deaths) < ATTEMPTS:
                return True
            causes = ", ".join(dict.fromkeys(turn.deaths))
            raise InputError(
                f"{turn.job.source}: killed a worker {ATTEMPTS} times ({causes})"
            ) from None
        if ended.memory:
            if ended.memory > self._largest:
                raise InputError(
                    f"{turn.job.source}: needs {ended.memory / 1e6:,.0f} MB of memory, and the "
                    f"largest machine of the cluster has {self._largest / 1e6:,.0f} MB for tasks"
                )
            turn.memory = ended.memory
            return True
        if ended.unexpected:
            raise UnexpectedError(ended.unexpected)
        if ended.error is not None:
            raise rebuilt(ended)
        turn.future.set_result(ended.done)
        return False


class UnexpectedError(Exception):
    """An error on a worker that upres did not expect."""


def _knock(address: str) -> None:
    """Raise ``DeviceError`` if nothing answers: Ray would try for two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTING).close()
    except (OSError, OverflowError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise DeviceError(f"cluster {address}: nothing answers there: {words}") from None


def _connect(address: str) -> None:
    import ray

    if address != "auto":
        _knock(address)
    # Ray would end the process by itself, in the middle of its work.
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the error says it
                ray.init(address, logging_level=logging.ERROR)
            return
        # Workers are processes of their own: what this machine has, less the driver's own.
        memory = machine_memory()
        ray.init(
            "local",
            include_dashboard=False,
            object_store_memory=OBJECTS,
            _memory=None if memory is None else max(ORDINARY * 2, int(memory * 0.8) - OBJECTS),
            logging_level=logging.ERROR,
            log_to_driver=True,
        )
    except SystemExit:  # by Ray, which had that signal for a while
        raise KeyboardInterrupt from None
    except Exception as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "one that asks for a token needs RAY_AUTH_MODE=token in the environment"
        raise DeviceError(f"cluster {address}: cannot be reached: {words}: {hint}") from None
    finally:
        with suppress(ValueError):  # not in the main thread, where signals do not come
            signal.signal(signal.SIGTERM, before)


def _check_processors(ray: Any, threads: int) -> None:
    """Raise ``DeviceError`` if a cluster that does not grow has no machine for a task."""
    most = int(max((node["Resources"].get("CPU", 0) for node in ray.nodes()), default=0))
    if threads > most:
        raise DeviceError(f"cluster auto: {threads} threads need as many processors: it has {most}")


def _check_versions(ray: Any, threads: int, stop: threading.Event) -> None:
    """Raise ``DeviceError`` if workers have another upres than this process, or none."""
    remote = ray.remote(max_retries=3, num_cpus=threads)(version_here)
    try:
        task, end = remote.remote(), time.monotonic() + FIRST
        while not ray.wait([task], timeout=TICK)[0]:
            if stop.is_set():
                ray.cancel(task, force=True)
                raise KeyboardInterrupt
            if time.monotonic() > end:
                raise DeviceError(
                    f"the cluster has not begun a task of {threads} processors within "
                    f"{FIRST // 60} minutes"
                )
        found = ray.get(task)
    except DeviceError:
        raise
    except Exception as error:
        words = str(error).strip().splitlines()[-1]
        raise DeviceError(f"the cluster's workers cannot load upres: {words}") from None
    if found != __version__:
        raise DeviceError(f"the cluster has upres {found}, and this is {__version__}: make it one")


def _cause(error: Exception) -> str:
    """A short name for how a worker died."""
    name = type(error).__name__
    kinds = {"OutOfMemoryError": "out of memory", "WorkerCrashedError": "its process ended"}
    lost = ("NodeDied", "RayletDied", "ObjectLost", "OwnerDied")
    return kinds.get(name, "its machine went" if any(map(name.__contains__, lost)) else name)
