"""The page, health and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse

from upres.service.answers import ALWAYS, problems
from upres.service.desk import ENDING, Desk
from upres.service.enlarging_routes import PURPOSES_BY_NAME
from upres.service.metrics import CONTENT_TYPE_METRICS
from upres.service.parameters import FORMAT_NAMES
from upres.service.routing import Router
from upres.service.static_page import PAGE_FILES

page_router = Router()


def _file(name: str, kind: str) -> FileResponse:
    return FileResponse(PAGE_FILES / name, media_type=kind, headers={"cache-control": "no-cache"})


@page_router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page itself."""
    return _file("index.html", "text/html")


@page_router.get("/style.css", include_in_schema=False)
async def style() -> FileResponse:
    """Its style sheet."""
    return _file("style.css", "text/css")


@page_router.get("/script.js", include_in_schema=False)
async def script() -> FileResponse:
    """Its script."""
    return _file("script.js", "text/javascript")


@page_router.get("/icon.svg", include_in_schema=False)
async def icon() -> FileResponse:
    """Its icon."""
    return _file("icon.svg", "image/svg+xml")


@page_router.get("/choices", summary="Tell the models, formats and limits", responses=ALWAYS)
async def choices(request: Request) -> dict[str, Any]:
    """The choices that a request has here, and the limits that it meets."""
    settings = request.app.state.desk.settings
    return {
        "models": [
            {"model": name, "purpose": purpose} for name, purpose in PURPOSES_BY_NAME.items()
        ],
        "formats": FORMAT_NAMES,
        "upload_bytes": settings.upload_bytes,
        "max_pixels": settings.max_pixels,
        "kept_seconds": settings.kept_seconds,
    }


@page_router.get("/health/live", summary="Tell that the service runs")
async def live() -> dict[str, str]:
    """It answers, be it about to end or not."""
    return {"status": "live"}


@page_router.get("/health/ready", summary="Tell that it takes requests", responses=problems(503))
async def ready(request: Request) -> dict[str, str]:
    """503 as soon as the service is about to end."""
    desk: Desk = request.app.state.desk
    if desk.is_ending:
        raise ENDING
    return {"status": "ready"}


@page_router.get(
    "/metrics",
    summary="Tell numbers, for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **ALWAYS},
)
async def metrics(request: Request) -> Response:
    """Requests by how they ended, the line, seconds and pixels; nothing of any picture."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_METRICS)
