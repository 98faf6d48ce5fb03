"""Frames of two fields made whole by FFmpeg's bwdif, none of them lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
import av.filter
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def deinterlaced(
    frames: Iterable[VideoFrame], stream: VideoStream, *, at_once: bool
) -> Iterator[VideoFrame]:
    """The frames, one for each; those that are marked as interlaced are deinterlaced.

    The filter is set up ``at_once``, or at the first frame that is marked: it looks at neighbours.
    """
    graph: _Graph | None = None
    for frame in frames:
        if graph is None and (at_once or frame.interlaced_frame):
            graph = _Graph(stream, frame)
        if graph is None:
            yield frame
        else:
            yield from graph.put(frame)
    if graph is not None:
        yield from graph.put(None)


class _Graph:
    def __init__(self, stream: VideoStream, frame: VideoFrame) -> None:
        self._graph = av.filter.Graph()
        start = self._graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=stream.time_base,
        )
        # A frame for each frame, in the order of fields that each tells.
        filter = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(start, filter, self._graph.add("buffersink")).configure()
        self._time_base = stream.time_base

    def put(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Give a frame, or ``None`` at the end; get those that are ready."""
        self._graph.vpush(frame)
        while True:
            try:
                made = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if made.pts is not None and made.time_base and self._time_base:
                # The filter counts in half the unit.
                made.pts = round(made.pts * made.time_base / self._time_base)
                made.time_base = self._time_base
            yield made
