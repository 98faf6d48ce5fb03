"""Comments in JPEG and GIF files, which libvips does not write.

Source: ITU-T T.81, section B.2.4.5 (COM).
"""

from __future__ import annotations

from pathlib import Path

from upres.formats import gif
from upres.formats.jpeg import LONGEST_SEGMENT, jpeg_segments

_COM = 0xFE


def read(path: Path) -> list[bytes]:
    """The comments of a JPEG or GIF file; of another file, none."""
    return gif.read(path)[0] or [c for marker, c in jpeg_segments(path) if marker == _COM]


def to_segments(comments: list[bytes]) -> list[tuple[int, bytes]]:
    """Comments as segments of a JPEG file, marker and content of each."""
    return [(_COM, comment[:LONGEST_SEGMENT]) for comment in comments]
