"""Routes that answer HEAD where they answer GET."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.sse import EventSourceResponse


class Router(APIRouter):
    """FastAPI's, which answers HEAD where it answers GET, as Starlette's own routes do.

    OpenAPI tells of GET alone. Events have no HEAD: they go on for as long as their job.
    """

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """See ``fastapi.APIRouter``."""
        super().add_api_route(path, endpoint, **options)
        streams = options.get("response_class") is EventSourceResponse
        if options.get("methods") == ["GET"] and not streams:
            silent = {"methods": ["HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **{**options, **silent})
