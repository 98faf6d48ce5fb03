"""A result put together: its own frames, and from the source all that is not enlarged, copied."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from upres.errors import InputError, OutputError, Remedy
from upres.formats.video.coding import Encoding, container_of
from upres.formats.video.container import (
    Clip,
    open_container,
    said,
)
from upres.formats.video.segment import read_times, timed
from upres.formats.video.settings import VideoSettings
from upres.formats.video.streams import (
    OF_THE_FILE,
    TIMECODE,
    copy_stream,
    describe,
    frames_stream,
    packets_of,
)

if TYPE_CHECKING:
    from av.container.core import Chapter


def join(
    clip: Clip,
    encoding: Encoding,
    segments: Sequence[Path],
    path: Path,
    kept: Sequence[int],
    settings: VideoSettings,
    *,
    called: Path,
) -> list[str]:
    """Write the result that is to be ``called`` so to the file ``path``, which is there.

    Gives names of what its container cannot tell of the frames.

    Raises ``InputError`` where the source is damaged, ``OSError`` where disk is lacking.
    """
    kind = container_of(called)
    options = {"fflags": "+bitexact"}
    if kind in ("mp4", "mov"):
        # The unit of time is the source's.
        options["video_track_timescale"] = str(encoding.time_base.denominator)
    with (
        open_container(clip.path) as source,
        av.open(f"file:{path}", "w", format=kind, container_options=options) as container,
    ):
        tags = {k: v for k, v in source.metadata.items() if k.lower() not in OF_THE_FILE}
        if kind in ("mp4", "mov") and any("." in name for name in tags):
            container.container_options["movflags"] = "+use_metadata_tags"
        container.metadata.update(tags)
        shift = _Shift(source, clip, settings)
        container.set_chapters(shift.chapters(source))
        # In the source's order, so that players choose the same.
        copies: dict[int, Stream] = {}
        for stream in source.streams:
            if stream.index == clip.stream:
                frames = frames_stream(container, encoding, called)
                describe(frames, stream, of_frames=True)
                if settings.start:
                    frames.metadata.pop(TIMECODE, None)  # it is the first frame's
                if clip.matrix:
                    frames.set_display_matrix(clip.matrix)
            elif stream.index in kept:
                copies[stream.index] = copy_stream(container, stream)
        container.start_encoding()
        _check_header(frames, segments[0])
        fine = _Fine(kind)
        own = fine.seen(_own_packets(frames, encoding, segments, shift))
        rising = _Rising(strict=kind in ("mp4", "mov"))
        others = rising.made(_copied_packets(source, copies, shift, settings, clip))
        for packet in heapq.merge(own, others, key=_moment):
            try:
                container.mux(packet)
            except (av.InvalidDataError, av.ArgumentError) as error:
                _damaged(clip, settings, error)
        try:
            container.close()  # which writes packets that have waited for others
        except (av.InvalidDataError, av.ArgumentError) as error:
            _damaged(clip, settings, error)
    return [each.name for each in (fine, rising) if each.found]


class _Fine:
    """Looks for times that are no whole milliseconds, in which alone Matroska counts."""

    name = "frames' times to less than a millisecond"

    def __init__(self, kind: str) -> None:
        self.found = False
        self._looks = kind in ("matroska", "webm")

    def seen(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            if self._looks and (packet.pts or 0) * packet.time_base * 1000 % 1:
                self.found, self._looks = True, False
            yield packet


class _Rising:
    """Makes times of decoding rise, as they do but in damaged files: containers refuse others."""

    name = "times of packets that go back"

    def __init__(self, *, strict: bool) -> None:
        self.found = False
        self._step = 1 if strict else 0
        self._last: dict[int, int] = {}

    def made(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            last, number = self._last.get(packet.stream_index), packet.stream_index
            if packet.dts is not None:
                if last is not None and packet.dts < last + self._step:
                    self.found = True
                    packet.dts = last + self._step
                    packet.pts = max(packet.pts or packet.dts, packet.dts)
                self._last[number] = packet.dts
            yield packet


class _Shift:
    """By how much all times of an excerpt are earlier."""

    def __init__(self, source: InputContainer, clip: Clip, settings: VideoSettings) -> None:
        zero = Fraction(source.start_time or 0, av.time_base)
        self.start = None if settings.start is None else zero + settings.start
        self.stop = None if settings.stop is None else zero + settings.stop
        # A whole number of the frames' units, which may be as coarse as a frame: by as much, sound
        # moves, too.
        self._by = (self.start or Fraction(0)) // clip.time_base * clip.time_base

    def of(self, unit: Fraction) -> int:
        """In a stream's unit."""
        return round(self._by / unit)

    def earlier(self, packet: Packet[Any]) -> None:
        """Have a packet be earlier, in a finer unit where its own is as coarse as in AVI."""
        fine = 1000 if packet.time_base > Fraction(1, 1000) else 1
        unit = packet.time_base / fine
        packet.pts = None if packet.pts is None else packet.pts * fine - self.of(unit)
        packet.dts = None if packet.dts is None else packet.dts * fine - self.of(unit)
        packet.duration = packet.duration and packet.duration * fine
        packet.time_base = unit

    def holds(self, time: Fraction) -> bool:
        """Whether a time is in the excerpt."""
        return (self.start is None or time >= self.start) and (
            self.stop is None or time < self.stop
        )

    def chapters(self, source: InputContainer) -> list[Chapter]:
        """The chapters, cut to the excerpt."""
        found: list[Chapter] = []
        for chapter in source.chapters():
            unit = chapter["time_base"] or Fraction(1, av.time_base)
            start, end = chapter["start"] * unit, chapter["end"] * unit
            if self.start is not None:
                start = max(start, self.start)
            if self.stop is not None:
                end = min(end, self.stop)
            if start < end:
                begin, finish = round((start - self._by) / unit), round((end - self._by) / unit)
                cut = chapter.copy()
                cut["start"], cut["end"] = begin, finish
                found.append(cut)
        return found


def _moment(packet: Packet[Any]) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base


def _own_packets(
    stream: VideoStream, encoding: Encoding, segments: Sequence[Path], shift: _Shift
) -> Iterator[Packet[Any]]:
    by = shift.of(encoding.time_base)
    for item in timed(segments):
        packet: Packet[Any] = Packet(item.stored.content)
        packet.time_base, packet.stream = encoding.time_base, stream
        packet.pts, packet.dts = item.stored.time - by, item.decoded - by
        packet.duration, packet.is_keyframe = item.duration, item.stored.is_key
        yield packet


def _copied_packets(
    source: InputContainer,
    copies: dict[int, Stream],
    shift: _Shift,
    settings: VideoSettings,
    clip: Clip,
) -> Iterator[Packet[Any]]:
    """The packets of the streams that are copied, as they are."""
    streams = [s for s in source.streams if s.index in copies and s.type != "attachment"]
    if not streams:
        return
    for packet in packets_of(source, partial(_damaged, clip, settings), streams):
        cover = packet.stream.disposition & av.stream.Disposition.attached_pic
        if cover and packet.pts is None:
            packet.pts = packet.dts = 0
        if packet.size == 0 or (packet.dts is None and packet.pts is None):
            continue  # at the end, demuxing gives one that flushes decoders
        if settings.is_excerpt and not cover:
            time = packet.pts if packet.pts is not None else packet.dts
            if not shift.holds((time or 0) * packet.time_base):
                continue
            shift.earlier(packet)
        packet.stream = copies[packet.stream_index]
        yield packet


def _damaged(clip: Clip, settings: VideoSettings, error: av.FFmpegError) -> None:
    """Raise ``InputError`` for a packet that cannot be copied, unless such may be left out."""
    if not settings.keep_damaged:
        raise InputError(
            f"{clip.path}: this video is damaged, a packet cannot be copied: {said(error)}",
            Remedy("keep_damaged", "keeps what can be decoded", True),
        ) from None


def _check_header(stream: VideoStream, segment: Path) -> None:
    """Raise ``OutputError`` where the encoder is not the one that made a part before."""
    _, _, header = read_times(segment)
    if header != (stream.codec_context.extradata or b""):
        raise OutputError(
            f"{segment}: this part was made by another version of the encoder: start anew",
            Remedy("existing", "does", "replace"),
        )
