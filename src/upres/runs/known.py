"""Facts by which a run knows what the run before has done already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class SourceStamp(NamedTuple):
    """Tells whether a file has changed."""

    size: int
    mtime: int
    """In nanoseconds."""

    @classmethod
    def of(cls, *paths: Path) -> SourceStamp:
        """The stamp of a file, or of several together."""
        found = [path.stat() for path in paths]
        return cls(sum(s.st_size for s in found), max(s.st_mtime_ns for s in found))


class Known(NamedTuple):
    """The words of the run before on one result; they can be sent to another machine."""

    line: Mapping[str, Any] | None
    """Of the picture that became the result."""
    started: int | None
    """When that run began, if there was one, by the file system's clock in nanoseconds."""

    def has_done(self, source: Path, stamp: SourceStamp, target: Path) -> bool:
        """Whether ``target`` was made from ``source`` of this stamp, and is there still."""
        line = self.line
        if line is None or line["source"] != os.path.abspath(source):
            return False
        if (line["size"], line["mtime"]) != stamp:
            return False
        try:
            return bool(bytes_of(target) == line["bytes"])
        except OSError:
            return False

    def has_made(self, source: Path, target: Path) -> bool:
        """Whether the run before has made ``target`` of ``source``, be it that its line was lost.

        A result that it has made of another picture is not to be replaced.
        """
        if self.started is None:
            return False
        if self.line is not None:
            return bool(self.line["source"] == os.path.abspath(source))
        try:
            return target.stat().st_mtime_ns >= self.started
        except OSError:
            return False


NOTHING_KNOWN = Known(None, None)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(bytes_of(inside) for inside in path.iterdir())
    return path.stat().st_size
