"""Object stores on this machine, for tests: moto's and rclone's S3, Azure's emulator; faults."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
S3 = {"AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Run a server until it is left; its address."""
    with log.open("wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait(timeout=20)


def moto_command() -> str | None:
    """moto's server: it is in an environment of its own, as its needs are at odds with others'."""
    path = ROOT / ".stores" / "bin" / "moto_server"
    return str(path) if path.is_file() else shutil.which("moto_server")


def rclone_command() -> str | None:
    path = Path(sys.executable).with_name("rclone")
    return str(path) if path.is_file() else shutil.which("rclone")


def azurite_command() -> str | None:
    path = ROOT / ".npm" / "node_modules" / ".bin" / "azurite-blob"
    return str(path) if path.is_file() and shutil.which("node") else None


def make_bucket(address: str, name: str) -> None:
    """Make a bucket, by no library of ours."""
    request = urllib.request.Request(f"{address}/{name}", method="PUT")
    with suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=10)


Fault = Callable[[BaseHTTPRequestHandler], bool]
"""Answers a request in its own way, or says ``False`` to let it through."""


@contextmanager
def faulty(address: str, fault: Fault) -> Iterator[str]:
    """A server before another, where a ``fault`` may answer first; its address."""
    host = address.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def handle_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if fault(self):
                return
            connection = http.client.HTTPConnection(host, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            connection.request(self.command, self.path, content, headers)
            answer = connection.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                    if name.lower() == "content-length" and self.command != "HEAD":
                        value = str(len(body))
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            connection.close()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answered(handler: BaseHTTPRequestHandler, status: int, words: bytes = b"") -> bool:
    """Answer a request with a status."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(words)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(words)
    return True


def rclone(folder: Path, port: int) -> list[str]:
    """The command that serves a folder's folders as buckets."""
    command = rclone_command()
    assert command is not None
    key = f"{S3['AWS_ACCESS_KEY_ID']},{S3['AWS_SECRET_ACCESS_KEY']}"
    where = ["--addr", f"127.0.0.1:{port}", "--auth-key", key, "--config", os.devnull]
    return [command, "serve", "s3", *where, str(folder)]


def ray_workers() -> list[int]:
    """The processes that do a run's tasks now, of the clusters that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(b"ray::upres") and _is_below(path.parent.name):
                found.append(int(path.parent.name))
    return found


def _is_below(process: str) -> bool:
    """Whether a process was started by this one, or by one that was."""
    while process not in ("0", "1"):
        if process == str(os.getpid()):
            return True
        words = Path("/proc", process, "stat").read_text()
        process = words.rpartition(")")[2].split()[1]
    return False
