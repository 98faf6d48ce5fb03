"""The parts of a source that a result holds, found out before the work and after it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from upres.errors import OutputError, Remedy
from upres.formats.video.coding import Encoding, container_of
from upres.formats.video.container import (
    Clip,
    enlarged_stream,
    first_frame,
    open_container,
    said,
    side_data,
)
from upres.formats.video.settings import VideoSettings
from upres.formats.video.streams import (
    OF_THE_FILE,
    TIMECODE,
    copy_stream,
    frames_stream,
    is_chapters,
    is_timecode,
    named,
    packets_of,
)

TRIED_PACKETS = 1000
"""How many packets at the beginning are looked at for one of each stream."""


def streams_kept(clip: Clip, target: Path, encoding: Encoding) -> tuple[list[int], list[str]]:
    """The numbers of the source's streams that the result copies; and names of all others.

    Each is tried, in a container in memory, before any frame is enlarged. Raises ``OutputError``
    where the container cannot hold the frames themselves.
    """
    kept, lost = [], []
    with open_container(clip.path) as source:
        packets = _first_packets(source)
        try:
            _trial(source, target, encoding)
        except (av.FFmpegError, ValueError) as error:
            words = said(error) if isinstance(error, av.FFmpegError) else str(error)
            raise OutputError(
                f"{target}: cannot hold these frames: {words}", Remedy("codec", "names another")
            ) from None
        for stream in source.streams:
            if stream.index == clip.stream or is_chapters(source, stream) or is_timecode(stream):
                continue
            try:
                _trial(source, target, encoding, stream, packets.get(stream.index))
            except (av.FFmpegError, ValueError):
                lost.append(named(stream))
            else:
                kept.append(stream.index)
    return kept, lost


def _first_packets(source: InputContainer) -> dict[int, Packet[Stream]]:
    """A packet of each stream that has one near the beginning."""
    found: dict[int, Packet[Stream]] = {}
    for packet in islice(packets_of(source, lambda error: None), TRIED_PACKETS):
        if packet.size and packet.dts is not None:
            found.setdefault(packet.stream_index, packet)
    return found


def _trial(
    source: InputContainer,
    target: Path,
    encoding: Encoding,
    stream: Stream | None = None,
    packet: Packet[Stream] | None = None,
) -> None:
    """Make a file of the result's kind, of the frames' stream and one more, with one packet."""
    with av.open(io.BytesIO(), "w", format=container_of(target)) as container:
        frames_stream(container, encoding, target)
        copy = None if stream is None else copy_stream(container, stream)
        container.start_encoding()
        if copy is not None and packet is not None:
            packet.stream = copy
            container.mux(packet)


def lost_in(clip: Clip, path: Path, kept: Sequence[int], settings: VideoSettings) -> Iterator[str]:
    """Names of what a result at ``path`` turns out not to tell, although its source does."""
    with open_container(clip.path) as source, open_container(path) as result:
        ours = {name.lower() for name in result.metadata}
        for name in source.metadata:
            if name.lower() not in ours | OF_THE_FILE:
                yield f"tag {name}"
        if settings.start and TIMECODE in source.streams[clip.stream].metadata:
            yield "timecode"
        if len(result.chapters()) < len(source.chapters()) and not settings.is_excerpt:
            yield "chapters"
        # As their order is the source's.
        frame = first_frame(result, enlarged_stream(result, path), path)
        if clip.matrix:
            turned = struct.pack("<9i", *clip.matrix)
            if side_data(frame).get("DISPLAYMATRIX") != turned:
                yield "rotation"
        # Not as streams tell it: a recorded broadcast begins with packets that nobody can decode.
        first = first_frame(source, enlarged_stream(source, clip.path), clip.path)
        start, started = _moment(first), _moment(frame)
        later = Fraction(0) if start is None or started is None else started - start
        if abs(later) > Fraction(1, 500) and not settings.is_excerpt:
            # As in Matroska, which has no times before zero, where sound often begins.
            yield f"start (all streams are {float(later):.3f} s later)"
        results = list(result.streams)
        for stream in source.streams:
            if stream.index not in (clip.stream, *kept):
                continue
            if not results or results[0].type != stream.type:
                yield named(stream)
                continue
            made = results.pop(0)
            if stream.language and made.language != stream.language and stream.language != "und":
                yield f"language of {named(stream)}"
            title = stream.metadata.get("title")
            if title and title not in made.metadata.values():
                yield f"title of {named(stream)}"
            if stream.disposition & ~made.disposition & ~av.stream.Disposition.default:
                yield f"disposition of {named(stream)}"


def _moment(frame: VideoFrame) -> Fraction | None:
    """When a frame is shown, in seconds; ``None`` where FFmpeg cannot tell."""
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
