"""Object stores, and folders like them, behind a few calls: S3, Google's, Azure's, HTTP, files.

The library is obstore (extra ``fleet``). Each call is tried again where that may help, as after an
answer of 5xx, a broken connection or a token that has expired, and then fails with a line that
names the object. Credentials come as each provider has them: see ``upres.runs.credentials``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from upres.errors import ExistsError, InputError, OutputError, UpresError, needs_extra
from upres.runs.credentials import s3_configuration
from upres.runs.places import FILES, Found, Location

PART = 8 * 2**20
"""Bytes that are asked for at once: a request has a minute."""

SINGLE = 32 * 2**20
"""Objects of so many bytes are written by one request, which can refuse to overwrite. Larger ones
go in parts, and appear at once and whole, too."""

_MACHINES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
"""Where machines of clouds and their containers are asked for credentials."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How often a call is tried, and how long is waited in between."""

    attempts: int = 4
    first: float = 0.5
    """Seconds before the second attempt; each wait is twice as long as the one before."""
    inner: int = 4
    """How often the library repeats a request by itself within an attempt."""
    timeout: float = 60
    """Seconds that one request may take."""


class Store:
    """One store, such as a bucket. It can be pickled, and connects when it is first used."""

    def __init__(self, root: str, patience: Patience | None = None) -> None:
        self.root = root
        self._patience = patience or Patience()
        self._connected: Any = None

    def __reduce__(self) -> tuple[type[Store], tuple[str, Patience]]:
        return type(self), (self.root, self._patience)

    def list(self, prefix: str) -> Iterator[Found]:
        """All objects below a prefix, however deep, one after another; a few are held at a time.

        Raises ``InputError`` where the store does not tell.
        """
        import obstore

        last: str | None = None
        ordered = self.root != FILES  # and so a list that breaks off can be gone on with

        def begin(store: Any) -> tuple[Any, Any]:
            at = last if ordered else None
            chunks = iter(obstore.list(store, prefix or None, offset=at, chunk_size=1000))
            return chunks, next(chunks, None)

        try:
            chunks, chunk = self._patiently(begin, prefix, InputError, "cannot list")
        except FileNotFoundError:
            raise InputError(f"{self._name(prefix)}: there is no such place to list") from None
        while chunk is not None:
            for meta in chunk:
                last = meta["path"]
                yield _found(meta)
            try:
                chunk = next(chunks, None)
            except Exception as error:
                if not ordered or not _is_passing(error):
                    raise _named(self.root, prefix, InputError, "cannot list", error) from error
                chunks, chunk = self._patiently(begin, prefix, InputError, "cannot list")

    def head(self, key: str) -> Found | None:
        """One object, or ``None`` where there is none; raises ``InputError``."""
        import obstore

        try:
            meta = self._patiently(
                lambda s: obstore.head(s, key), key, InputError, "cannot look at"
            )
        except FileNotFoundError:
            return None
        return _found(meta)

    def fetch(self, found: Found, path: Path) -> None:
        """Write an object to a local file, whole and of the version that was found.

        Raises ``InputError`` if it has gone or changed meanwhile, ``OSError`` of the local file.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        with path.open("wb") as file:

            def rest(store: Any) -> None:
                """From where it got to, so that a slow store needs not begin anew."""
                while (start := file.tell()) < found.size:
                    options: Any = {} if found.etag is None else {"if_match": found.etag}
                    if start or found.size > PART:
                        options["range"] = (start, min(found.size, start + PART))
                    for piece in obstore.get(store, found.key, options=options or None).stream():
                        file.write(piece)

            changed = InputError(f"{self._name(found.key)}: has changed while it was read")
            try:
                self._patiently(rest, found.key, InputError, "cannot read")
            except FileNotFoundError:
                raise InputError(f"{self._name(found.key)}: is not there any more") from None
            except PreconditionError:
                raise changed from None
            if file.tell() != found.size:
                raise changed

    def content(self, key: str) -> bytes | None:
        """The bytes of a small object, or ``None`` where there is none; raises ``InputError``."""
        import obstore

        try:
            return self._patiently(
                lambda s: bytes(obstore.get(s, key).bytes()), key, InputError, "cannot read"
            )
        except FileNotFoundError:
            return None

    def beginning(self, found: Found, count: int) -> bytes:
        """The first bytes of an object, at most so many; raises ``InputError``."""
        import obstore

        if not (end := min(count, found.size)):
            return b""
        try:
            return self._patiently(
                lambda s: bytes(obstore.get_range(s, found.key, start=0, end=end)),
                *(found.key, InputError, "cannot read"),
            )
        except FileNotFoundError:
            raise InputError(f"{self._name(found.key)}: is not there any more") from None

    def send(self, content: Path | bytes, key: str, *, create: bool = False) -> None:
        """Write an object, which appears at once and whole.

        With ``create``, one that is there stays: ``ExistsError``, unless it is the same, byte for
        byte, as after an answer that was lost. Raises ``OutputError`` if it cannot be written.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        how: dict[str, Any] = {"mode": "create", "use_multipart": False} if create else {}
        if size > SINGLE and create:
            if self.head(key) is not None:
                raise ExistsError(self._name(key))
            how = {}
        try:
            self._patiently(
                lambda s: obstore.put(s, key, content, **how), key, OutputError, "cannot write"
            )
        except AlreadyExistsError:
            if size > SINGLE or self.content(key) != _bytes(content):
                raise ExistsError(self._name(key)) from None
        except FileNotFoundError:
            raise OutputError(
                f"{self._name(key)}: cannot write: {self.root} is not there"
            ) from None

    def remove(self, key: str) -> None:
        """Remove an object, if it is there; raises ``OutputError``."""
        import obstore

        with suppress(FileNotFoundError):
            self._patiently(lambda s: obstore.delete(s, key), key, OutputError, "cannot remove")

    def _name(self, key: str) -> str:
        return str(Location(self.root, key))

    def _patiently(
        self, call: Callable[[Any], _T], key: str, kind: type[UpresError], failed: str
    ) -> _T:
        """Make a call, again after a pause where that may help; raise ``kind`` in the end."""
        attempts = 1 if self.root == FILES else self._patience.attempts
        for attempt in range(1, attempts + 1):
            try:
                return call(self._store())
            except (OSError, UpresError) as error:
                if not isinstance(error, PermissionError):  # of the store, which is one for Python
                    raise
                last: Exception = error
            except Exception as error:
                if not _is_passing(error):
                    if _is_verdict(error):
                        raise
                    raise _named(self.root, key, kind, failed, error) from error
                last = error
            # Whoever renews credentials may have done so meanwhile.
            self._connected = None
            if attempt < attempts:
                pause = self._patience.first * 2 ** (attempt - 1)
                time.sleep(pause * random.uniform(0.5, 1))
        failed += f" after {attempts} attempts" if attempts > 1 else ""
        raise _named(self.root, key, kind, failed, last) from last

    def _store(self) -> Any:
        if self._connected is None:
            self._connected = _connected(self.root, self._patience)
        return self._connected


def _connected(root: str, patience: Patience) -> Any:
    """The library's store for a root."""
    with needs_extra("an object store", "fleet"):
        from obstore.store import LocalStore, from_url
    if root == FILES:
        return LocalStore("/", mkdir=False)
    retries = {"max_retries": patience.inner, "retry_timeout": timedelta(minutes=2)}
    seconds = timedelta(seconds=patience.timeout)
    client: dict[str, Any] = {"timeout": seconds, "connect_timeout": timedelta(seconds=10)}
    more: Mapping[str, Any] = {}
    if root.startswith("s3://"):
        more = s3_configuration()
        # An endpoint that is named so is meant so.
        client["allow_http"] = _endpoint(os.environ).startswith("http://")
    elif root.startswith("http://") or os.environ.get("AZURE_STORAGE_USE_EMULATOR"):
        client["allow_http"] = True
    return from_url(root, client_options=client, retry_config=retries, **more)  # type: ignore[call-overload]


def _endpoint(environment: Mapping[str, str]) -> str:
    named = (environment.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return next(filter(None, named), environment.get("AWS_ENDPOINT", ""))


def _is_passing(error: Exception) -> bool:
    """Whether the next attempt may end better."""
    from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

    # Words, as the library has no classes for these: no such bucket, or a thing that is not set.
    words = ("builder error", "404 Not Found", "must be specified", "Content-Length Header missing")
    if isinstance(error, GenericError) and any(map(str(error).__contains__, words)):
        return False
    kinds = (GenericError, PermissionDeniedError, UnauthenticatedError, PermissionError)
    return isinstance(error, (*kinds, TimeoutError, ConnectionError))


def _is_verdict(error: Exception) -> bool:
    """Whether an error is an answer that callers wait for."""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    return isinstance(error, AlreadyExistsError | PreconditionError | FileNotFoundError)


def _named(
    root: str, key: str, kind: type[UpresError], failed: str, error: Exception
) -> UpresError:
    """An error that names the object, and in one line the store's own words."""
    words = str(error).partition("\n")[0].partition("<?xml")[0].strip(" :")
    if any(map(words.__contains__, _MACHINES)):  # asked last, where nothing else has any
        words = f"no credentials are in the environment or in files, and this machine: {words}"
    elif "404 Not Found" in words:
        words = f"{root} is not there, or hidden from you"
    return kind(f"{Location(root, key)}: {failed}: {words[:300]}")


def _found(meta: Any) -> Found:
    etag, modified = meta["e_tag"], meta["last_modified"].timestamp()
    stamp = etag or f"{meta['size']} bytes of {modified:.6f}"
    strong = etag if etag and not etag.startswith("W/") else None
    return Found(meta["path"], meta["size"], stamp, modified, strong)


def _bytes(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()
