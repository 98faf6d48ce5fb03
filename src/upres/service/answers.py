"""The parts of requests and answers that OpenAPI tells of, with examples."""

from __future__ import annotations

from typing import Any

from pydantic.config import JsonDict

from upres.service.problems import CONTENT_TYPE, TITLES
from upres.service.results import RESULT_HEADERS

Answers = dict[int | str, dict[str, Any]]

_BINARY = {"type": "string", "format": "binary"}

PICTURE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A picture's file, in any format that upres reads",
        "content": {
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"picture": _BINARY},
                    "required": ["picture"],
                }
            },
        },
    }
}

_EXAMPLES = {
    "too_many_pixels": (
        413,
        "photo.png: would become 131072x131072 pixels, more than the 1,073,741,824 pixels that are "
        "allowed",
    ),
    "input": (422, "photo.jpg: this picture is damaged or truncated"),
    "parameters": (422, "scale: Input should be greater than or equal to 1"),
    "busy": (429, "all places of this service are taken: try again in 7 seconds"),
    "token": (401, "this service needs its token: send it as Authorization: Bearer TOKEN"),
    "origin": (403, "the page of another site may not ask this service"),
    "host": (400, "this service is not called so: the request's Host is another's"),
    "no_job": (404, "there is no job of this name, or no longer"),
    "no_error_map": (
        404,
        "this job was not asked for such an error map: post it with error_map",
    ),
    "not_ready": (409, "this job has no result yet"),
    "slow_upload": (408, "the upload took too long: 300 seconds are allowed"),
    "overloaded": (503, "the machine of this service does too much else: try again later"),
    "ending": (503, "this service is about to end: try again later"),
    "too_long": (504, "this took longer than the 300 seconds that it may take"),
    "no_room": (507, "the disk of this service is full"),
    "unexpected": (500, "an error that upres did not expect, please report it: ValueError"),
}

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "For programs"},
        "detail": {"type": "string", "description": "One line, for people"},
        "retry_after": {"type": "integer", "description": "Seconds until there is room"},
    },
}


def problems(*statuses: int) -> Answers:
    """The answers of such statuses, with an example of each code."""
    found: Answers = {}
    for status in statuses:
        examples = {
            code: {"value": _body(status, code, detail)}
            for code, (own, detail) in _EXAMPLES.items()
            if own == status
        }
        content = {CONTENT_TYPE: {"schema": _PROBLEM_SCHEMA, "examples": examples}}
        found[status] = {"description": TITLES[status], "content": content}
    found.get(429, {})["headers"] = {
        "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
    }
    return found


def _body(status: int, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": TITLES[status],
        "status": status,
        "code": code,
        "detail": detail,
    }


ALWAYS = problems(400, 401, 403, 422, 500)
"""Of every route."""

PROBLEMS = ALWAYS | problems(408, 413, 429, 503, 504, 507)
"""Of those that take a picture."""

ENLARGED: dict[str, Any] = {
    "description": "The enlarged picture's file, or a zip of it and its error map",
    "content": {"image/*": {"schema": _BINARY}, "application/zip": {"schema": _BINARY}},
    "headers": {
        name.title(): {"description": about, "schema": {"type": "string"}}
        for name, about in RESULT_HEADERS.items()
    },
}

ERROR_MAP: dict[str, Any] = {
    "description": "The error map's file",
    "content": {
        kind: {"schema": _BINARY} for kind in ("image/tiff", "image/png", "application/json")
    },
    "headers": ENLARGED["headers"],
}

JOB_EXAMPLE: JsonDict = {
    "id": "q2Yv7mX0Jt6m0b6l0v7o5g",
    "state": "done",
    "part": 1.0,
    "name": "photo.jpg",
    "estimate": {"width": 1200, "height": 800, "models": ["fast-x4"], "seconds": 0.8},
    "result": {
        "name": "photo_x4.jpg",
        "width": 1200,
        "height": 800,
        "bytes": 431_904,
        "models": ["fast-x4"],
        "why": "model fast: JPEG of quality 97",
        "seconds": 0.412,
        "agreement": 47.31,
        "not_kept": [],
        "errors": None,
        "error_map": None,
    },
    "problem": None,
}

PLAN_EXAMPLE = [
    {
        "model": "fast",
        "purpose": "clean pictures; the default",
        "width": 1200,
        "height": 800,
        "seconds": 0.8,
        "memory": 61_000_000,
    }
]
