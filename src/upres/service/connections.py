"""Connections of clients, who may be slow, or never say or take anything."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """uvicorn's, which ends with a client that is too slow.

    uvicorn itself waits for ever for the head of a request, and for room in the client's buffers.
    The time that a body may take is for whoever reads it.
    """

    quiet_seconds = 20.0
    """How long a client may take for the head of a request, or take nothing of an answer."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._watch: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See ``asyncio.Protocol``."""
        super().connection_made(transport)
        self._watch_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._watch_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        super().data_received(data)
        if self._is_answering() and not self.flow.write_paused:
            self._watch_no_more()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to take the rest of the answer."""
        super().on_response_complete()
        if not self._is_answering():
            self._watch_again()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        super().pause_writing()
        self._watch_again()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        super().resume_writing()
        if self._is_answering():
            self._watch_no_more()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch_no_more(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _watch_again(self) -> None:
        self._watch_no_more()
        self._unsent = self.transport.get_write_buffer_size()
        self._watch = self.loop.call_later(self.quiet_seconds, self._look)

    def _look(self) -> None:
        """End the connection, unless the client has taken some of the answer since."""
        if self.transport.get_write_buffer_size() < self._unsent:
            self._watch_again()
        else:
            self.transport.abort()
