"""A result put together: its own frames, and from the source all that is not enlarged, copied."""

from __future__ import annotations

import heapq
import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream
from av.video.stream import VideoStream

from upres.errors import InputError, OutputError, Remedy
from upres.formats.video.coding import Encoding, container_of, flags_of
from upres.formats.video.container import (
    Clip,
    enlarged_stream,
    first_frame,
    open_container,
    said,
    side_data,
)
from upres.formats.video.segment import read_times, timed
from upres.formats.video.settings import VideoSettings

if TYPE_CHECKING:
    from av.container.core import Chapter

_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""Tags that tell how the source was stored."""

_OF_THE_FRAMES = (
    "BPS",
    "DURATION",
    "NUMBER_OF_",
    "_STATISTICS_",
    "encoder",
    "ENCODER",
)
"""Beginnings of a stream's tags that would not be true of other frames."""


def global_header(target: Path) -> bool:
    """Whether a container wants a codec's header apart from its packets."""
    return container_of(target) != "avi"


def streams_kept(clip: Clip, target: Path, encoding: Encoding) -> tuple[list[int], list[str]]:
    """The numbers of the source's streams that the result copies; and names of all others.

    Each is tried, in a container in memory, before any frame is enlarged. Raises ``OutputError``
    where the container cannot hold the frames themselves.
    """
    kept, lost = [], []
    with open_container(clip.path) as source:
        try:
            _trial(source, target, encoding, None)
        except (av.FFmpegError, ValueError) as error:
            words = said(error) if isinstance(error, av.FFmpegError) else str(error)
            raise OutputError(
                f"{target}: cannot hold these frames: {words}", Remedy("codec", "names another")
            ) from None
        for stream in source.streams:
            if stream.index == clip.stream or _is_chapters(source, stream):
                continue
            try:
                _trial(source, target, encoding, stream)
            except (av.FFmpegError, ValueError):
                lost.append(_named(stream))
            else:
                kept.append(stream.index)
    return kept, lost


def _trial(source: InputContainer, target: Path, encoding: Encoding, stream: Stream | None) -> None:
    """Begin a file of the result's kind, with the frames' stream and one more."""
    with av.open(io.BytesIO(), "w", format=container_of(target)) as container:
        _frames_stream(container, encoding, target)
        if stream is not None:
            _copy_stream(container, stream)
        container.start_encoding()


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
        tags = {k: v for k, v in source.metadata.items() if k.lower() not in _OF_THE_FILE}
        if kind in ("mp4", "mov") and any("." in name for name in tags):
            container.container_options["movflags"] = "+use_metadata_tags"
        container.metadata.update(tags)
        shift = _Shift(source, clip, settings)
        container.set_chapters(shift.chapters(source))
        # In the source's order, so that players choose the same.
        copies: dict[int, Stream] = {}
        for stream in source.streams:
            if stream.index == clip.stream:
                frames = _frames_stream(container, encoding, called)
                _describe(frames, stream, of_frames=True)
                if clip.matrix:
                    frames.set_display_matrix(clip.matrix)
            elif stream.index in kept:
                copies[stream.index] = _copy_stream(container, stream)
        container.start_encoding()
        _check_header(frames, segments[0])
        fine = _Fine(kind)
        own = fine.seen(_own_packets(frames, encoding, segments, shift))
        others = _copied_packets(source, copies, shift, settings, clip)
        for packet in heapq.merge(own, others, key=_moment):
            container.mux(packet)
    return [fine.name] if fine.found else []


def lost_in(clip: Clip, path: Path, kept: Sequence[int], settings: VideoSettings) -> Iterator[str]:
    """Names of what a result at ``path`` turns out not to tell, although its source does."""
    with open_container(clip.path) as source, open_container(path) as result:
        ours = {name.lower() for name in result.metadata}
        for name in source.metadata:
            if name.lower() not in ours | _OF_THE_FILE:
                yield f"tag {name}"
        if len(result.chapters()) < len(source.chapters()) and not settings.is_excerpt:
            yield "chapters"
        # As their order is the source's.
        if clip.matrix:
            frame = first_frame(result, enlarged_stream(result, path), path)
            turned = struct.pack("<9i", *clip.matrix)
            if side_data(frame).get("DISPLAYMATRIX") != turned:
                yield "rotation"
        start, started = (_start(s, path) for s in (source, result))
        if not settings.is_excerpt and abs(started - start) > Fraction(1, 500):
            # As in Matroska, which has no times before zero, where sound often begins.
            yield f"start (all streams are {float(started - start):.3f} s later)"
        results = list(result.streams)
        for stream in source.streams:
            if stream.index not in (clip.stream, *kept):
                continue
            if not results or results[0].type != stream.type:
                yield _named(stream)
                continue
            made = results.pop(0)
            if stream.language and made.language != stream.language and stream.language != "und":
                yield f"language of {_named(stream)}"
            title = stream.metadata.get("title")
            if title and title not in made.metadata.values():
                yield f"title of {_named(stream)}"
            if stream.disposition & ~made.disposition & ~av.stream.Disposition.default:
                yield f"disposition of {_named(stream)}"


def _start(container: InputContainer, path: Path) -> Fraction:
    stream = enlarged_stream(container, path)
    return (stream.start_time or 0) * (stream.time_base or Fraction(1))


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


class _Shift:
    """By how much all times of an excerpt are earlier."""

    def __init__(self, source: InputContainer, clip: Clip, settings: VideoSettings) -> None:
        zero = Fraction(source.start_time or 0, av.time_base)
        self.start = None if settings.start is None else zero + settings.start
        self.stop = None if settings.stop is None else zero + settings.stop
        self._by = Fraction(0) if self.start is None else self.start

    def of(self, unit: Fraction) -> int:
        """In a stream's unit."""
        return round(self._by / unit)

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
    packets = source.demux(streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            if settings.keep_damaged:
                return
            raise InputError(
                f"{clip.path}: this video is damaged: {said(error)}",
                Remedy("keep_damaged", "keeps what can be decoded", True),
            ) from None
        cover = packet.stream.disposition & av.stream.Disposition.attached_pic
        if cover and packet.pts is None:
            packet.pts = packet.dts = 0
        if packet.size == 0 or (packet.dts is None and packet.pts is None):
            continue  # at the end, demuxing gives one that flushes decoders
        if settings.is_excerpt and not cover:
            time = packet.pts if packet.pts is not None else packet.dts
            if not shift.holds((time or 0) * packet.time_base):
                continue
            by = shift.of(packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - by
            packet.dts = None if packet.dts is None else packet.dts - by
        packet.stream = copies[packet.stream_index]
        yield packet


def _frames_stream(container: OutputContainer, encoding: Encoding, target: Path) -> VideoStream:
    stream = container.add_stream(encoding.library, rate=encoding.rate)
    assert isinstance(stream, VideoStream)
    encoding.set_up(stream.codec_context)
    stream.codec_context.flags |= flags_of(global_header=global_header(target))
    stream.time_base = encoding.time_base
    if encoding.codec == "x265" and container_of(target) in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # the one that all players take
    return stream


def _copy_stream(container: OutputContainer, stream: Stream) -> Stream:
    if isinstance(stream, AttachmentStream):
        copy: Stream = container.add_attachment(
            stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data
        )
        copy.metadata.update(stream.metadata)
        return copy
    copy = container.add_stream_from_template(stream, opaque=True)
    _describe(copy, stream)
    return copy


def _describe(copy: Stream, stream: Stream, *, of_frames: bool = False) -> None:
    copy.metadata.update(
        (name, text)
        for name, text in stream.metadata.items()
        if not (of_frames and name.startswith(_OF_THE_FRAMES))
    )
    copy.disposition = stream.disposition


def _check_header(stream: VideoStream, segment: Path) -> None:
    """Raise ``OutputError`` where the encoder is not the one that made a part before."""
    _, _, header = read_times(segment)
    if header != (stream.codec_context.extradata or b""):
        raise OutputError(
            f"{segment}: this part was made by another version of the encoder: start anew",
            Remedy("existing", "does", "replace"),
        )


def _is_chapters(source: InputContainer, stream: Stream) -> bool:
    """Whether a stream holds the chapters of an MP4 file, which are copied as such."""
    return (
        stream.type == "data"
        and "mov" in source.format.name
        and bool(source.chapters())
        and stream.codec_context is None
    )


def _named(stream: Stream) -> str:
    """A stream's name for people: ``subtitles (subrip, eng)``."""
    kind = {"subtitle": "subtitles", "video": "cover picture"}.get(stream.type, stream.type)
    codec = stream.codec_context.name if stream.codec_context else stream.name or "unknown"
    told = [codec, *([stream.language] if stream.language not in (None, "und") else [])]
    return f"{kind} ({', '.join(told)})"
