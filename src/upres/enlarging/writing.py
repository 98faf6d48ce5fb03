"""Results as files: facts about one that was written, room for it, and a file that is copied."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upres.enlarging.agreement import Agreement
from upres.enlarging.error_map import ErrorSummary
from upres.errors import OutputError, Remedy
from upres.files import full_disk, publish, temporary
from upres.formats.metadata.geotags import files_beside
from upres.formats.registry import output_format, read_head, recognised, suffix_in
from upres.raster.source import Source


@contextmanager
def storing(target: Path) -> Iterator[None]:
    """Raise ``OutputError`` where temporary files beside ``target`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot write this file: {error.strerror}") from error


def check_disk(target: Path, needed: int, *, named_by: str = "output") -> None:
    """Raise ``OutputError`` unless so many bytes are free beside ``target``.

    ``named_by`` is the option that names another place for it.
    """
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise OutputError(f"{target}: cannot write here: {error.strerror}") from None
    if free < needed:
        raise OutputError(
            f"{target}: making this takes {needed:,} bytes of disk, and {free:,} are free: "
            "make room",
            Remedy(named_by, "names another disk"),
        ) from full_disk(target.parent)


@dataclass(frozen=True)
class Written:
    """Facts about a result that was written."""

    not_kept: tuple[str, ...] = ()
    """Short names of the items that the source says of itself and the result does not keep, such as
    ``IPTC``: its format has no place for them, or they would not be true any more."""
    agreement: Agreement | None = None
    """How well the result, reduced again, agrees with the source, if that was asked for."""
    errors: ErrorSummary | None = None
    """The bounds of its errors, if they were asked for."""


@dataclass(frozen=True)
class FileCopy:
    """A file that is large enough, and is copied as it is."""

    path: Path
    pages: Sequence[Source]
    check: bool = False
    """Tell that it agrees with its source."""

    @property
    def why(self) -> str:
        """A text for the user: how the file is made."""
        return "copied"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; of its largest page."""
        return max(((page.info.width, page.info.height) for page in self.pages), key=math.prod)

    @property
    def pixels(self) -> int:
        """All pages and frames together."""
        return sum(page.info.pixels * (page.info.frames or 1) for page in self.pages)

    @property
    def disk(self) -> int:
        """Bytes of free disk needed for it."""
        return self.path.stat().st_size

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
    ) -> Written:
        """Copy it to ``target``, at once and whole; raises what ``FileEnlargement.write`` does."""
        row, own = output_format(target), recognised(read_head(self.path), self.path)
        same = suffix_in(target) == suffix_in(self.path)
        alike = row is own or (own is not None and not own.writes and same)
        if not alike or (row.endless and not same):
            raise OutputError(
                f"{target}: {self.path.name} is large enough, and a copy of it has no such suffix",
                Remedy("larger", "makes it anew", "reduce"),
            )
        with storing(target), temporary(target, target.suffix) as path:
            shutil.copyfile(self.path, path)
            publish(path, target, replace=replace)
        if progress:
            progress(1)
        lost = tuple(each.name for each in files_beside(self.path))
        return Written(lost, Agreement() if self.check else None)
