"""Clients that are slow on purpose, or leave: at the head, at the body, and while they read."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from serving import LONG, Running, Serve, encoded, problem

QUIET = 0.6
HEAD = b"POST /enlarge?scale=2 HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def service(serve: Serve) -> Running:
    return serve(quiet_seconds=QUIET, workers=1)


@contextmanager
def connected(service: Running) -> Iterator[socket.socket]:
    with socket.create_connection(service.listening.getsockname(), LONG) as asking:
        asking.settimeout(LONG)
        yield asking


def seconds_until_closed(asking: socket.socket, dripping: bytes = b"") -> float:
    """How long the service bears a client that says nothing, or a byte now and then."""
    start = time.monotonic()
    asking.settimeout(0.1)
    while time.monotonic() < start + LONG:
        try:
            if dripping:
                asking.send(dripping)
            if not asking.recv(2**16):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


@pytest.mark.parametrize("said", [b"", b"G", HEAD], ids=["nothing", "a letter", "half a head"])
@pytest.mark.parametrize("dripping", [b"", b"a"], ids=["silent", "dripping"])
def test_the_head_of_a_request_has_to_come(service: Running, said: bytes, dripping: bytes) -> None:
    with connected(service) as asking:
        asking.sendall(said)
        assert QUIET / 2 < seconds_until_closed(asking, dripping) < LONG / 4


def test_after_an_answer_the_next_head_has_to_come(service: Running) -> None:
    with connected(service) as asking:
        asking.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asking.recv(2**16).startswith(b"HTTP/1.1 200 ")
        assert seconds_until_closed(asking, b"a") < LONG / 4


def test_a_body_in_drops_keeps_no_place(service: Running) -> None:
    """A byte comes often enough, and all of them together are too few."""
    with connected(service) as asking:
        asking.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        asking.settimeout(0.1)
        answer, end = b"", time.monotonic() + LONG
        while b"bytes a second" not in answer and time.monotonic() < end:
            with suppress(BrokenPipeError, ConnectionResetError):
                asking.send(b"x")
            with suppress(TimeoutError):
                answer += asking.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"bytes a second have to come" in answer
    assert service.left() == []


def test_a_body_that_falls_silent_keeps_no_place(service: Running) -> None:
    with connected(service) as asking:
        asking.sendall(HEAD + b"Content-Length: 100000\r\n\r\nxyz")
        answer = b""
        while b"nothing came for" not in answer and (block := asking.recv(2**16)):
            answer += block
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"nothing came for" in answer


def test_a_steady_client_may_take_longer(service: Running) -> None:
    content = encoded(300, 200, "BMP")

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(content), 30_000):
            yield content[start : start + 30_000]
            time.sleep(0.25)

    start = time.monotonic()
    assert service.client().post("/enlarge?scale=2", content=slowly()).status_code == 200
    assert time.monotonic() - start > 2 * QUIET


def test_whoever_does_not_take_the_answer_is_left(service: Running) -> None:
    """The buffers of both sides take a part of it only."""
    content = encoded(900, 700, "BMP")
    with connected(service) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        assert asking.recv(64).startswith(b"HTTP/1.1 200 ")
        assert any(service.folder.iterdir())
        end = time.monotonic() + LONG / 2
        while any(service.folder.iterdir()):
            assert time.monotonic() < end, "its result stays on disk"
            time.sleep(0.1)


def test_whoever_takes_the_answer_slowly_gets_all_of_it(service: Running) -> None:
    content = encoded(900, 700, "BMP")
    with service.client().stream("POST", "/enlarge?scale=2", content=content) as answer:
        length = 0
        for block in answer.iter_bytes(2**20):
            length += len(block)
            time.sleep(0.15)
    assert length == int(answer.headers["content-length"]) > 7 * 10**6


@pytest.mark.parametrize(
    "said",
    [
        b"POST",
        HEAD,
        HEAD + b"Content-Length: 5000\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
    ],
)
def test_clients_that_vanish_leave_nothing(
    service: Running, said: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        with connected(service) as asking:
            asking.sendall(said)
    with connected(service) as asking:  # once more, without a word of farewell
        asking.sendall(said)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert service.client().get("/health/ready").status_code == 200
    assert service.left() == []
    desk = service.server._desk
    assert desk
    assert (desk.line.waiting, desk.line.running) == (0, 0)
    assert capfd.readouterr().err == ""


def test_nothing_that_strangers_send_is_noted(
    service: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither that a request cannot be read, nor bytes of a form that is none."""
    for said in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"):
        with connected(service) as asking:
            asking.sendall(said)
            assert asking.recv(2**16).startswith(b"HTTP/1.1 400 ")
    client = service.client()
    for boundary in ("x", ""):
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        answer = client.post("/enlarge", content=b"no form" * 1000, headers=kind)
        assert (answer.status_code, problem(answer)["code"]) == (422, "form")
    assert capfd.readouterr() == ("", "")


def test_requests_one_behind_another_are_answered_in_turn(service: Running) -> None:
    content = encoded(30, 20)
    post = HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(service) as asking:
        asking.sendall(post + post + last)
        answer = b""
        while block := asking.recv(2**16):
            answer += block
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b'{"status":"live"}')


def test_results_are_removed_where_the_disk_is_short_those_first_that_were_fetched(
    tmp_path: Path,
) -> None:
    """By a fake of the disk."""
    import asyncio
    from functools import partial

    from slow import slow_backend

    from upres.enlarging.options import Options
    from upres.service.desk import Desk, Ticket
    from upres.service.orders import Order
    from upres.service.problems import ProblemError
    from upres.service.settings import Settings

    free = [10**12]
    settings = Settings(workers=1, backend_of=partial(slow_backend, 0.0))

    async def made(desk: Desk) -> Ticket:
        ticket = desk.open()
        order = Order(ticket.folder, "photo.png", Options(scale=2))
        order.source.write_bytes(encoded(20, 16))
        try:
            await desk.admit(ticket, order, limit=60)
        except BaseException:
            await desk.close(ticket)
            raise
        await desk.begin(ticket, limit=60)
        desk.jobs[ticket.id] = ticket
        return ticket

    def left(folder: Path) -> int:
        # As if the disk had room for so many folders.
        return free[0] if free[0] > 100 else (free[0] - len(list(folder.iterdir()))) * 10**9

    async def check() -> None:
        desk = Desk(settings, tmp_path, free=left)
        try:
            await desk.start()
            old, fetched, fresh = [await made(desk) for _ in range(3)]
            for each in (fetched, fresh):
                assert each.result is not None
                each.had.add(each.result.path)
                assert each.fetched
            free[0] = 4  # and the one that comes is the fourth
            newest = await made(desk)
            assert set(desk.jobs.values()) == {old, fresh, newest}
            assert not fetched.folder.exists()
            free[0] = 1
            with pytest.raises(ProblemError) as refusal:
                await made(desk)
            assert (refusal.value.status, refusal.value.code) == (507, "no_room")
            # The one that nobody has had is not given up.
            assert old.folder.exists()
        finally:
            desk.end_at_once()

    with ThreadPoolExecutor(1) as pool:  # the browser of other tests has a loop in this thread
        pool.submit(asyncio.run, check()).result()


def test_half_a_connection_is_no_answer_that_is_lost_by_others(service: Running) -> None:
    """One that says that it will send no more has left, as far as HTTP servers of Python know."""
    with connected(service) as asking:
        asking.sendall(HEAD + b"Content-Length: 10\r\n\r\nabc")
        asking.shutdown(socket.SHUT_WR)
        seconds_until_closed(asking)
    assert service.left() == []
    with httpx.Client(base_url=service.url, trust_env=False) as client:
        assert client.post("/enlarge", content=encoded(9, 9)).status_code == 200
