"""The meaning of a video's samples: matrix, range, siting, and the tags that tell them.

Numbers are those of ITU-T H.273, which all containers and codecs use.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

UNKNOWN = 2
"""The number of a matrix, of primaries or of a transfer that nobody tells."""

RGB, CONSTANT, ICTCP = 0, 10, 14

LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601 of 625 lines
    6: (0.299, 0.114),  # BT.601 of 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
"""The weights of red and blue in luma, by the matrix's number (H.273, table 4)."""

PQ, HLG = 16, 18

SITINGS = {
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "topleft": (0.0, 0.0),
    "top": (0.5, 0.0),
    "bottomleft": (0.0, 1.0),
    "bottom": (0.5, 1.0),
}
"""Where a chroma sample lies among the two by two of luma that share it: 0 is on the first column
or row, 1 on the second, 0.5 between them."""

DEFAULT_SITING = "left"
"""Of MPEG-2, H.264 and H.265 where nobody tells."""

SD_HEIGHT, SD_WIDTH = 576, 1024
"""Videos that are no larger are SD, and without tags BT.601; larger ones BT.709. Players go by the
same rule."""


@dataclass(frozen=True)
class ColourTags:
    """The numbers that a video tells of its colours; ``UNKNOWN`` where it tells none."""

    matrix: int = UNKNOWN
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    full: bool | None = None
    """Whether samples take all of their type's range; ``None`` where it is not told."""
    siting: str | None = None
    """A key of ``SITINGS``; ``None`` where it is not told."""

    @property
    def is_hdr(self) -> bool:
        """Whether light is coded by PQ or HLG."""
        return self.transfer in (PQ, HLG)


def is_sd(height: int, width: int) -> bool:
    """Whether players take an untagged video of this size for BT.601."""
    return height <= SD_HEIGHT and width <= SD_WIDTH


def matrix_of(tags: ColourTags, height: int, width: int) -> int:
    """The matrix by which a video's samples are to be read, told or guessed by its size."""
    if tags.matrix != UNKNOWN:
        return tags.matrix
    if tags.primaries == 9:
        return 9
    return 6 if is_sd(height, width) else 1


def tags_written(tags: ColourTags, small: tuple[int, int], large: tuple[int, int]) -> ColourTags:
    """The tags of a result: its source's, and those that players would guess otherwise.

    ``small`` and ``large`` are height and width of the source and of the result. An untagged SD
    video that becomes HD is told to be BT.601, as it was.
    """
    if tags.matrix != UNKNOWN or is_sd(*small) == is_sd(*large):
        return tags
    lines_625 = small[0] in (288, 576)
    return dataclasses.replace(
        tags,
        matrix=matrix_of(tags, *small),
        primaries=(5 if lines_625 else 6) if tags.primaries == UNKNOWN else tags.primaries,
        transfer=6 if tags.transfer == UNKNOWN else tags.transfer,
        full=bool(tags.full),
    )


def tags_of_codec(codec: str, tags: ColourTags) -> ColourTags | None:
    """The same meaning in the numbers that a codec has; ``None`` where it has none for the matrix.

    Numbers of one matrix, or of one curve, go for each other. Sources: the VP9 bitstream
    specification, 7.2.2; Apple's "ProRes bitstream syntax" (SMPTE RDD 36), 6.1.1.
    """
    if codec == "vp9":
        return tags if tags.matrix in (RGB, 1, UNKNOWN, 5, 6, 7, 9) else None
    if codec == "prores":
        if tags.matrix not in (RGB, 1, UNKNOWN, 5, 6, 9):
            return None
        matrix = 6 if tags.matrix == 5 else tags.matrix
        transfer = 1 if tags.transfer in (6, 14, 15) else tags.transfer
        return dataclasses.replace(tags, matrix=matrix, transfer=transfer)
    return tags


def unreadable(matrix: int) -> Literal["BT.2020 of constant luminance", "ICtCp"] | None:
    """The name of colours that are no matrix of red, green and blue."""
    if matrix == CONSTANT:
        return "BT.2020 of constant luminance"
    return "ICtCp" if matrix == ICTCP else None
