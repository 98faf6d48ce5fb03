"""Comments in JPEG and GIF files, which libvips does not write.

Source: ITU-T T.81, section B.2.4.5 (COM).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from upres.formats.image import gif
from upres.formats.image.jpeg import LONGEST_SEGMENT, Segment

_COM = 0xFE


def read(path: Path, segments: Iterable[Segment]) -> list[bytes]:
    """The comments of a GIF file, or of a JPEG file of those segments; of another file, none."""
    return gif.read(path)[0] or [content for _, marker, content in segments if marker == _COM]


def to_segments(comments: list[bytes]) -> list[tuple[int, bytes]]:
    """Comments as segments of a JPEG file, marker and content of each."""
    return [(_COM, comment[:LONGEST_SEGMENT]) for comment in comments]
