"""Comments in JPEG files, which libvips does not write.

Source: ITU-T T.81, section B.2.4.5 (COM).
"""

from __future__ import annotations

from collections.abc import Iterable

from upres.formats.metadata.jpeg_segments import LONGEST_SEGMENT, Segment

_COM = 0xFE


def of_segments(segments: Iterable[Segment]) -> list[bytes]:
    """The comments in a JPEG file of those segments."""
    return [content for _, marker, content in segments if marker == _COM]


def to_segments(comments: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """Comments as segments of a JPEG file, marker and content of each."""
    return [(_COM, comment[:LONGEST_SEGMENT]) for comment in comments]
