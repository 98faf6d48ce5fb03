"""A request's picture, from its body to a file; memory does not grow with it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from upres.service.parameters import safe_name
from upres.service.problems import ProblemError

LEAST_PACE = 4096
"""Bytes a second that an upload has to reach, after some seconds: a client that sends a byte now
and then would keep a place from others."""

_BLOCK = 2**20


async def receive_picture(
    request: Request, target: Path, *, name: str, most: int, limit: float, quiet: float
) -> str:
    """Write the picture of a request's body to a file, and give its name, as the client has it.

    The body is the file, or a form with one. ``name`` is the one that the request's parameters
    tell. ``most`` are the bytes that it may have, ``limit`` the seconds that it may take, and
    ``quiet`` those that may go by without a byte, or before it has to keep a pace.

    Raises ``ProblemError`` 408, 413, 415, 422 or 507.
    """
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most:
        raise _too_large(most)
    body = Request(request.scope, _counted(request.receive, most, quiet))
    try:
        async with asyncio.timeout(limit):
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "multipart/form-data":
                name = await _from_form(body, target, name)
            else:
                await _from_body(body, target)
    except TimeoutError:
        raise _too_slow(f"{limit:,.0f} seconds are allowed") from None
    except OSError as error:
        problem = f"the disk of this service cannot keep the picture: {error.strerror}"
        raise ProblemError(507, "no_room", problem) from None
    if not target.stat().st_size:
        missing = "send the file as its body"
        if kind == "multipart/form-data":
            missing = "its form has no file with a name, or is cut off"
        raise ProblemError(422, "empty", f"the request has no picture: {missing}")
    return safe_name(name)


async def _from_body(request: Request, target: Path) -> None:
    with target.open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)


async def _from_form(request: Request, target: Path, name: str) -> str:
    try:
        form = await request.form(max_files=1, max_fields=0)
    except HTTPException as error:
        detail = f"this form cannot be read: {error.detail}"
        if "maximum number of" in error.detail.lower():
            detail = (
                "a form has one file, and nothing else: "
                "options such as scale=4 go into the address, behind a question mark"
            )
        raise ProblemError(422, "form", detail) from None
    try:
        pictures = [value for value in form.values() if isinstance(value, UploadFile)]
        with target.open("wb") as file:
            for picture in pictures:
                while block := await picture.read(_BLOCK):
                    file.write(block)
        return name or (pictures[0].filename or "" if pictures else "")
    finally:
        await form.close()


def _counted(receive: Receive, most: int, quiet: float) -> Receive:
    """Messages of a body, which raises ``ProblemError`` where it is too long, or silent."""
    count = 0
    start = time.monotonic()

    async def next_message() -> Message:
        nonlocal count
        try:
            async with asyncio.timeout(quiet):
                message = await receive()
        except TimeoutError:
            raise _too_slow(f"nothing came for {quiet:,.0f} seconds") from None
        count += len(message.get("body", b""))
        late = time.monotonic() - start - quiet
        if message.get("more_body") and count < late * LEAST_PACE:
            raise _too_slow(f"{LEAST_PACE:,} bytes a second have to come")
        if count > most:
            raise _too_large(most)
        return message

    return next_message


def _too_slow(why: str) -> ProblemError:
    return ProblemError(408, "slow_upload", f"the upload took too long: {why}")


def _too_large(most: int) -> ProblemError:
    problem = f"the picture's file is larger than the {most:,} bytes that this service takes"
    return ProblemError(413, "too_many_bytes", problem)
