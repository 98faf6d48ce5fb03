"""Long work as jobs: posted, followed by events, fetched and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi import Path as InPath
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from upres.service.answers import (
    ALWAYS,
    ENLARGED,
    ERROR_MAP,
    JOB_EXAMPLE,
    PICTURE,
    PROBLEMS,
    problems,
)
from upres.service.desk import Desk, Ticket
from upres.service.enlarging_routes import take
from upres.service.orders import Delivered
from upres.service.parameters import Parameters
from upres.service.problems import ProblemError
from upres.service.results import Delivery, facts
from upres.service.routing import Router
from upres.service.views import MOST_SIDE, Cut, Of, Seen, view

job_router = Router(prefix="/jobs")

OF_JOB = ALWAYS | problems(404)

OF_WORDS = "bicubic is the picture enlarged by bicubic, errors the map of the result's errors"


class EstimateBody(BaseModel):
    """The plan of a job."""

    width: int
    height: int
    models: list[str]
    seconds: float


class JobBody(BaseModel):
    """A job, as far as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: str
    state: str = Field(description="uploading, waiting, working, done or failed")
    part: float = Field(description="That is done, from 0 to 1")
    name: str
    estimate: EstimateBody | None
    result: dict[str, Any] | None
    problem: dict[str, Any] | None


def told_of(ticket: Ticket) -> JobBody:
    """A job for JSON."""
    estimate = ticket.estimate
    return JobBody(
        id=ticket.id,
        state=ticket.state,
        part=round(ticket.part, 4),
        name=ticket.order.name if ticket.order else "",
        estimate=EstimateBody(
            width=estimate.width,
            height=estimate.height,
            models=list(estimate.models),
            seconds=round(estimate.seconds, 2),
        )
        if estimate
        else None,
        result=facts(ticket.result) if ticket.result else None,
        problem=ticket.problem.body if ticket.problem else None,
    )


def job_of(
    request: Request,
    job: Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The job's id")],
) -> Ticket:
    """The job that a path names; raises ``ProblemError`` 404."""
    desk: Desk = request.app.state.desk
    return desk.find(job)


JobOfPath = Annotated[Ticket, Depends(job_of)]


@job_router.post(
    "", status_code=202, summary="Begin a job", responses={**PROBLEMS}, openapi_extra=PICTURE
)
async def begin(
    request: Request, response: Response, parameters: Annotated[Parameters, Query()]
) -> JobBody:
    """The picture is uploaded, looked at and taken in, or refused; its work comes in turn."""
    desk: Desk = request.app.state.desk
    limit = desk.settings.job_seconds
    ticket = desk.open()
    try:
        await take(request, desk, ticket, parameters, limit=limit)
    except BaseException:
        await desk.close(ticket)
        raise
    desk.jobs[ticket.id] = ticket
    # Nobody waits for it here: its error is for whoever asks.
    desk.begin(ticket, limit=limit).add_done_callback(
        lambda task: task.cancelled() or task.exception()
    )
    response.headers["location"] = f"/jobs/{ticket.id}"
    return told_of(ticket)


@job_router.get("/{job}", summary="Tell of a job", responses=OF_JOB)
async def tell(ticket: JobOfPath) -> JobBody:
    """Its state, its plan, its result's facts or its error."""
    return told_of(ticket)


@job_router.get(
    "/{job}/events", summary="Follow a job", response_class=EventSourceResponse, responses=OF_JOB
)
async def events(ticket: JobOfPath) -> AsyncIterator[ServerSentEvent]:
    """An event at each change, whose data is the job; the last one is that of its end."""
    while True:
        changed = ticket.changed
        told = told_of(ticket)
        yield ServerSentEvent(data=told, event=told.state)
        if told.state in ("done", "failed"):
            return
        await changed.wait()


@job_router.get(
    "/{job}/result",
    summary="Fetch a job's result",
    response_class=Response,
    responses={200: ENLARGED, **OF_JOB, **problems(409)},
)
async def result(request: Request, ticket: JobOfPath) -> Response:
    """The file, for as long as the job is kept."""
    made = _result_of(ticket)
    return Delivery(made, _noting(request, ticket, made.path))


@job_router.get(
    "/{job}/error-map",
    summary="Fetch the error map of a job's result",
    response_class=Response,
    responses={200: ERROR_MAP, **OF_JOB, **problems(409)},
)
async def error_map(request: Request, ticket: JobOfPath) -> Response:
    """The file, in the format that the job was asked for: 404 if it was not."""
    made = _result_of(ticket)
    path = _map_of(made)
    return Delivery(made, _noting(request, ticket, path), of_errors=path)


@job_router.get(
    "/{job}/view",
    summary="See a part of a picture or its result",
    response_class=Response,
    responses={
        200: {"description": "A PNG", "content": {"image/png": {}}},
        **OF_JOB,
        **problems(409),
    },
)
async def see(
    request: Request,
    ticket: JobOfPath,
    of: Annotated[Of, Query(description=OF_WORDS)] = "result",
    left: Annotated[int, Query(ge=0, le=10**9)] = 0,
    top: Annotated[int, Query(ge=0, le=10**9)] = 0,
    width: Annotated[int, Query(ge=0, le=MOST_SIDE)] = 0,
    height: Annotated[int, Query(ge=0, le=MOST_SIDE)] = 0,
) -> Response:
    """A part in pixels of the result, as it is; or all of it, reduced, where no size is given.

    The error map can be seen of a job that was asked for one as a PNG.
    """
    desk: Desk = request.app.state.desk
    made = _result_of(ticket)
    rows, columns = made.height, made.width
    if (width == 0) != (height == 0) or left + width > columns or top + height > rows:
        problem = f"this part is not within the result, {columns}x{rows}"
        raise ProblemError(422, "parameters", problem)
    assert ticket.order
    box = Cut(left, top, width, height)
    path = _map_of(made, ".png") if of == "errors" else made.path
    work = partial(view, ticket.order, Seen(of, path, (rows, columns)), box)
    content = await desk.see(work)
    assert isinstance(content, bytes)
    return Response(content, media_type="image/png", headers={"cache-control": "no-store"})


@job_router.delete("/{job}", status_code=204, summary="Delete a job", responses=OF_JOB)
async def delete(request: Request, ticket: JobOfPath) -> None:
    """Its work is stopped within a window, and its picture and result are removed."""
    desk: Desk = request.app.state.desk
    await desk.close(ticket)


def _noting(request: Request, ticket: Ticket, path: Path) -> Callable[[], Awaitable[None]]:
    """Notes that a file of a job was fetched."""

    async def note() -> None:
        if request.method == "GET":
            ticket.had.add(path)

    return note


def _map_of(made: Delivered, suffix: str = "") -> Path:
    """The error map's file; raises ``ProblemError`` 404 if there is none of that kind."""
    if made.error_map is None or suffix not in ("", made.error_map.suffix):
        kind = f"={suffix.removeprefix('.')}" if suffix else ""
        problem = f"this job was not asked for such an error map: post it with error_map{kind}"
        raise ProblemError(404, "no_error_map", problem)
    return made.error_map


def _result_of(ticket: Ticket) -> Delivered:
    """Of a job that is done; raises the ``ProblemError`` of one that failed, 409 before its end."""
    if ticket.problem:
        raise ticket.problem
    if ticket.result is None:
        raise ProblemError(409, "not_ready", "this job has no result yet: follow its events")
    return ticket.result
