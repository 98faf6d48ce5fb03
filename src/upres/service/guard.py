"""Who may ask the service: looked at before anything else of a request."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from upres.service.problems import CONTENT_TYPE, ProblemError
from upres.service.settings import Settings

OPEN_PATHS = frozenset(
    {"/", "/style.css", "/script.js", "/icon.svg", "/health/live", "/health/ready"}
)
"""They tell nothing of anybody, and need no token: the page asks for it."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware that refuses requests from elsewhere, and adds headers to all responses."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        names = [settings.host, *settings.names]
        if not settings.is_local:
            names.append(socket.gethostname())
        self._names = {"localhost", *(name.lower().strip("[]") for name in names)}
        self._origins = {origin.lower().rstrip("/") for origin in settings.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._require_allowed(scope["method"], scope["path"], Headers(scope=scope))
        except ProblemError as problem:
            response = JSONResponse(
                problem.body, problem.status, problem.all_headers, media_type=CONTENT_TYPE
            )
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _require_allowed(self, method: str, path: str, headers: Headers) -> None:
        """Raise ``ProblemError`` 400, 401 or 403 for a request that is not to be answered."""
        host = headers.get("host", "")
        if not self._is_known(host):
            problem = "this service is not called so: the request's Host is another's"
            raise ProblemError(400, "host", problem)
        origin = headers.get("origin")
        asked_for = origin is not None and origin.lower() in self._origins
        if origin is not None and not asked_for and urlsplit_host(origin) != host.lower():
            raise ProblemError(403, "origin", "the page of another site may not ask this service")
        site = headers.get("sec-fetch-site", "none")
        # Whoever follows a link to the page has done nothing yet.
        follows = path == "/" and method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not follows and not asked_for:
            raise ProblemError(403, "origin", "the page of another site may not ask this service")
        is_question = method == "OPTIONS" and asked_for  # of CORS, which carries no token
        if self._settings.token and path not in OPEN_PATHS and not is_question:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            wanted = self._settings.token.encode()
            right = secrets.compare_digest(given.strip().encode("latin-1", "replace"), wanted)
            if scheme.lower() != "bearer" or not right:
                problem = "this service needs its token: send it as Authorization: Bearer TOKEN"
                raise ProblemError(
                    401, "token", problem, headers={"www-authenticate": 'Bearer realm="upres"'}
                )

    def _is_known(self, host: str) -> bool:
        """Whether the service may be called so.

        A site that makes its own name lead here (DNS rebinding) calls it by that name, never by a
        number.
        """
        name = urlsplit_host(f"http://{host}", with_port=False)
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._settings.is_local


def urlsplit_host(url: str, *, with_port: bool = True) -> str:
    """The host of an address, in small letters; empty where there is none."""
    if not url.isprintable() or " " in url:  # parts of these would be passed over
        return ""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where that is no number
    except ValueError:
        return ""
    if parts.path or "?" in url or "#" in url or parts.username is not None:
        return ""
    return parts.netloc.lower() if with_port else parts.hostname or ""
