"""Starts a service as its clients meet it: on a socket, with processes of its own."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

import httpx

from fakes import FakeBackend
from upres.service.server import Server, address_of, listen
from upres.service.settings import Settings

LONG = 60.0
"""Seconds after which a test fails instead of waiting."""


@dataclass
class Running:
    """A service that runs in a thread."""

    settings: Settings
    folder: Path
    server: Server
    thread: threading.Thread
    listening: socket.socket
    url: str
    clients: list[httpx.Client] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        """A client of this service; proxies of the environment are none of ours."""
        made = httpx.Client(base_url=self.url, timeout=LONG, trust_env=False, **options)
        self.clients.append(made)
        return made

    def left(self) -> list[Path]:
        """Everything that is in its folder once it is done: an answer's last bytes come before."""
        end = time.monotonic() + 2
        while (found := sorted(self.folder.iterdir())) and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(LONG)
        assert not self.thread.is_alive()
        self.listening.close()


def start(folder: Path, **settings: Any) -> Running:
    """Start a service whose engine is a fake, unless ``settings`` say otherwise."""
    made = Settings(**{"port": 0, "workers": 2, "backend_of": FakeBackend} | settings)
    listening = listen(made)
    ready = threading.Event()
    server = Server(made, folder, listening, lambda address: ready.set())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    assert ready.wait(LONG)
    url = address_of(listening).rstrip("/")
    return Running(made, folder, server, thread, listening, url)


Serve = Callable[..., Running]


def encoded(width: int = 61, height: int = 45, kind: str = "PNG", **options: Any) -> bytes:
    """A picture's file: smooth, RGB, of 8 bits."""
    y, x = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], axis=2))
    content = BytesIO()
    PIL.Image.fromarray(waves.astype(np.uint8)).save(content, kind, **options)
    return content.getvalue()


def problem(response: httpx.Response) -> dict[str, Any]:
    """The body of a refusal, which has to be one."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert len(body["detail"].splitlines()) == 1
    return body


def family(root: int) -> list[int]:
    """A process and all that it has started, and those have."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found
