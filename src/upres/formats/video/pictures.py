"""A video's frames as pictures in files of their own, and back."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from upres.errors import ExistsError, InputError, OutputError
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import called, check_output, create_sink, open_pages
from upres.formats.video.container import Clip
from upres.formats.video.settings import VideoSettings
from upres.formats.video.source import VideoSource
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, to_bands
from upres.raster.source import Rows, Sink

_NUMBER = re.compile(r"%0?(\d{0,2})d")

_PLAIN = ({1, 2, 5, 6}, {1, 2, 6, 13})
"""Primaries and transfers (H.273) that viewers of pictures show well enough as sRGB."""


def is_pattern(path: Path) -> bool:
    """Whether a name stands for many pictures, a number each: ``%06d.png``."""
    row = called(path.suffix)
    return len(_NUMBER.findall(path.name)) == 1 and not (row and row.endless)


def numbered(pattern: Path, number: int) -> Path:
    """The name of a frame, from 1."""
    name = _NUMBER.sub(lambda found: str(number).zfill(int(found[1] or 1)), pattern.name)
    return pattern.with_name(name)


def count_made(pattern: Path) -> int:
    """How many frames are there, from the first on."""
    number = 0
    while os.path.lexists(numbered(pattern, number + 1)):
        number += 1
    return number


class PicturesSink:
    """A sink that writes each frame of a video to a file; see ``upres.raster.source.Sink``.

    The ``first`` frames are there already.
    """

    def __init__(
        self, pattern: Path, *, first: int = 0, replace: bool = True, quality: int | None = None
    ) -> None:
        self._pattern, self._first, self._replace = pattern, first, replace
        self._quality = quality
        self._sink: Sink | None = None
        self._frame = 0
        self._not_kept: list[str] = []

    @property
    def not_kept(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self._not_kept))

    def begin(self, info: RasterInfo, carried: object) -> None:
        if not isinstance(carried, Clip):
            raise OutputError(f"{self._pattern}: {info.name} is no video")
        deep = carried.coding.bits > 8
        dtype, most = np.dtype(np.uint16 if deep else np.uint8), 65535.0 if deep else 255.0
        bands = tuple(dataclasses.replace(b, high=most, least=None, most=None) for b in info.bands)
        self._info = dataclasses.replace(info, bands=bands, dtype=dtype, frames=1)
        check_output(self._pattern, self._info)
        self._carried = _carried(carried)
        self._not_kept = ["sound and times (the video has them)"]
        if carried.aspect != 1:
            self._not_kept.append("sample aspect ratio")
        if carried.matrix:
            self._not_kept.append("rotation")
        if not self._replace and os.path.lexists(numbered(self._pattern, self._first + 1)):
            raise ExistsError(numbered(self._pattern, self._first + 1))

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        if self._sink is not None and frame != self._frame:
            self._end()
        if self._sink is None:
            self._frame = frame
            path = numbered(self._pattern, self._first + frame + 1)
            self._sink = create_sink(path, quality=self._quality)
            self._sink.begin(self._info, self._carried)
        self._sink.write(0, top, left, block)

    def commit(self, *, replace: bool) -> None:
        self._end()

    def _end(self) -> None:
        if self._sink is not None:
            with self._sink as sink:
                sink.commit(replace=self._replace)
                self._not_kept += sink.not_kept
            self._sink = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._sink is not None:
            self._sink.__exit__(*exception)


def _carried(clip: Clip) -> Carried:
    """The meaning of the colours, where it is not near sRGB."""
    tags = clip.tags
    if tags.primaries in _PLAIN[0] and tags.transfer in _PLAIN[1]:
        return nothing_carried()
    meaning = bytes([tags.primaries, tags.transfer, 0, 1])
    return dataclasses.replace(nothing_carried(), meaning=meaning)


class PicturesSource(VideoSource):
    """Pictures, in the place of a video's frames: times, sound and all else are the video's.

    Raises ``InputError`` if they cannot be read.
    """

    def __init__(
        self,
        pattern: Path,
        like: Path,
        settings: VideoSettings | None = None,
        *,
        first: int = 0,
    ) -> None:
        super().__init__(like, settings, first=first)
        self.pattern = pattern
        (page,) = open_pages(numbered(pattern, 1))
        self._picture = page.info
        if page.info.alpha is not None or len(page.info.bands) != len(self.info.bands):
            raise InputError(
                f"{numbered(pattern, 1)}: has other bands than the frames of {like}: give pictures "
                "of red, green and blue"
            )
        self.info = dataclasses.replace(
            self.info, height=page.info.height, width=page.info.width, name=str(pattern)
        )

    def starting_at(self, first: int) -> PicturesSource:
        source = PicturesSource(self.pattern, self.path, self.settings, first=first)
        source.__dict__["carried"] = self.carried
        return source

    def _blocks(self) -> Iterator[Rows]:
        clip = self.carried
        number = 0
        for number, frame in enumerate(self.decoded(), 1):
            if number <= self._first:
                continue
            clip.times[number - 1 - self._first] = (frame.pts or 0, frame.duration or 0)
            yield self._read(numbered(self.pattern, number))
        if os.path.lexists(more := numbered(self.pattern, number + 1)):
            raise InputError(f"{more}: there are more pictures than frames in {self.path}")

    def _read(self, path: Path) -> Rows:
        (page,) = open_pages(path)
        if (page.info.height, page.info.width, page.info.bands) != (
            self._picture.height,
            self._picture.width,
            self._picture.bands,
        ):
            raise InputError(f"{path}: is unlike the first picture in size or bands")
        (rows,) = (list(frame) for frame in page.frames(path))
        return to_bands(np.concatenate(rows), page.info.varying)
