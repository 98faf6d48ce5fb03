"""From file to file: what is to become of one, and its making."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging import pipeline
from upres.enlarging.measuring import looks_like_pixel_art
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan, check_pixels, plan
from upres.errors import LargeEnoughError, OutputError, Remedy, UpresError
from upres.files import full_disk, publish, temporary
from upres.formats.registry import called, check_output, create_sink, open_pages, output_format
from upres.raster.info import RasterInfo
from upres.raster.source import Sink, Source


@dataclass(frozen=True)
class FileEnlargement:
    """A file that is open, and what is to become of it: a plan for each of its pages."""

    path: Path
    pages: Sequence[Source]
    plans: tuple[Plan, ...]
    options: Options
    backend: Backend

    @property
    def why(self) -> str:
        """Which model was chosen and why, where the file decided; and what else it may want.

        Pixels of small pictures are looked at. Empty where there is nothing to say.
        """
        if len(self.plans) > 1:
            return ""
        note = ""
        if self.options.palette == "free":
            with suppress(UpresError):
                if looks_like_pixel_art(self.pages[0], self.path):
                    note = "looks like pixel art, whose colours palette keep would keep"
        return "; ".join(filter(None, (self.plans[0].why, note)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result; of its largest page."""
        return max(((plan.width, plan.height) for plan in self.plans), key=math.prod)

    @property
    def pixels(self) -> int:
        """Of the result, all pages and frames together."""
        return sum(plan.pixels for plan in self.plans)

    @property
    def content_bytes(self) -> int:
        """What the result's samples take, not compressed."""
        return sum(plan.content_bytes for plan in self.plans)

    @property
    def disk(self) -> int:
        """Bytes of free disk needed beside the result while it is made, itself included, at most.

        Of several pages, each is made by itself and then put to the others.
        """
        most = max(plan.disk for plan in self.plans)
        return most if len(self.plans) == 1 else most + self.content_bytes

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
        make_sink: Callable[..., Sink] = create_sink,
    ) -> None:
        """Make the result, and write it to ``target``, whose suffix decides its format.

        ``target`` is replaced at once and whole, or stays as it was; its folder must exist.
        Without ``replace``, a file that is there by the end stays: ``ExistsError``.
        ``progress`` is told the part that is done, from 0 to 1. ``make_sink`` makes what writes
        the file, as ``create_sink`` does.

        Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if ``target``
        cannot be written or cannot hold the result.
        """
        if self.options.palette == "keep" and (row := output_format(target)).loses_colours:
            raise OutputError(
                f"{target}: {row.suffixes[0]} changes colours, which are to be kept: choose .png"
            )
        for each in self.plans:
            check_output(target, _without_alpha(each), pages=len(self.plans))
        _check_disk(target, self.disk)
        sink = make_sink(
            target,
            quality=self.options.quality,
            pages=len(self.plans),
            content_bytes=self.content_bytes,
        )
        done = 0
        with _storing(target), sink:
            for source, each in zip(self.pages, self.plans, strict=True):
                start, part = done / self.pixels, each.pixels / self.pixels
                pipeline.enlarge_into(
                    source,
                    each,
                    sink,
                    beside=target,
                    backend=self.backend,
                    progress=partial(pipeline.share, progress, start, part) if progress else None,
                )
                done += each.pixels
            sink.commit(replace=replace)


@dataclass(frozen=True)
class FileCopy:
    """A file that is large enough, and is copied as it is."""

    path: Path
    pages: Sequence[Source]

    @property
    def why(self) -> str:
        """What became of it."""
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
    ) -> None:
        """Copy it to ``target``, at once and whole; raises what ``FileEnlargement.write`` does."""
        if output_format(target) is not called(self.path.suffix):
            raise OutputError(
                f"{target}: {self.path.name} is large enough, and a copy of it has no such suffix",
                Remedy("larger", "makes it anew", "reduce"),
            )
        with _storing(target), temporary(target, target.suffix) as path:
            shutil.copyfile(self.path, path)
            publish(path, target, replace=replace)
        if progress:
            progress(1)


def open_file(
    source: Path, options: Options, *, backend: Backend | None = None
) -> FileEnlargement | FileCopy:
    """Open a file to be enlarged, and plan what is to become of it; no pixels are decoded.

    Raises ``InputError`` if ``source`` cannot be read or is too small or large for what is
    asked, ``ModelError`` if there is no such model.
    """
    backend = backend or default_backend()
    pages = open_pages(source, keep_cmyk=options.cmyk)
    try:
        return _planned(source, pages, options, backend)
    except LargeEnoughError:
        if options.larger != "copy":
            raise
        return FileCopy(source, pages)


def _planned(
    source: Path, pages: Sequence[Source], options: Options, backend: Backend
) -> FileEnlargement:
    plans = tuple(plan(page.info, options, backend) for page in pages)
    opened = FileEnlargement(source, pages, plans, options, backend)
    if len(plans) > 1:
        whole = dataclasses.replace(plans[0].info, page=None)
        check_pixels(whole.problem, *opened.size, len(plans), options, pixels=opened.pixels)
    return opened


def enlarge_to(
    source: Path,
    target: Path,
    options: Options,
    *,
    backend: Backend | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Enlarge a file to another: ``open_file``, then its ``write``."""
    open_file(source, options, backend=backend).write(target, progress=progress)


def _without_alpha(plan: Plan) -> RasterInfo:
    """The result's info; whether its alpha is opaque throughout, only its samples tell."""
    info = plan.info.resized(plan.height, plan.width)
    return dataclasses.replace(info, bands=tuple(b for b in info.bands if b.role != "alpha"))


@contextmanager
def _storing(target: Path) -> Iterator[None]:
    """Raise ``OutputError`` where temporary files beside ``target`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot write this file: {error.strerror}") from error


def _check_disk(target: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise OutputError(f"{target}: cannot write here: {error.strerror}") from None
    if free < needed:
        raise OutputError(
            f"{target}: making this takes {needed:,} bytes of disk, and {free:,} are free: "
            "make room",
            Remedy("output", "names another disk"),
        ) from full_disk(target.parent)
