"""The service as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from upres import __version__
from upres.errors import UpresError
from upres.runs.batch import UNEXPECTED
from upres.service.desk import Desk
from upres.service.enlarging_routes import enlarging_router
from upres.service.guard import Guard
from upres.service.job_routes import job_router
from upres.service.metrics import Metrics
from upres.service.page_routes import page_router
from upres.service.problems import CONTENT_TYPE, ProblemError, one_line, refused
from upres.service.results import RESULT_HEADERS
from upres.service.settings import Settings

ABOUT = """
Enlarges pictures by residual networks. A picture is the body of a request, or the one file of a
form, and the answer is the enlarged file with all that the picture's file says of itself. Long work
is a job: post it, follow its events, fetch its result, delete it.

Errors are `application/problem+json` with a `code` for programs and a `detail` of one line for
people. 429 says by `Retry-After` when there will be room.
"""


def create_app(
    settings: Settings, folder: Path, *, ready: Callable[[Desk], None] = lambda desk: None
) -> FastAPI:
    """The application of a service that keeps pictures in ``folder`` while it works on them.

    ``ready`` is given its desk, once that takes requests.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk = Desk(settings, folder, ended=metrics.ended)
        metrics.watch(desk)
        app.state.desk, app.state.metrics = desk, metrics
        try:
            await desk.start()
            ready(desk)
            yield
            await desk.end()
        finally:
            desk.end_at_once()

    app = FastAPI(
        title="upres",
        version=__version__,
        description=ABOUT.strip(),
        lifespan=lifespan,
        # Their pages would come from other sites.
        docs_url=None,
        redoc_url=None,
        # It reports to nobody.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    for router in (page_router, enlarging_router, job_router):
        app.include_router(router)

    def answer(problem: ProblemError) -> Response:
        metrics.refused.labels(problem.code).inc()
        return JSONResponse(
            problem.body, problem.status, problem.all_headers, media_type=CONTENT_TYPE
        )

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return answer(error)

    async def on_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, UpresError)
        return answer(refused(error))

    async def on_parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        lines = []
        for each in error.errors():
            place = [str(part) for part in each["loc"][1:]]
            message = each["msg"].removeprefix("Value error, ")
            lines.append(f"{'.'.join(place)}: {message}" if place else message)
        return answer(ProblemError(422, "parameters", one_line("; ".join(lines))[:1000]))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        code = status.phrase.lower().replace(" ", "_")
        return answer(
            ProblemError(status, code, one_line(str(error.detail)), headers=error.headers or {})
        )

    async def on_leaving(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    async def on_surprise(request: Request, error: Exception) -> Response:
        return answer(ProblemError(500, "unexpected", f"{UNEXPECTED}: {type(error).__name__}"))

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(UpresError, on_refusal)
    app.add_exception_handler(RequestValidationError, on_parameters)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ClientDisconnect, on_leaving)
    app.add_exception_handler(Exception, on_surprise)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=[*RESULT_HEADERS, "location", "retry-after", "content-disposition"],
        )
    # Last added, first asked.
    app.add_middleware(Guard, settings=settings)
    return app
