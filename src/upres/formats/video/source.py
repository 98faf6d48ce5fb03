"""A video as a source of frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from upres.errors import InputError, Remedy
from upres.formats.video.ahead import made_ahead
from upres.formats.video.container import (
    Clip,
    clip_of,
    enlarged_stream,
    header,
    open_container,
    plane_arrays,
    rate_of,
    said,
)
from upres.formats.video.deinterlacing import deinterlaced
from upres.formats.video.planes import beyond, to_colours
from upres.formats.video.settings import VideoSettings
from upres.formats.video.steady import STEADY_REACH, Numbered, steadied
from upres.formats.video.streams import packets_of
from upres.raster.info import Band, RasterInfo, Role
from upres.raster.source import Rows

AHEAD_BYTES = 2**27
"""Most memory of frames that are decoded before they are asked for; at least one is."""

BACK_SECONDS = (0, 2, 10, 60)
"""How long before an excerpt a place is looked for, one after another, to begin decoding."""

_RGB: tuple[Role, ...] = ("red", "green", "blue")


class VideoSource:
    """The frames of a video, red, green and blue (or grey) of float32.

    The first ``first`` of them are passed over. Raises ``InputError`` if it cannot be read.
    """

    def __init__(
        self, path: Path, settings: VideoSettings | None = None, *, first: int = 0
    ) -> None:
        self.path = path
        self.settings = settings or VideoSettings()
        self._first = first
        with open_container(path) as container:
            height, width, self._layout = header(container, path)
            self.length = _length(container, enlarged_stream(container, path), self.settings)
        roles: tuple[Role, ...] = ("grey",) if self._layout.startswith("gray") else _RGB
        self.info = RasterInfo(
            height=height,
            width=width,
            # Whatever its frames take of it: two passes over a video would take twice the time.
            bands=tuple(Band(role, least=0.0, most=1.0) for role in roles),
            dtype=np.dtype(np.float32),
            name=str(path),
            frames=None,
        )

    length: int | None
    """How many frames there are, about; ``None`` if the header does not tell."""

    @cached_property
    def carried(self) -> Clip:
        """The facts that a video's sink wants; to tell them, the first frame is decoded."""
        return clip_of(self.path)

    def between(self, start: Fraction | None, stop: Fraction | None) -> VideoSource:
        """The excerpt between two times, in seconds."""
        settings = dataclasses.replace(self.settings, preview=None, start=start, stop=stop)
        return VideoSource(self.path, settings)

    def starting_at(self, first: int) -> VideoSource:
        """The same without the first frames."""
        source = VideoSource(self.path, self.settings, first=first)
        source.__dict__["carried"] = self.carried
        return source

    def frames(self, beside: Path) -> Generator[Iterator[Rows], None, None]:
        """See ``upres.raster.source.Source``; frames are decoded in a thread, a few ahead."""
        frame_bytes = self.info.pixels * len(self.info.bands) * 4
        ahead = max(1, min(4, AHEAD_BYTES // frame_bytes))
        for block in made_ahead(self._blocks, ahead):
            yield iter([block])
            del block

    def _blocks(self) -> Iterator[Rows]:
        frames = self._planes()
        if self.settings.steady:
            frames = steadied(frames, self._first)
        for _, planes in frames:
            yield to_colours(planes, self.carried.coding)

    def _planes(self) -> Iterator[Numbered]:
        """The planes of the frames that are asked for, and of those before that they need."""
        clip, steady = self.carried, self.settings.steady
        for number, frame in enumerate(self.decoded()):
            if number < self._first - (STEADY_REACH if steady else 0):
                continue
            if number >= self._first:
                clip.times[number - self._first] = (frame.pts or 0, frame.duration or 0)
            if (frame.height, frame.width) != (self.info.height, self.info.width):
                raise InputError(
                    f"{self.path}: its frames change their size at {moment(clip, frame)}: cut it "
                    "there, and enlarge each part"
                )
            if frame.format.name != self._layout:
                # All samples stay as they are, in planes of their own.
                frame = frame.reformat(format=self._layout)
            planes = plane_arrays(frame, self._layout)
            clip.clipped.update(beyond(planes, clip.coding))
            # A decoder's memory is for its next frames.
            yield number, [plane.copy() for plane in planes] if steady else planes

    def decoded(self) -> Iterator[VideoFrame]:
        """Each frame of the video, or of the excerpt, in order, with a time of its own.

        Raises ``InputError`` where it is damaged, unless the settings keep what can be decoded.
        """
        clip, count, end_of_last = self.carried, 0, 0
        ends = _Ends()
        last: int | None = None
        with open_container(self.path) as container:
            stream = enlarged_stream(container, self.path)
            begin, end = excerpt(container, stream, self.settings)
            if begin is not None:
                _seek(container, stream, begin)
            frames = _frames(container, stream, ends, partial(self._damage, clip))
            for frame in deinterlaced(frames, stream, at_once=clip.interlaced):
                count += 1
                if frame.pts is None:
                    frame.pts = frame.dts if last is None or frame.dts else last + 1
                if last is not None and frame.pts is not None and frame.pts <= last:
                    frame.pts = last + 1
                last = frame.pts if frame.pts is not None else 0
                end_of_last = last + (frame.duration or 0)
                if end is not None and last >= end:
                    return
                if begin is None or last >= begin:
                    yield frame
            if not self.settings.is_excerpt:
                self._check_end(clip, container, stream, count, end_of_last, ends.last)

    def _check_end(
        self,
        clip: Clip,
        container: InputContainer,
        stream: VideoStream,
        count: int,
        end: int,
        end_of_all: Fraction,
    ) -> None:
        """Raise ``InputError`` if the frames end before the header says that they do.

        Of some containers, it says only when the last of all streams ends.
        """
        reached = end * clip.time_base
        if stream.duration:
            # Two frames for what writers count otherwise.
            slack = 2 / clip.rate
            told = ((stream.start_time or 0) + stream.duration) * clip.time_base
        elif container.duration:
            slack, reached = Fraction(1), max(reached, end_of_all)
            # These tell when the last stream ends, all others how long it takes.
            from_zero = container.format.name.startswith(("matroska", "flv", "asf"))
            start = 0 if from_zero else container.start_time or 0
            told = Fraction(start + container.duration, av.time_base)
        else:
            return
        if reached + slack < told and not self.settings.keep_damaged:
            raise InputError(
                f"{self.path}: this video ends early, after {count} frames, at "
                f"{_clock(reached)} of {_clock(told)}",
                Remedy("keep_damaged", "keeps what can be decoded", True),
            )

    def _damage(self, clip: Clip, time: int | None, words: str) -> None:
        """Raise ``InputError`` for damage, unless the settings keep what can be decoded."""
        if not self.settings.keep_damaged:
            at = "its beginning" if time is None else _clock(time * clip.time_base)
            raise InputError(
                f"{self.path}: this video is damaged near {at}: {words}",
                Remedy("keep_damaged", "keeps what can be decoded", True),
            )


class _Ends:
    """When the last packet of other streams ends that has passed, in seconds."""

    last = Fraction(0)

    def see(self, packet: Packet[Any]) -> None:
        if packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self.last = max(self.last, end)


def _frames(
    container: InputContainer, stream: VideoStream, ends: _Ends, damaged: partial[None]
) -> Iterator[VideoFrame]:
    """All frames that can be decoded; ``damaged`` is told of each that cannot."""
    stream.thread_type = "AUTO"
    time: int | None = None

    def unreadable(error: av.FFmpegError) -> None:
        damaged(time, said(error))

    for packet in packets_of(container, unreadable):
        if packet.stream_index != stream.index:
            ends.see(packet)
            continue
        if packet.pts is not None:
            time = packet.pts
        if not packet.size and packet.dts is not None:
            continue  # of Theora and in AVI: the frame before is shown for longer
        if packet.is_corrupt:
            damaged(time, "a packet is broken")
        try:
            frames = stream.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as error:
            damaged(time, said(error))
            continue
        for frame in frames:
            if frame.is_corrupt:
                damaged(frame.pts, "a frame cannot be decoded whole")
            yield frame


def excerpt(
    container: InputContainer, stream: VideoStream, settings: VideoSettings
) -> tuple[int | None, int | None]:
    """The times, in a stream's unit, at which an excerpt begins and before which it ends."""
    unit = stream.time_base or Fraction(1, av.time_base)
    zero = Fraction(container.start_time or 0, av.time_base)

    def at(seconds: Fraction | None) -> int | None:
        return None if seconds is None else -int(-(zero + seconds) // unit)

    return at(settings.start), at(settings.stop)


def _seek(container: InputContainer, stream: VideoStream, time: int) -> None:
    """Go to a place from which all frames from ``time`` on can be decoded.

    Of containers without an index, such as MPEG's, FFmpeg goes to any packet, be it amid a group.
    """
    unit = stream.time_base or Fraction(1, av.time_base)
    for seconds in BACK_SECONDS:
        place = time - int(seconds / unit)
        with suppress(av.FFmpegError):
            container.seek(place, stream=stream, backward=True)
            if _has_key(container, stream, time):
                container.seek(place, stream=stream, backward=True)
                return
    with suppress(av.FFmpegError):
        container.seek(container.start_time or 0)


def _has_key(container: InputContainer, stream: VideoStream, time: int) -> bool:
    """Whether a packet from here on stands alone, and is shown at ``time`` at the latest."""
    for packet in container.demux(stream):
        if packet.pts is None or packet.pts > time:
            return False
        if packet.is_keyframe:
            return True
    return False


def moment(clip: Clip, frame: VideoFrame) -> str:
    """A frame's time as a clock shows it."""
    return _clock((frame.pts or 0) * clip.time_base)


def _clock(seconds: Fraction) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _length(container: InputContainer, stream: VideoStream, settings: VideoSettings) -> int | None:
    rate = rate_of(stream)
    seconds: Fraction | None = None
    if stream.duration and stream.time_base:
        seconds = stream.duration * stream.time_base
    elif container.duration:
        seconds = Fraction(container.duration, av.time_base)
    if stream.frames and not settings.is_excerpt:
        return stream.frames
    if seconds is None or not rate:
        return None
    begin, end = settings.start or Fraction(0), settings.stop
    seconds = max(Fraction(0), min(seconds, end if end is not None else seconds) - begin)
    return max(1, round(seconds * rate))
