"""The settings of a service: where it listens, who may ask it, and how much it takes on."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from upres.engine.backends import default_backend
from upres.engine.machine import machine_memory, usable_processors
from upres.engine.protocol import Backend
from upres.enlarging.costs import BASE_BYTES
from upres.enlarging.options import MAX_PIXELS
from upres.errors import Remedy, UsageError

LOOPBACK = "127.0.0.1"

PORT = 8765

LAST_PORT = 65535

MOST_WORKERS_AT_ONCE = 4
"""Pictures that are worked on at once unless it is told otherwise: each takes all processors for
its network, and more of them overlap little else."""

LIGHT_WORKERS = 2
"""Processes that look at headers and make views, beside those that enlarge."""

UNKNOWN_MEMORY = 2**32
"""Where nothing tells how much the machine has."""

SHARE_OF_MEMORY = 0.75
"""Cut of the machine's, or its container's, that a service takes unless it is told otherwise."""

MOST_KEPT = 2**30
"""Bytes that an idle process may hold, however much memory there is."""

BackendOf = Callable[[], Backend]


def nothing_to_prepare() -> None:
    """Leave the settings of a worker's process as they are."""


@dataclass(frozen=True)
class Settings:
    """How a service is run.

    Raises ``UsageError`` for values out of range, and without a ``token`` where it listens to more
    than this machine.
    """

    host: str = LOOPBACK
    """The address that it listens at."""
    port: int = PORT
    """0 is any that is free."""
    token: str | None = None
    """Has to come with each request, if there is one."""
    names: tuple[str, ...] = ()
    """Names by which the service may be called, beside its address; others are refused."""
    origins: tuple[str, ...] = ()
    """Other sites whose pages may ask it, such as ``https://example.org``."""
    workers: int | None = None
    """Pictures that are enlarged at once, each in a process of its own."""
    memory: int | None = None
    """Bytes that all of its processes take at most, about."""
    places: int = 32
    """Requests at most that are uploading, waiting or being worked on."""
    seconds: float = 300.0
    """How long a request may take, once it is uploaded, its wait included."""
    job_seconds: float = 3600.0
    """The same of a job."""
    quiet_seconds: float = 20.0
    """How long a client may send nothing of a request, or take nothing of an answer."""
    upload_bytes: int = 2**28
    """Of a request's body, at most."""
    kept_seconds: float = 600.0
    """How long a job's result waits to be fetched."""
    grace_seconds: float = 30.0
    """How long work under way may go on when the service is to end."""
    max_pixels: int = MAX_PIXELS
    """Of a result, see ``upres.enlarging.options``."""
    backend_of: BackendOf = default_backend
    """Makes the backend, in each process."""
    prepare: Callable[[], None] = nothing_to_prepare
    """Is called first in each process of a worker, for settings such as those of libvips."""

    def __post_init__(self) -> None:
        if not self.is_local and not self.token:
            raise UsageError(
                f"{self.host}: others reach this address, so the service needs a token",
                Remedy("token", "is what they have to send"),
            )
        self._check_words()
        least: dict[str, float] = {
            **{"workers": 1, "memory": 4 * BASE_BYTES, "places": 1, "upload_bytes": 1},
            **{"seconds": 1, "job_seconds": 1, "kept_seconds": 0, "grace_seconds": 0},
            **{"max_pixels": 1, "port": 0, "quiet_seconds": 0},
        }
        for name, low in least.items():
            value = getattr(self, name)
            unit = " bytes" if name in ("memory", "upload_bytes") else ""
            if value is not None and not (low <= value < math.inf):  # as no number is, too
                raise UsageError(f"{name} must be at least {low:,}{unit}, not {value:,}")
        if self.port > LAST_PORT:
            raise UsageError(f"port must be at most {LAST_PORT}, not {self.port}")

    def _check_words(self) -> None:
        """Raise ``UsageError`` for words that no request could ever have."""
        if self.token is not None and not re.fullmatch(r"[!-~]+", self.token):
            raise UsageError(
                "the token must be of letters, digits and signs of ASCII, without spaces"
            )
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^/?#@\s]+/?", origin, re.IGNORECASE):
                raise UsageError(f"{origin}: is no site: give it as https://example.org")
        for name in self.names:
            if not re.fullmatch(r"[^/?#@:\s]+|\[?[0-9a-fA-F:.]+\]?", name):
                raise UsageError(f"{name}: is no name: give it as example.org, without a port")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def memory_budget(self) -> int:
        """Bytes for all processes together."""
        if self.memory is not None:
            return self.memory
        return int(SHARE_OF_MEMORY * (machine_memory() or UNKNOWN_MEMORY))

    @property
    def workers_at_once(self) -> int:
        """As many as are asked for or are of use, and as memory has room for."""
        wanted = self.workers or min(MOST_WORKERS_AT_ONCE, max(2, usable_processors()))
        room = self.memory_budget // BASE_BYTES - 1 - LIGHT_WORKERS
        return max(1, min(wanted, room))

    @property
    def work_bytes(self) -> int:
        """Memory for the pictures that are worked on, beside that of the processes themselves."""
        processes = 1 + LIGHT_WORKERS + self.workers_at_once
        return max(0, self.memory_budget - processes * BASE_BYTES)

    @property
    def kept_bytes(self) -> int:
        """Memory that a process may hold while it does nothing: its part of all that there is."""
        return min(MOST_KEPT, BASE_BYTES + self.work_bytes // self.workers_at_once)
