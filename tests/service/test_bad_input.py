"""Pictures that are made to do harm are refused before they are decoded, soon and cheaply."""

from __future__ import annotations

import multiprocessing
import socket
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from serving import Serve, encoded, problem

SECONDS, MEGABYTES = 1.0, 100


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG of RGB whose pixels are black, as far as they are there."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + b"".join([head, *extra, pixels, png_chunk(b"IEND", b"")])


def gif(side: int, frames: int) -> bytes:
    """A GIF whose frames are of a pixel each, on a screen of ``side`` x ``side``."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    frame = b"\x21\xf9\x04\x00\x05\x00\x00\x00"
    frame += b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b"\x3b"


def tiff(side: int, pages: int, *, circle: bool = False, nested: bool = False) -> bytes:
    """A TIFF of many pages that share one strip; its last page may lead to the first again."""
    tags = [
        *((256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)),
        *((277, 3, 1), (278, 4, side), (279, 4, 16)),
    ]
    size = 2 + 12 * (len(tags) + nested) + 4
    content = b"II*\0" + struct.pack("<I", 24) + bytes(16)
    for page in range(pages):
        own = 24 + page * size
        following = own + size if page + 1 < pages else 24 if circle else 0
        entries = [*tags, *([(330, 4, following or 24)] if nested else [])]
        content += struct.pack("<H", len(entries))
        for tag, kind, value in sorted(entries):
            content += struct.pack("<HHII", tag, kind, 1, value)
        content += struct.pack("<I", 0 if nested else following)
    return content


BOMBS: dict[str, tuple[Callable[[], bytes], tuple[int, ...]]] = {
    "a PNG of a gigapixel": (lambda: png(32768, 32768), (413,)),
    "a PNG with a text of half a gigabyte": (
        lambda: png(40, 30, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**29), 1))),
        (200, 422),
    ),
    "a GIF of 10,000 frames": (lambda: gif(1000, 10_000), (413,)),
    "a TIFF of 20,000 pages": (lambda: tiff(4000, 20_000), (413,)),
    # Those that there are, once.
    "a TIFF of pages in a circle": (lambda: tiff(40, 3, circle=True), (200, 413, 422)),
    "a TIFF of nested pages": (lambda: tiff(4000, 5000, nested=True), (413, 422)),
    "a TIFF whose page is inside itself": (lambda: tiff(40, 1, nested=True), (422,)),
}


def peak(process: int) -> int:
    """Most bytes that a process ever held."""
    for line in Path(f"/proc/{process}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    pytest.skip("needs a system that tells the memory of processes")


def children() -> dict[int, int]:
    """Of all processes of the services here, the most bytes that each ever held."""
    found = [child.pid for child in multiprocessing.active_children()]
    return {process: peak(process) for process in found if process is not None}


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {name: make() for name, (make, _) in BOMBS.items()}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_a_second_and_100_megabytes(
    name: str, serve: Serve, bombs: dict[str, bytes]
) -> None:
    service = serve(workers=1)
    client = service.client()
    # Once, so that all libraries are loaded; then each process has its usual memory.
    for content in (encoded(), encoded(kind="GIF"), encoded(kind="TIFF")):
        assert client.post("/enlarge", content=content).status_code == 200
    before = children()
    start = time.monotonic()
    response = client.post("/enlarge?scale=4&name=bomb", content=bombs[name])
    took = time.monotonic() - start
    assert response.status_code in BOMBS[name][1], response.text[:300]
    assert took < SECONDS
    after = children()
    assert before.keys() <= after.keys()  # none had to be ended
    grown = sum(after[process] - before.get(process, 0) for process in after)
    assert grown < MEGABYTES * 10**6
    if response.status_code != 200:
        assert problem(response)["detail"].startswith("bomb: ")
    assert service.left() == []


def test_bodies_that_are_too_long_are_refused_before_they_are_read(serve: Serve) -> None:
    service = serve(upload_bytes=10_000)
    client = service.client()
    start = time.monotonic()
    with socket.create_connection(service.listening.getsockname(), SECONDS) as asking:
        head = "POST /enlarge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n"
        asking.sendall(head.encode())
        answer = asking.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - start < SECONDS

    def unknown_length() -> object:
        for _ in range(100):
            yield bytes(1000)

    for body in ({"content": unknown_length()}, {"files": {"a": bytes(20_000)}}):
        response = client.post("/enlarge", **body)
        assert (response.status_code, problem(response)["code"]) == (413, "too_many_bytes")
    assert service.left() == []


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("image/png", b"", "empty"),
        ("multipart/form-data", b"--x\r\n", "form"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", "empty"),
        ("multipart/form-data; boundary=x", b"nothing of the kind", "form"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--", "form"),
    ],
)
def test_requests_without_a_picture_are_refused(
    client: httpx.Client, content_type: str, body: bytes, code: str
) -> None:
    response = client.post("/enlarge", content=body, headers={"content-type": content_type})
    assert (response.status_code, problem(response)["code"]) == (422, code)


def test_options_in_a_form_are_refused_and_the_line_says_where_they_go(
    client: httpx.Client,
) -> None:
    for fields in ({"data": {"scale": "2"}}, {"files": [("a", b"x"), ("b", b"y")]}):
        form = {"files": {"picture": encoded()}} | fields
        response = client.post("/enlarge", **form)
        assert (response.status_code, problem(response)["code"]) == (422, "form")
        assert "scale=4 go into the address" in problem(response)["detail"]


def test_an_upload_that_falls_silent_ends(serve: Serve) -> None:
    service = serve(seconds=1)

    def slowly() -> object:
        yield encoded()[:100]
        time.sleep(3)
        yield b""

    response = service.client().post("/enlarge", content=slowly())
    assert (response.status_code, problem(response)["code"]) == (408, "slow_upload")
    assert service.left() == []
