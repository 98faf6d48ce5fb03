"""From file to file: a plan for one, and its making."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging import pipeline
from upres.enlarging.agreement import Agreement
from upres.enlarging.bounding import FORCE, refuse_unpromised
from upres.enlarging.error_map import ErrorMap
from upres.enlarging.map_files import (
    check_maps,
    commit_with_map,
    disk_beside,
    error_map_into,
)
from upres.enlarging.measuring import looks_like_pixel_art
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan, check_pixels, plan
from upres.enlarging.videos import refuse_agreement
from upres.enlarging.writing import FileCopy, Written, check_disk, storing
from upres.errors import LargeEnoughError, OutputError, UpresError
from upres.formats.registry import (
    Format,
    check_output,
    create_sink,
    open_pages,
    output_format,
    read_head,
    recognised,
    sample_type,
)
from upres.formats.slices import NAMED, create_series_sink, open_series
from upres.raster.info import RasterInfo
from upres.raster.source import Sink, Source

LOSSY = ("gif", "camera raw")
"""Formats whose pictures were changed before: to few colours, or from a sensor's samples."""


@dataclass(frozen=True)
class FileEnlargement:
    """A file that is open, with a plan for each of its pages."""

    path: Path
    pages: Sequence[Source]
    plans: tuple[Plan, ...]
    options: Options
    backend: Backend
    members: tuple[Path, ...] = ()
    """The files of a series of slices, whose result is a folder."""

    @property
    def why(self) -> str:
        """Which model was chosen and why, where the file decided; and a hint at pixel art.

        Pixels of small pictures are looked at. Empty where there is nothing to say.
        """
        if len(self.plans) > 1:
            return ""
        note = ""
        if self.options.palette == "free":
            with suppress(UpresError, OSError):
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
        """Bytes of the result's samples, not compressed."""
        return sum(plan.content_bytes for plan in self.plans)

    @property
    def disk(self) -> int:
        """Bytes of free disk needed beside the result while it is made, itself included, at most.

        Of several pages, each is made by itself and then put to the others.
        """
        most = max(plan.disk for plan in self.plans)
        return most if len(self.plans) == 1 else most + self.content_bytes

    def _named(self, target: Path) -> Path:
        """A path whose suffix tells the format: of a series, ``target`` is a folder."""
        return target / NAMED if self.members else target

    def _error_map(self, target: Path, *, replace: bool) -> AbstractContextManager[ErrorMap]:
        return error_map_into(
            self.options.error_map,
            (*(self.members or (self.path,)), target),
            pages=len(self.plans),
            pixels=self.pixels,
            replace=replace,
        )

    def _changed_again(self, target: Path) -> str:
        """Why bounds of errors are not those of the samples in ``target``; empty if they are."""
        row = output_format(self._named(target))
        lossy = self.options.errors and (row.loses_colours or row.name in LOSSY)
        return f"{row.suffixes[0]} may change the samples again" if lossy else ""

    def require_fits(self, target: Path) -> None:
        """Raise ``OutputError`` if the format by ``target``'s suffix cannot hold the result.

        Transparency counts once it is seen: it may turn out to be opaque.
        """
        frames = max(plan.frames for plan in self.plans)
        check_maps(self.options.error_map, pages=len(self.plans), frames=frames)
        named = self._named(target)
        if self.options.palette == "keep" and (row := output_format(named)).loses_colours:
            raise OutputError(
                f"{target}: {row.suffixes[0]} changes colours, which are to be kept: choose .png"
            )
        if (reason := self._changed_again(target)) and self.options.errors != "force":
            raise OutputError(
                f"{target}: no bounds can be promised: {reason}: choose .png or .tif", FORCE
            )
        for each in self.plans:
            check_output(named, without_alpha(each), pages=len(self.plans))

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
        make_sink: Callable[..., Sink] = create_sink,
    ) -> Written:
        """Make the result, and write it to ``target``, whose suffix decides its format.

        ``target`` is replaced at once and whole, or stays as it was; its folder must exist.
        Without ``replace``, a file that is there by the end stays: ``ExistsError``.
        ``progress`` is told the part that is done, from 0 to 1. ``make_sink`` makes the sink
        of the file, as ``create_sink`` does.

        Returns the facts about the result. Its agreement with the source is measured if
        ``options.check`` asks for it: of all pages together, their samples as they are before a
        lossy format changes them.

        Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if ``target``
        cannot be written or cannot hold the result.
        """
        self.require_fits(target)
        beside = disk_beside(target, self.options.error_map, self.pixels)
        check_disk(target, self.disk + beside)
        if self.members:
            sink = create_series_sink(target)
        else:
            sink = make_sink(
                target,
                quality=self.options.quality,
                pages=len(self.plans),
                content_bytes=self.content_bytes,
                **({"cog": True} if self.options.cog else {}),
            )
        changed = self._changed_again(target)
        done, total = 0, Agreement() if self.options.check else None
        with storing(target), sink, self._error_map(target, replace=replace) as errors:
            for source, each in zip(self.pages, self.plans, strict=True):
                start, part = done / self.pixels, each.pixels / self.pixels
                agreement = pipeline.enlarge_into(
                    source,
                    dataclasses.replace(each, not_promised=each.not_promised or changed),
                    sink,
                    beside=target,
                    backend=self.backend,
                    progress=partial(pipeline.share, progress, start, part) if progress else None,
                    written=sample_type(output_format(self._named(target)), each.info),
                    errors=errors if self.options.errors else None,
                )
                done += each.pixels
                if total and agreement:
                    total.add(agreement.squares, agreement.samples)
            commit_with_map(sink, errors, self.options.error_map, replace=replace)
        return Written(tuple(sink.not_kept), total, errors.summary)


def open_file(
    source: Path,
    options: Options,
    *,
    backend: Backend | None = None,
    members: tuple[Path, ...] = (),
    row: Format | None = None,
) -> FileEnlargement | FileCopy:
    """Open a file to be enlarged, and plan its result; no pixels are decoded.

    ``members`` are the files of a series of slices; ``source`` is the first. ``row`` is
    the file's format, where that is known already.

    Raises ``InputError`` if ``source`` cannot be read or is too small or large for the
    request, ``ModelError`` if there is no such model. A picture that is larger already is a
    ``LargeEnoughError``, unless ``options.larger`` copies or reduces it.
    """
    backend = backend or default_backend()
    pages = open_series(members) if members else open_pages(source, keep_cmyk=options.cmyk, row=row)
    try:
        return _planned(source, pages, options, backend, members)
    except LargeEnoughError as error:
        if members:
            raise
        if options.larger == "copy":
            return FileCopy(source, pages, check=options.check)
        raise error.of_a_file() from None


def _planned(
    source: Path,
    pages: Sequence[Source],
    options: Options,
    backend: Backend,
    members: tuple[Path, ...],
) -> FileEnlargement:
    refuse_agreement(pages[0].info, options)
    row = recognised(read_head(source), source) if options.errors else None
    lossy = row.name.upper() if row and (row.loses_colours or row.name in LOSSY) else ""
    plans: list[Plan] = []
    pixels = 0
    for page in pages:
        inside = getattr(page.carried, "lossy", "")  # of a kind that has such files
        plans.append(_promised(plan(page.info, options, backend), lossy or inside))
        pixels += plans[-1].pixels
        if pixels > options.max_pixels:  # before the others are looked at: there may be thousands
            width, height = max(((p.width, p.height) for p in plans), key=math.prod)
            whole = dataclasses.replace(plans[0].info, page=None)
            check_pixels(whole.problem, width, height, len(pages), options, pixels=pixels)
    return FileEnlargement(source, pages, tuple(plans), options, backend, members)


def _promised(plan: Plan, lossy: str) -> Plan:
    """The plan, whose bounds of errors are not promised for files of a ``lossy`` kind.

    Of JPEG the quality is known, and it is for the plan. Raises ``InputError`` unless forced.
    """
    known = plan.info.jpeg_quality is not None
    if not plan.errors or not lossy or known or plan.not_promised:
        return plan
    reason = f"{lossy} may have changed its samples, and the calibration was without that"
    refuse_unpromised(plan.info, reason, plan.errors)
    return dataclasses.replace(plan, not_promised=reason)


def enlarge_to(
    source: Path,
    target: Path,
    options: Options,
    *,
    backend: Backend | None = None,
    progress: Callable[[float], None] | None = None,
) -> Written:
    """Enlarge a file to another: ``open_file``, then its ``write``."""
    return open_file(source, options, backend=backend).write(target, progress=progress)


def without_alpha(plan: Plan) -> RasterInfo:
    """The result's info; whether its alpha is opaque throughout, only its samples tell."""
    info = plan.info.resized(plan.height, plan.width)
    bands = tuple(b for b in info.bands if b.role != "alpha")
    return info if bands == info.bands else dataclasses.replace(info, bands=bands)
