"""A video as a sink: frames are encoded in parts, and put together with all else at the end."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Self

import av
import numpy as np
from av.video.frame import VideoFrame

from upres.errors import OutputError
from upres.files import publish, temporary
from upres.formats.registry import check_output
from upres.formats.video.coding import Encoding, encoding_for, not_told
from upres.formats.video.colours import tags_written
from upres.formats.video.container import Clip, plane_arrays, said
from upres.formats.video.joining import join
from upres.formats.video.keeping import lost_in, streams_kept
from upres.formats.video.planes import to_planes
from upres.formats.video.segment import SegmentWriter
from upres.formats.video.settings import VideoSettings
from upres.formats.video.streams import global_header
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, copy_planes

SEGMENT_FRAMES = 240
"""Frames of a part, which is the least that an interruption costs."""

_PATIENCE = 60.0


class Parts:
    """Where the parts of a result are kept, and how many of them are there already."""

    def __init__(
        self,
        folder: Path,
        done: int = 0,
        *,
        frames: int = SEGMENT_FRAMES,
        finished: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.folder = folder
        self.done = done
        self.frames = frames
        """Of a part; the last has fewer."""
        self.finished = finished
        """Is told each part that is written; in a thread of its own."""

    def path(self, number: int) -> Path:
        """The name of a part, from 0."""
        return self.folder / f"{number:06}.part"

    def unfinished(self, number: int) -> Path:
        """Its name until it is whole."""
        return self.folder / f"{number:06}.new"


class _OnePart(Parts):
    """All frames in a file that is there for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, frames=2**62)
        self._path = path

    def path(self, number: int) -> Path:
        return self._path

    def unfinished(self, number: int) -> Path:
        return self._path


class VideoSink:
    """A sink of a video; see ``upres.raster.source.Sink``.

    Without ``parts``, the frames are one part beside ``target``.
    """

    def __init__(
        self,
        target: Path,
        settings: VideoSettings | None = None,
        *,
        parts: Parts | None = None,
    ) -> None:
        self.target = target
        self._settings = settings or VideoSettings()
        self._parts = parts
        self._stack = ExitStack()
        self._not_kept: list[str] = []
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def not_kept(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self._not_kept))

    def begin(self, info: RasterInfo, carried: object) -> None:
        if not isinstance(carried, Clip):
            raise OutputError(f"{self.target}: {info.name} is no video, and has no times of frames")
        check_output(self.target, info)
        self._info, self._clip = info, carried
        self._encoding = encoding_for(
            self.target,
            self._settings,
            carried,
            tags_written(carried.tags, carried.size, (info.height, info.width)),
            height=info.height,
            width=info.width,
        )
        self._kept, lost = streams_kept(carried, self.target, self._encoding)
        self._not_kept += [*carried.lost, *not_told(self._encoding, carried), *lost]
        if self._parts is None:
            path = self._stack.enter_context(temporary(self.target, ".part"))
            self._parts = _OnePart(path)
        self._paths = [self._parts.path(number) for number in range(self._parts.done)]
        self._missing = info.pixels
        self._picture: Float32Array | None = None
        self._queue: queue.Queue[tuple[int, Float32Array] | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="upres-encoder", daemon=True)
        self._thread.start()

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        rows, columns, bands = block.shape
        if rows * columns == self._info.pixels:
            self._put((frame, block))
            return
        if self._picture is None:
            planes = np.empty((bands, self._info.height, self._info.width), np.float32)
            self._picture = np.moveaxis(planes, 0, 2)
        copy_planes(self._picture[top : top + rows, left : left + columns], block)
        self._missing -= rows * columns
        if not self._missing:
            self._put((frame, self._picture))
            self._picture, self._missing = None, self._info.pixels

    def commit(self, *, replace: bool) -> None:
        self._put(None)
        assert self._thread is not None
        self._thread.join()
        self._check()
        if not self._paths:
            raise OutputError(f"{self.target}: there are no frames in this part of the video")
        try:
            with temporary(self.target, self.target.suffix) as name:
                self._not_kept += join(
                    self._clip,
                    self._encoding,
                    self._paths,
                    name,
                    self._kept,
                    self._settings,
                    called=self.target,
                )
                self._not_kept += sorted(self._clip.clipped)
                self._not_kept += lost_in(self._clip, name, self._kept, self._settings)
                publish(name, self.target, replace=replace)
        except OSError as error:
            raise self._cannot_write(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        self._stack.close()

    def _put(self, item: tuple[int, Float32Array] | None) -> None:
        """Hand a picture over to the encoder, or the end; raise its error, if it has failed."""
        assert self._thread is not None
        while True:
            self._check()
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _check(self) -> None:
        if isinstance(self._error, OSError):
            raise self._cannot_write(self._error) from self._error
        if self._error is not None:
            raise self._error

    def _cannot_write(self, error: OSError) -> OutputError:
        words = said(error) if isinstance(error, av.FFmpegError) else error.strerror
        return OutputError(f"{self.target}: cannot write this video: {words}")

    def _run(self) -> None:
        """Encode the pictures of the queue, part by part; runs in a thread."""
        assert self._parts is not None
        part: _Part | None = None
        try:
            while not self._stopped.is_set():
                try:
                    item = self._queue.get(timeout=0.1)
                except queue.Empty:
                    continue
                number = None if item is None else self._parts.done + item[0] // self._parts.frames
                if part is not None and part.number != number:
                    ended, part = part, None
                    ended.end()
                    self._paths.append(ended.path)
                    self._parts.finished(ended.path)
                if item is None or number is None:
                    return
                if part is None:
                    header = global_header(self.target)
                    part = _Part(self._parts, number, self._encoding, global_header=header)
                part.encode(item[1], *self._clip.times.pop(item[0]))
                del item  # its memory is for the next one
        except BaseException as error:
            self._error = error
        finally:
            if part is not None:
                part.give_up()


class _Part:
    """A part while it is encoded."""

    def __init__(
        self, parts: Parts, number: int, encoding: Encoding, *, global_header: bool
    ) -> None:
        self.number, self.path = number, parts.path(number)
        self._name = parts.unfinished(number)
        self._encoding, self._duration = encoding, 0
        self._count = 0
        self._times: dict[int, int] = {}
        self._context = encoding.new_context(global_header=global_header)
        self._file: BinaryIO = self._name.open("wb")
        self._writer = SegmentWriter(self._file)

    def encode(self, picture: Float32Array, time: int, duration: int) -> None:
        """Encode a frame that is shown at a time for a duration."""
        encoding, self._duration = self._encoding, duration
        image = VideoFrame(encoding.width, encoding.height, encoding.layout)
        planes = to_planes(picture, encoding.coding)
        for place, plane in zip(plane_arrays(image, encoding.layout), planes, strict=True):
            place[:] = plane
        # An encoder is told the frame's number. Some take a fine unit of time for a rate of frames.
        encoding.describe(image)
        image.pts, image.time_base = self._count, 1 / encoding.rate
        self._times[self._count] = time
        self._count += 1
        self._writer.write(self._context.encode(image), self._times)

    def end(self) -> None:
        """Encode the frames that the encoder has kept back, and have the part be there."""
        self._writer.write(self._context.encode(None), self._times)
        self._writer.end(self._duration, self._context.extradata or b"")
        self._file.close()
        if self._name != self.path:
            os.replace(self._name, self.path)

    def give_up(self) -> None:
        """Leave nothing of a part that is not whole."""
        with suppress(OSError):  # of a full disk, as there is something left to be written
            self._file.close()
        if self._name != self.path:
            self._name.unlink(missing_ok=True)
