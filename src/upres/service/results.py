"""A result as a response: the file, and headers that tell about it."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from upres.enlarging.error_map import ErrorSummary
from upres.service.orders import Delivered
from upres.service.problems import one_line

RESULT_HEADERS = {
    "upres-model": "The models that enlarged it, one after another",
    "upres-seconds": "Seconds that it took, without its wait",
    "upres-size": "Width and height of the result",
    "upres-agreement": "How well the result, reduced again, agrees with the picture, in dB; inf "
    "where every sample does",
    "upres-why": "Why the picture decided for that model",
    "upres-not-kept": "Names of what the picture's file says and the result cannot keep",
    "upres-error-mean": "The mean half-width of the bounds of errors, in grey levels of 255",
    "upres-error-promise": "The part of samples that is promised to lie within these bounds, in "
    "the mean over pictures; or none, and why",
}

AT_ONCE = 2**20
"""Bytes of a result up to which it is read in one piece: a file that is read in parts goes through
threads four times, which costs as much as enlarging a thumbnail's pixels."""


class Delivery(FileResponse):
    """A result's file; whatever becomes of the connection, ``at_end`` is called then.

    ``of_errors`` gives the file of its error map.
    """

    def __init__(
        self,
        result: Delivered,
        at_end: Callable[[], Awaitable[None]],
        *,
        of_errors: Path | None = None,
    ) -> None:
        path = of_errors or result.path
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        stat = path.stat()
        super().__init__(
            path,
            media_type=kind,
            filename=result.error_map_name if of_errors else result.name,
            headers=headers_of(result),
            # Here, as a job that is deleted takes its file along.
            stat_result=stat,
        )
        self._at_end, self._size = at_end, stat.st_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "HEAD" or self._size > AT_ONCE or "range" in Headers(scope=scope):
                await super().__call__(scope, receive, send)
            else:
                content = Path(self.path).read_bytes()
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                await send({"type": "http.response.body", "body": content})
        finally:
            await self._at_end()


def facts(result: Delivered) -> dict[str, Any]:
    """All that there is to tell about a result, for JSON."""
    return {
        "name": result.name,
        "width": result.width,
        "height": result.height,
        "bytes": result.path.stat().st_size,
        "models": result.models,
        "why": result.why,
        "seconds": round(result.seconds, 3),
        "agreement": _decibels(result.decibels),
        "not_kept": result.not_kept,
        "errors": {"told": str(result.errors), **result.errors.as_data()}
        if result.errors
        else None,
        "error_map": {"name": result.error_map_name, "shown_to": result.shown_to}
        if result.error_map
        else None,
    }


def headers_of(result: Delivered) -> dict[str, str]:
    """The same, as headers; those that have nothing to tell are left out."""
    agreement = _decibels(result.decibels)
    told = {
        "upres-model": ", ".join(result.models),
        "upres-seconds": f"{result.seconds:.3f}",
        "upres-size": f"{result.width}x{result.height}",
        "upres-agreement": "" if agreement is None else str(agreement),
        "upres-why": result.why,
        "upres-not-kept": ", ".join(result.not_kept),
        **({} if result.errors is None else _bounds(result.errors)),
        "cache-control": "no-store",
    }
    # Headers are ASCII; names of metadata may be anything.
    return {k: v.encode("ascii", "replace").decode() for k, v in told.items() if v}


def _bounds(errors: ErrorSummary) -> dict[str, str]:
    why = errors.not_promised
    promise = f"none: {one_line(why)}" if why else f"{errors.card.level:g}"
    return {"upres-error-mean": f"{errors.mean:.2f}", "upres-error-promise": promise}


def _decibels(decibels: float | None) -> float | str | None:
    """JSON has no infinity."""
    if decibels is None:
        return None
    return "inf" if math.isinf(decibels) else round(decibels, 2)
