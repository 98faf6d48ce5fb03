"""The streams of a container: that of the frames, and copies of the source's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream
from av.video.stream import VideoStream

from upres.formats.video.coding import Encoding, container_of, flags_of

OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""ColourTags that tell how the source was stored."""

TIMECODE = "timecode"
"""A stream's tag that tells the clock of its first frame."""

_OF_THE_FRAMES = (
    "BPS",
    "DURATION",
    "NUMBER_OF_",
    "_STATISTICS_",
    "encoder",
    "ENCODER",
)
"""Beginnings of a stream's tags that would not be true of other frames."""


def packets_of(
    container: InputContainer,
    damaged: Callable[[av.FFmpegError], None],
    streams: Sequence[Stream] = (),
) -> Iterator[Packet[Stream]]:
    """The packets of some streams, or of all, up to the first that cannot be read.

    ``damaged`` is told of that one. Errors of whoever takes the packets are not caught.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            damaged(error)
            return
        yield packet


def global_header(target: Path) -> bool:
    """Whether a container wants a codec's header apart from its packets."""
    return container_of(target) != "avi"


def frames_stream(container: OutputContainer, encoding: Encoding, target: Path) -> VideoStream:
    """Add the stream of a result's frames, whose packets are made elsewhere."""
    stream = container.add_stream(encoding.library, rate=encoding.rate)
    assert isinstance(stream, VideoStream)
    encoding.set_up(stream.codec_context)
    stream.codec_context.flags |= flags_of(global_header=global_header(target))
    stream.time_base = encoding.time_base
    if encoding.codec == "x265" and container_of(target) in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # the one that all players take
    return stream


def copy_stream(container: OutputContainer, stream: Stream) -> Stream:
    """Add a copy of a source's stream; raises ``ValueError`` where the container cannot hold it."""
    if isinstance(stream, AttachmentStream):
        copy: Stream = container.add_attachment(
            stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data
        )
        copy.metadata.update(stream.metadata)
        return copy
    copy = container.add_stream_from_template(stream, opaque=True)
    describe(copy, stream)
    return copy


def describe(copy: Stream, stream: Stream, *, of_frames: bool = False) -> None:
    """Give a stream the language, title and the like of the source's."""
    copy.metadata.update(
        (name, text)
        for name, text in stream.metadata.items()
        if not (of_frames and name.startswith(_OF_THE_FRAMES))
    )
    copy.disposition = stream.disposition


def is_chapters(source: InputContainer, stream: Stream) -> bool:
    """Whether a stream holds the chapters of an MP4 file, which are copied as such."""
    return (
        stream.type == "data"
        and "mov" in source.format.name
        and bool(source.chapters())
        and stream.codec_context is None
    )


def is_timecode(stream: Stream) -> bool:
    """Whether a stream holds the timecode of the first frame, which its tag tells, too.

    FFmpeg's writers of MP4 and MOV make such a stream of that tag, and take no copy.
    """
    return stream.type == "data" and TIMECODE in stream.metadata


def named(stream: Stream) -> str:
    """A stream's name for people: ``subtitles (subrip, eng)``."""
    kind = {"subtitle": "subtitles", "video": "cover picture"}.get(stream.type, stream.type)
    context = stream.codec_context
    codec = context.name if context else getattr(stream, "name", None) or "unknown"
    told = [codec, *([stream.language] if stream.language not in (None, "und") else [])]
    return f"{kind} ({', '.join(told)})"
