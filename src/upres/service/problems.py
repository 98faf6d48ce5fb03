"""Refusals and failures as HTTP has them: a status, a code, and one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upres.errors import Remedy, UpresError
from upres.models import SHIPPED

CONTENT_TYPE = "application/problem+json"
"""Source: RFC 9457."""

TITLES = {
    400: "Bad request",
    401: "A token is needed",
    403: "Not from here",
    404: "Not found",
    405: "Not allowed here",
    408: "The upload took too long",
    409: "Not ready",
    410: "Gone",
    413: "Too large",
    415: "Not a picture",
    422: "Cannot be enlarged so",
    429: "Busy",
    500: "An unexpected error",
    503: "Not now",
    504: "Took too long",
    507: "No room",
}

PARAMETERS = frozenset(
    {"scale", "width", "height", "fit", "model", "precision", "format", "quality"}
    | {"consistent", "wrap", "palette", "larger", "labels", "through_plane", "keep_means"}
    | {"errors", "error_map"}
)
"""Options that a request has a say in: the remedies of others are for whoever runs the service."""


@dataclass
class ProblemError(Exception):
    """A request that is refused, or failed."""

    status: int
    code: str
    """A short name for programs."""
    detail: str
    """One line."""
    retry_after: int | None = None
    """Seconds after which to try again."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.detail

    @property
    def body(self) -> dict[str, Any]:
        """As RFC 9457 has it, and the code."""
        body = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        return body if self.retry_after is None else {**body, "retry_after": self.retry_after}

    @property
    def all_headers(self) -> dict[str, str]:
        """Those of its response."""
        retry = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return {**self.headers, **retry, "cache-control": "no-store"}


def refused(error: UpresError, *, said: Mapping[str, str] | None = None) -> ProblemError:
    """The answer to a request that the library refuses.

    ``said`` are names of files of ours, and those that the client knows them by.
    """
    options = {remedy.option for remedy in error.remedies}
    choices = [
        remedy
        for remedy in error.remedies
        # A request that is passed over would have no answer.
        if remedy.option in PARAMETERS and remedy.value != "skip"
    ]
    detail = without_places(UpresError(error.problem, *choices).text(_as_query))
    for own, known in (said or {}).items():
        detail = detail.replace(own, known)
    if "max_pixels" in options:
        return ProblemError(413, "too_many_pixels", one_line(detail))
    # A disk that has no room is nothing that the client can mend.
    status = 507 if error.code == "output" and "output" in options else 422
    return ProblemError(status, error.code, one_line(detail))


def without_places(text: str) -> str:
    """``text``, with models by their files' names alone: their folder is nobody's business."""
    return text.replace(f"{SHIPPED}{os.sep}", "")


def one_line(text: str) -> str:
    """``text`` in one line, without characters that control a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _as_query(remedy: Remedy) -> str:
    value = "" if remedy.value is None else str(remedy.value).lower()
    return f"{remedy.option}={value}" if value else remedy.option
