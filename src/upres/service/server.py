"""Runs the service until it is told to end, and ends it gracefully."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from upres.errors import OutputError
from upres.runs.streams import folder
from upres.service.app import create_app
from upres.service.connections import Connection
from upres.service.desk import Desk
from upres.service.settings import Settings

LONGEST_QUEUE = 512
"""Connections that may wait to be accepted."""


def run(settings: Settings, *, started: Callable[[str], None] = lambda address: None) -> None:
    """Serve until a signal ends it: then work under way is finished, and all else refused.

    ``started`` is told the address once it takes requests. Raises ``OutputError`` if it cannot
    listen there, or cannot keep pictures in the folder for temporary files.
    """
    # It notes bytes of forms that it cannot read.
    logging.getLogger("python_multipart").addHandler(logging.NullHandler())
    logging.getLogger("python_multipart").propagate = False
    listening = listen(settings)
    with listening, folder() as name:
        server = Server(settings, Path(name), listening, started)
        server.run(sockets=[listening])


def listen(settings: Settings) -> socket.socket:
    """A socket at the address of the settings; raises ``OutputError`` if it cannot be had."""
    try:
        places = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = places[0]
        listening = socket.socket(family, kind, protocol)
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(LONGEST_QUEUE)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise OutputError(f"{where}: cannot listen here: {error.strerror}") from None
    except UnicodeError:
        raise OutputError(f"{settings.host}: is no name or address of a machine") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """The address of a socket, for a browser."""
    host, port, *_ = listening.getsockname()
    if listening.family == socket.AF_INET6:
        host = f"[{host}]"
    return f"http://{host}:{port}/"


class Server(uvicorn.Server):
    """uvicorn's server, which goes on answering while the last work is done."""

    def __init__(
        self,
        settings: Settings,
        name: Path,
        listening: socket.socket,
        started: Callable[[str], None],
    ) -> None:
        class Patient(Connection):
            quiet_seconds = settings.quiet_seconds

        self._desk: Desk | None = None
        self._ending: asyncio.Task[None] | None = None
        self._started = started
        self._address = address_of(listening)
        config = uvicorn.Config(
            create_app(settings, name, ready=self._ready),
            # Neither addresses nor names of files are anybody's business.
            access_log=False,
            # Warnings are on requests that cannot be read: anyone could fill a disk by them.
            log_level="error",
            http=Patient,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
            ws="none",
        )
        super().__init__(config)

    def _ready(self, desk: Desk) -> None:
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._started(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end at the first signal; end at once at the second."""
        if self._desk is None or self._desk.is_ending:
            self._cut_off()
            self.force_exit = sig == signal.SIGINT
            if self._desk is not None:
                self._loop.call_soon_threadsafe(self._desk.end_at_once)
            return
        self._desk.is_ending = True
        self._loop.call_soon_threadsafe(self._begin_to_end)

    def _cut_off(self) -> None:
        """Have uvicorn end, which cuts off those who are slow to take their answers."""
        # It would note each of them, with the place in the program.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True

    def _begin_to_end(self) -> None:
        assert self._desk

        async def end(desk: Desk) -> None:
            await desk.end()
            self._cut_off()

        self._ending = asyncio.create_task(end(self._desk))
