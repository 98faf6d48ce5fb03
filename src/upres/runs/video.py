"""A video enlarged in parts, each safely on disk when it is done, so that a run can go on.

The parts are in a folder beside the result, with a journal (``upres.runs.journal``) that says which
of them are whole. Each begins at a fixed number of the source's frames, and an encoder begins anew
with it, by settings that do not depend on the machine: so the result of a run that went on is that
of one go, byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upres import __version__
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging.files import FileEnlargement, open_file
from upres.enlarging.options import Options
from upres.enlarging.pipeline import enlarge_into
from upres.enlarging.plan import Plan, plan
from upres.enlarging.videos import refuse_agreement
from upres.enlarging.writing import FileCopy, Written
from upres.errors import LargeEnoughError, OutputError, UsageError, needs_extra
from upres.files import make_folder
from upres.formats.registry import called, check_output, read_head, recognised
from upres.formats.video.settings import VideoSettings
from upres.raster.info import RasterInfo
from upres.raster.source import Rows, Sink, Source
from upres.runs import journal
from upres.runs.journal import Journal
from upres.runs.known import SourceStamp
from upres.runs.preview import write_preview

if TYPE_CHECKING:
    from upres.formats.video.source import VideoSource

UNKNOWN_FRAMES = 10_000
"""Of a video whose header does not tell how many it has."""


@dataclass(frozen=True)
class VideoRun:
    """How videos of a run are dealt with."""

    settings: VideoSettings = field(default_factory=VideoSettings)
    resume: bool = False
    """Go on with parts that an interrupted run has left."""


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    row = called(path.suffix)
    return row is not None and row.endless


def open_any(
    path: Path,
    options: Options,
    video: VideoRun | None = None,
    *,
    backend: Backend | None = None,
    members: tuple[Path, ...] = (),
) -> FileEnlargement | FileCopy | VideoEnlargement:
    """Open a picture or a video to be enlarged; no pixels are decoded.

    Raises the errors of ``open_file``.
    """
    if members:
        return open_file(path, options, backend=backend, members=members)
    video = video or VideoRun()
    pictures = video.settings.like is not None
    row = None if pictures else recognised(read_head(path), path)
    if not pictures and (row is None or not row.endless):
        return open_file(path, options, backend=backend, row=row)
    backend = backend or default_backend()
    with needs_extra("reading videos", "video"):
        from upres.formats.video.pictures import PicturesSource
        from upres.formats.video.source import VideoSource
    source = (
        VideoSource(path, video.settings)
        if video.settings.like is None
        else PicturesSource(path, video.settings.like, video.settings)
    )
    refuse_agreement(source.info, options)
    try:
        planned = _even(plan(source.info, options, backend))
    except LargeEnoughError as error:
        if options.larger == "copy":
            if video.settings != VideoSettings():
                words = f"{path}: a copy is whole, and as it is: leave videos' options out"
                raise UsageError(words) from None
            return FileCopy(path, [source])
        raise error.of_a_file() from None
    if video.settings.like is not None and options.scale == 1:
        planned = dataclasses.replace(planned, models=())  # they are large enough
    return VideoEnlargement(source, planned, options.quality, video, backend)


def _even(plan: Plan) -> Plan:
    """The plan of a result whose sides are even, as most codecs want them.

    The aspect of a sample makes up for it: see ``upres.formats.video.coding``.
    """
    height, width = (max(2, side - side % 2) for side in (plan.height, plan.width))
    return dataclasses.replace(plan, height=height, width=width)


@dataclass(frozen=True)
class VideoEnlargement:
    """A video that is open, with its plan."""

    source: VideoSource
    plan: Plan
    quality: int | None
    """Of frames that become pictures in a lossy format."""
    video: VideoRun
    backend: Backend

    @property
    def why(self) -> str:
        """Things to tell of it: that its fields are made whole."""
        return "deinterlaced by bwdif" if self.source.carried.interlaced else ""

    @property
    def pixels(self) -> int:
        """Of the result, all frames together, about: a video is worked on alone."""
        return (self.source.length or UNKNOWN_FRAMES) * self.plan.pixels

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
    ) -> Written:
        """Make the result part by part, and write it to ``target``, at once and whole.

        Parts of a run that was interrupted are taken over if the run is to ``resume``. The errors
        are those of ``FileEnlargement.write`` and ``upres.runs.journal.opened``.
        """
        from upres.formats.video.pictures import is_pattern
        from upres.formats.video.sink import Parts, VideoSink

        if (time := self.video.settings.preview) is not None:
            write_preview(self.source, self.plan, time, target, self.backend, replace=replace)
            return Written()
        if is_pattern(target):
            return self._write_pictures(target, replace=replace, progress=progress)
        source = self.source
        check_output(target, self.plan.info.resized(self.plan.height, self.plan.width))
        stamp = SourceStamp.of(source.path)
        folder = parts_folder(target)
        with _journal(folder, self._asked(stamp), self.video.resume, replace) as lines:
            parts = Parts(folder)
            while lines.known(path := parts.path(parts.done)).has_done(source.path, stamp, path):
                parts.done += 1
            parts.finished = partial(_note, lines, source.path, stamp)
            first = parts.done * parts.frames
            with VideoSink(target, source.settings, parts=parts) as sink:
                self._enlarge(first, sink, target, progress)
                sink.commit(replace=replace)
        shutil.rmtree(folder, ignore_errors=True)
        return Written(tuple(sink.not_kept))

    def _write_pictures(
        self, pattern: Path, *, replace: bool, progress: Callable[[float], None] | None
    ) -> Written:
        """Write each frame to a file of its own; those that are there are taken over to resume."""
        from upres.formats.video.pictures import PicturesSink, count_made

        if self.video.settings.is_encoded:
            raise UsageError(f"{pattern}: are pictures: leave codec, crf and lossless out")
        first = count_made(pattern) if self.video.resume else 0
        with PicturesSink(pattern, first=first, replace=replace, quality=self.quality) as sink:
            self._enlarge(first, sink, pattern, progress)
            sink.commit(replace=replace)
        return Written(tuple(sink.not_kept))

    def _enlarge(
        self, first: int, sink: Sink, beside: Path, progress: Callable[[float], None] | None
    ) -> None:
        """Enlarge the frames from ``first`` on."""
        rest: Source = self.source.starting_at(first)
        if progress:
            rest = _Watched(rest, progress, first, self.source.length)
        if self.plan.models:
            enlarge_into(rest, self.plan, sink, beside=beside, backend=self.backend)
            return
        sink.begin(rest.info, rest.carried)
        for number, frame in enumerate(rest.frames(beside)):
            sink.write(number, 0, 0, np.concatenate(list(frame)))

    def _asked(self, stamp: SourceStamp) -> dict[str, object]:
        """All that decides the bytes of the result."""
        models = [journal.fingerprint(str(model.path)) for model in self.plan.models]
        # Up to damage, a run that keeps what can be decoded makes the same parts.
        settings = {k: str(v) for k, v in vars(self.video.settings).items() if k != "keep_damaged"}
        return {
            "source": os.path.abspath(self.source.path),
            "bytes": stamp.size,
            "changed": stamp.mtime,
            "size": f"{self.plan.width}x{self.plan.height}",
            "models": ", ".join(models),
            "numbers": ", ".join(model.compute for model in self.plan.models),
            "device": self.backend.name,
            "upres": __version__,
            **settings,
        }


def parts_folder(target: Path) -> Path:
    """Where the parts of a result are while it is made: beside it."""
    return target.with_name(f".{target.name[:200]}.upres-parts")


def settle(target: Path) -> None:
    """Remove the parts of a result that is there: its run was killed at its very end."""
    folder = parts_folder(target)
    try:
        changed = target.stat().st_mtime_ns
        with (folder / journal.NAME).open("rb") as file:
            started = json.loads(file.readline())["started"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        started = 0  # parts without a journal are of no use
    if changed >= started:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _journal(folder: Path, asked: dict[str, object], resume: bool, anew: bool) -> Iterator[Journal]:
    """The journal of a result's parts, whose folder is made for it, and goes if it stays empty."""
    make_folder(folder)
    try:
        with journal.opened(folder, asked, resume=resume, anew=anew) as lines:
            try:
                yield lines
            finally:
                if lines.is_empty:
                    with suppress(OSError):
                        lines.remove()
    except OSError as error:
        raise OutputError(f"{folder}: cannot write here: {error.strerror}") from error
    finally:
        with suppress(OSError):
            folder.rmdir()


def _note(lines: Journal, source: Path, stamp: SourceStamp, part: Path) -> None:
    lines.done(source, stamp, part)
    lines.commit(at_once=True)


@dataclass(frozen=True)
class _Watched:
    """A source whose frames are told as they are taken."""

    source: Any
    progress: Callable[[float], None]
    first: int
    length: int | None

    @property
    def info(self) -> RasterInfo:
        return self.source.info  # type: ignore[no-any-return]

    @property
    def carried(self) -> object:
        return self.source.carried

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        for number, frame in enumerate(self.source.frames(beside), self.first):
            self.progress(min(1.0, number / (self.length or UNKNOWN_FRAMES)))
            yield frame
