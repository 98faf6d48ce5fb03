"""The parts of a source that a result holds, found out before the work and after it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream

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
from upres.formats.video.streams import OF_THE_FILE, copy_stream, frames_stream, is_chapters, named


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
            if stream.index == clip.stream or is_chapters(source, stream):
                continue
            try:
                _trial(source, target, encoding, stream)
            except (av.FFmpegError, ValueError):
                lost.append(named(stream))
            else:
                kept.append(stream.index)
    return kept, lost


def _trial(source: InputContainer, target: Path, encoding: Encoding, stream: Stream | None) -> None:
    """Begin a file of the result's kind, with the frames' stream and one more."""
    with av.open(io.BytesIO(), "w", format=container_of(target)) as container:
        frames_stream(container, encoding, target)
        if stream is not None:
            copy_stream(container, stream)
        container.start_encoding()


def lost_in(clip: Clip, path: Path, kept: Sequence[int], settings: VideoSettings) -> Iterator[str]:
    """Names of what a result at ``path`` turns out not to tell, although its source does."""
    with open_container(clip.path) as source, open_container(path) as result:
        ours = {name.lower() for name in result.metadata}
        for name in source.metadata:
            if name.lower() not in ours | OF_THE_FILE:
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


def _start(container: InputContainer, path: Path) -> Fraction:
    stream = enlarged_stream(container, path)
    return (stream.start_time or 0) * (stream.time_base or Fraction(1))
