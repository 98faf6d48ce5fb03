"""Video files: see ``upres.formats.registry``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.formats.video.sink import VideoSink
from upres.formats.video.source import VideoSource


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[VideoSource]:
    """The frames of a video, as one source."""
    return [VideoSource(path)]


def create_sink(
    path: Path, *, quality: int | None = None, pages: int = 1, content_bytes: int = 0
) -> VideoSink:
    """A sink of one video."""
    return VideoSink(path)
