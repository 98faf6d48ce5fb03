"""One request, one result: ``POST /enlarge``; and the plans that tell beforehand what it takes."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any

import numpy as np
from fastapi import Query, Request, Response
from pydantic import Field
from starlette.requests import ClientDisconnect

from upres.engine.protocol import Backend
from upres.enlarging.costs import BASE_BYTES
from upres.enlarging.options import Options
from upres.enlarging.plan import plan
from upres.errors import UpresError
from upres.models.catalogue import catalogue
from upres.raster.info import RasterInfo, bands_of, usual_roles
from upres.service.answers import ALWAYS, ENLARGED, PICTURE, PLAN_EXAMPLE, PROBLEMS
from upres.service.desk import Desk, Ticket
from upres.service.orders import Delivered, Order
from upres.service.parameters import Parameters
from upres.service.problems import ProblemError, without_places
from upres.service.results import Delivery
from upres.service.routing import Router
from upres.service.uploads import receive_picture

enlarging_router = Router()

PURPOSES_BY_NAME = {
    "auto": "the picture decides",
    **{listed.name: listed.purpose for listed in catalogue()},
}


@enlarging_router.post(
    "/enlarge",
    summary="Enlarge a picture",
    response_class=Response,
    responses={200: ENLARGED, **PROBLEMS},
    openapi_extra=PICTURE,
)
async def enlarge_picture(request: Request, parameters: Annotated[Parameters, Query()]) -> Response:
    """The answer is the file that ``upres enlarge`` writes, byte for byte.

    Where an error map is asked for, the answer is a zip with both files, stored as they are.

    A client that leaves stops the work.
    """
    desk: Desk = request.app.state.desk
    limit = desk.settings.seconds
    ticket = desk.open()
    try:
        await take(request, desk, ticket, parameters, limit=limit, zipped=True)
        result = await _while_connected(request, desk.begin(ticket, limit=limit))
    except BaseException:
        await desk.close(ticket)
        raise

    async def close() -> None:
        await desk.close(ticket)

    return Delivery(result, close)


async def take(
    request: Request,
    desk: Desk,
    ticket: Ticket,
    parameters: Parameters,
    *,
    limit: float,
    zipped: bool = False,
) -> None:
    """Receive a request's picture, and admit it; raises ``ProblemError``.

    An error map is ``zipped`` together with its result, or stays a file of its own.
    """
    try:
        await _take(request, desk, ticket, parameters, limit, zipped)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if ticket.problem is None or task is None:
            raise
        # By the desk, which is to end: the client is told so.
        task.uncancel()
        raise ticket.problem from None


async def _take(
    request: Request,
    desk: Desk,
    ticket: Ticket,
    parameters: Parameters,
    limit: float,
    zipped: bool,
) -> None:
    require_once(request)
    options = parameters.options(desk.settings.max_pixels, ticket.folder)
    order = Order(ticket.folder, "picture", options, parameters.suffix, zipped)
    name = await receive_picture(
        request,
        order.source,
        name=parameters.name,
        most=desk.settings.upload_bytes,
        limit=limit,
        quiet=desk.settings.quiet_seconds,
    )
    await desk.admit(ticket, dataclasses.replace(order, name=name), limit=limit)
    ticket.upload = None


def require_once(request: Request) -> None:
    """Raise ``ProblemError`` 422 for a parameter that is given twice: one would be passed over."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in request.query_params:
        if given.count(name) > 1:
            raise ProblemError(422, "parameters", f"{name}: is given {given.count(name)} times")


async def _while_connected(request: Request, work: asyncio.Task[Delivered]) -> Delivered:
    """Wait for work, and stop it if the client leaves: ``ClientDisconnect``; raises as it does."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.create_task(gone())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # it has been looked at
            # Work that is cancelled would unwind the server, which would note it as a fault.
            raise ClientDisconnect
        return await work
    finally:
        leaving.cancel()
        if not work.done():
            work.cancel()


class Size(Parameters):
    """A picture that is not uploaded yet: its own size, and how it is to be enlarged."""

    picture_width: int = Field(ge=1, le=10**6, description="Of the picture, in pixels")
    picture_height: int = Field(ge=1, le=10**6, description="Of the picture, in pixels")
    channels: int = Field(3, ge=1, le=4, description="1 is grey, 3 RGB; 2 and 4 have alpha")


@enlarging_router.get(
    "/plans",
    summary="Tell what a picture would take, by each model",
    responses={200: {"content": {"application/json": {"example": PLAN_EXAMPLE}}}, **ALWAYS},
)
async def plans(request: Request, size: Annotated[Size, Query()]) -> list[dict[str, Any]]:
    """For each model its purpose, the size of the result, and seconds and bytes of memory, about.

    Instead of these, ``problem`` tells why a model does not suit. ``no_error_map`` tells why errors
    of its result cannot be bounded, if they cannot.
    """
    desk: Desk = request.app.state.desk
    require_once(request)
    options = size.options(desk.settings.max_pixels)
    return await asyncio.to_thread(_plans, desk, size, options)


def _plans(desk: Desk, size: Size, options: Options) -> list[dict[str, Any]]:
    backend = desk.settings.backend_of()
    roles = usual_roles(size.channels) or ()
    info = RasterInfo(
        size.picture_height,
        size.picture_width,
        bands_of(roles, 0, 255),
        np.dtype(np.uint8),
        name="the picture",
    )
    told = []
    for name, purpose in PURPOSES_BY_NAME.items():
        entry: dict[str, Any] = {"model": name, "purpose": purpose}
        try:
            chosen = dataclasses.replace(options, model=None if name == "auto" else name)
            made = plan(info, chosen, backend)
        except UpresError as error:
            entry["problem"] = without_places(error.problem)
        else:
            entry |= {
                "width": made.width,
                "height": made.height,
                "seconds": round(made.seconds * desk.line.pace, 2),
                "memory": made.memory - BASE_BYTES,
            }
            if problem := _unbounded(info, chosen, backend):
                entry["no_error_map"] = problem
        told.append(entry)
    return told


def _unbounded(info: RasterInfo, options: Options, backend: Backend) -> str:
    """Why the errors of a result cannot be bounded; empty if they can."""
    try:
        # Whether it suits the calibration, only the file itself tells.
        plan(info, dataclasses.replace(options, errors="force"), backend)
    except UpresError as error:
        return without_places(error.problem)
    return ""
