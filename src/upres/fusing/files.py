"""From files to one file: frames are found, planned, fused and written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging.files import without_alpha
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan
from upres.enlarging.windows import Progress
from upres.enlarging.writing import check_disk, storing
from upres.errors import InputError, UsageError
from upres.formats.registry import check_output, create_sink, open_pages
from upres.fusing.choosing import LeftFrame
from upres.fusing.frames import Given, frames_of
from upres.fusing.pipeline import Fusion, fuse_into
from upres.fusing.request import fusing_plan
from upres.raster.source import Source


@dataclass(frozen=True)
class Fused:
    """Facts about a file that frames were fused to."""

    fusion: Fusion
    not_kept: tuple[str, ...]
    """As of an enlarged file, see ``upres.enlarging.files.Written``."""


@dataclass(frozen=True)
class FileFusion:
    """Files that are open, with a plan for their fused frames."""

    given: tuple[Given, ...]
    reference: int
    plan: Plan
    options: Options
    backend: Backend
    unread: tuple[LeftFrame, ...]
    """Files that cannot be read."""

    def write(
        self, target: Path, *, replace: bool = True, progress: Progress | None = None
    ) -> Fused:
        """Make the result, and write it to ``target``, whose suffix decides its format.

        ``target`` is replaced at once and whole, or stays as it was; its folder must exist.

        Raises ``InputError`` if a file turns out to be damaged, ``OutputError`` if ``target``
        cannot be written or cannot hold the result, ``ExistsError`` without ``replace`` if it is
        there by the end.
        """
        check_output(target, without_alpha(self.plan))
        check_disk(target, self.plan.disk)
        sink = create_sink(
            target, quality=self.options.quality, content_bytes=self.plan.content_bytes
        )
        with storing(target), sink:
            fusion = fuse_into(
                self.given,
                self.reference,
                self.plan,
                sink,
                beside=target,
                backend=self.backend,
                progress=progress,
            )
            sink.commit(replace=replace)
        fusion = dataclasses.replace(fusion, left_out=(*self.unread, *fusion.left_out))
        return Fused(fusion, tuple(sink.not_kept))


def open_files(
    paths: Sequence[Path],
    options: Options,
    *,
    reference: Path | int = 1,
    beside: Path,
    backend: Backend | None = None,
) -> FileFusion:
    """Open files whose frames are to be fused: of all pages and of all frames of animations.

    ``reference`` is one of ``paths``, whose first frame is meant, or the number of a frame, from 1.
    Files that cannot be read are left out, unless it is the reference. Temporary files may be
    beside ``beside``.

    Raises ``InputError`` if the reference cannot be read, or there is nothing to fuse,
    ``UsageError`` if there is no such reference, and errors as of ``fusing_plan``.
    """
    backend = backend or default_backend()
    given: list[Given] = []
    unread = []
    firsts: dict[Path, int] = {}
    for path in paths:
        try:
            pages: Sequence[Source] = open_pages(path, keep_cmyk=options.cmyk)
            frames = frames_of(list(pages), beside)
        except InputError as error:
            if isinstance(reference, Path) and path == reference:
                raise
            if len(paths) == 1 or (reference == 1 and not given):
                raise
            unread.append(LeftFrame(str(path), error.problem.removeprefix(f"{path}: ")))
            continue
        firsts[path] = len(given)
        given += frames
    number = _number(reference, firsts, len(given))
    plan = fusing_plan(given, number, options, backend)
    return FileFusion(tuple(given), number, plan, options, backend, tuple(unread))


def _number(reference: Path | int, firsts: dict[Path, int], count: int) -> int:
    """Of the reference, from 0; raises ``UsageError`` if there is none."""
    if isinstance(reference, int):
        if not 1 <= reference <= count:
            raise UsageError(
                f"reference {reference}: there are {count} frames, counted from 1",
                option="reference",
            )
        return reference - 1
    for path, number in firsts.items():
        if path == reference or (os.path.exists(reference) and os.path.samefile(path, reference)):
            return number
    raise UsageError(
        f"reference {reference}: is none of the pictures, nor a frame's number", option="reference"
    )
