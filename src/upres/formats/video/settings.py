"""How a video is read and written: a request, without PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from upres.errors import UsageError

VideoCodec = Literal["x264", "x265", "av1", "vp9", "ffv1", "prores"]

MOST_CRF = {"x264": 51, "x265": 51, "av1": 63, "vp9": 63}
"""The largest rate factor of each codec that has one: the worst quality."""


@dataclass(frozen=True)
class VideoSettings:
    """The wishes for a video beside those of every picture.

    Raises ``UsageError`` for values out of range or that contradict each other.
    """

    codec: VideoCodec | None = None
    """``None`` goes by the container and the depth: see ``upres.formats.video.coding``."""
    crf: float | None = None
    """Constant rate factor, as each codec counts it: less is better. ``None`` is its default."""
    lossless: bool = False
    """FFV1: each sample of the result is stored as it was computed."""
    start: Fraction | None = None
    """Seconds from the video's beginning at which an excerpt begins."""
    stop: Fraction | None = None
    """Seconds at which it ends."""
    like: Path | None = None
    """The video that pictures take the place of the frames of: times, sound and all else are its
    own."""
    preview: Fraction | None = None
    """Make of the frame at this time, in seconds, a picture before and after."""
    steady: bool = False
    """Take noise down where nothing moves, see ``upres.formats.video.steady``."""
    keep_damaged: bool = False
    """Keep the frames that can be decoded of a damaged video, instead of refusing it."""

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in get_args(VideoCodec):
            known = ", ".join(get_args(VideoCodec))
            raise UsageError(f"codec {self.codec}: expected one of {known}")
        if self.lossless and self.codec not in (None, "ffv1"):
            raise UsageError(f"lossless is codec ffv1, not {self.codec}: give one of them")
        if self.crf is not None:
            if self.lossless or self.codec in ("ffv1", "prores"):
                raise UsageError(f"codec {self.codec or 'ffv1'} has no crf: leave it out")
            most = MOST_CRF[self.codec or "x264"]
            if not 0 <= self.crf <= most:
                raise UsageError(f"crf must be from 0 to {most}, not {self.crf:g}")
        begin = self.start or 0
        if begin < 0:
            raise UsageError(f"an excerpt cannot begin at {float(begin):g} s")
        if self.preview is not None and (self.is_excerpt or self.like):
            raise UsageError("a preview is of one frame of a video: leave the excerpt out")
        if self.steady and self.like is not None:
            raise UsageError("steady is for a video's own frames: leave it out, or like")
        if self.preview is not None and self.is_encoded:
            raise UsageError("a preview is a picture: leave codec, crf and lossless out")
        if self.stop is not None and self.stop <= begin:
            raise UsageError(
                f"an excerpt from {float(begin):g} s cannot end at {float(self.stop):g} s"
            )

    @property
    def is_encoded(self) -> bool:
        """Whether it is told how frames are to be encoded."""
        return self.codec is not None or self.crf is not None or self.lossless

    @property
    def is_excerpt(self) -> bool:
        """Whether only a part of the video is asked for."""
        return self.start is not None or self.stop is not None
