"""Places in object stores, and the objects there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from upres.errors import UsageError

SCHEMES = ("s3", "gs", "az", "http", "https", "file")

READ_ONLY = ("http", "https")

FILES = "file://"
"""The root of all local files."""


@dataclass(frozen=True)
class Location:
    """The place of an object: a store, and a key in it."""

    root: str
    """For example ``s3://bucket``; of local files ``FILES``."""
    key: str

    def __str__(self) -> str:
        return f"/{self.key}" if self.root == FILES else f"{self.root}/{self.key}"

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    def inside(self, relative: str) -> Location:
        """The place of something below this one."""
        return Location(self.root, f"{self.key}/{relative}" if self.key else relative)


@dataclass(frozen=True)
class Found:
    """An object, as a listing tells of it."""

    key: str
    size: int
    stamp: str
    """Tells whether it has changed: its ETag, or else its size and time of change."""
    modified: float
    """By the store's own clock, in seconds since 1970."""
    etag: str | None = None
    """The ETag where it tells one byte from another, for reading just that version."""


def is_url(text: str) -> bool:
    """Whether an input or output is a place in a store, by its scheme."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def located(text: str) -> Location:
    """The place that a URL or a local path names; raises ``UsageError`` for one that is none."""
    if not is_url(text):
        return Location(FILES, Path(os.path.abspath(text)).as_posix().lstrip("/"))
    scheme, _, rest = text.partition("://")
    if scheme == "file":
        return Location(FILES, unquote(rest).strip("/"))
    host, _, key = rest.partition("/")
    if not host:
        raise UsageError(f"{text}: names no bucket, container or host")
    if scheme in READ_ONLY:
        if "?" in key:
            raise UsageError(f"{text}: a query in an address is not read: name a plain one")
        key = unquote(key)
    return Location(f"{scheme}://{host}", key.strip("/"))
