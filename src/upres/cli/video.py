"""The options of ``upres enlarge`` that are for videos."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from upres.cli.help import option
from upres.errors import UsageError

if TYPE_CHECKING:
    from fractions import Fraction

    from upres.formats.video.settings import VideoSettings

VIDEO = "Videos"

CodecOption = Annotated[
    Literal["x264", "x265", "av1", "vp9", "ffv1", "prores"] | None,
    option(
        "--codec",
        takes="NAME",
        help="x264, x265, av1, vp9, ffv1 or prores (default: by container and depth).",
        panel=VIDEO,
    ),
]
CrfOption = Annotated[
    float | None,
    option(
        "--crf",
        takes="NUMBER",
        help="Constant rate factor: less is better and larger (default: 17 of x264).",
        panel=VIDEO,
    ),
]
LosslessOption = Annotated[
    bool, option("--lossless", help="Lose nothing by encoding: FFV1, in .mkv.", panel=VIDEO)
]
FromOption = Annotated[
    str | None,
    option("--from", takes="TIME", help="Begin an excerpt here, such as 1:20.", panel=VIDEO),
]
ToOption = Annotated[str | None, option("--to", takes="TIME", help="End it here.", panel=VIDEO)]
LikeOption = Annotated[
    str | None,
    option(
        "--like",
        takes="VIDEO",
        help="Make a video of pictures, such as 'frames/%06d.png': times, sound and all else are "
        "those of this one.",
        panel=VIDEO,
    ),
]
PreviewOption = Annotated[
    str | None,
    option(
        "--preview",
        takes="TIME",
        help="Write the frame at this time as a picture: by bicubic, and beside it enlarged.",
        panel=VIDEO,
    ),
]
SteadyOption = Annotated[
    bool,
    option("--steady", help="Take noise down where nothing moves, over five frames.", panel=VIDEO),
]
KeepDamagedOption = Annotated[
    bool,
    option("--keep-damaged", help="Keep what can be decoded of damaged videos.", panel=VIDEO),
]


def video_settings(
    codec: Literal["x264", "x265", "av1", "vp9", "ffv1", "prores"] | None,
    crf: float | None,
    lossless: bool,
    start: str | None,
    stop: str | None,
    like: str | None,
    preview: str | None,
    steady: bool,
    keep_damaged: bool,
) -> VideoSettings:
    """The wishes that the options tell; raises ``UsageError``."""
    from upres.formats.video.settings import VideoSettings

    return VideoSettings(
        codec=codec,
        crf=crf,
        lossless=lossless,
        start=None if start is None else seconds("--from", start),
        stop=None if stop is None else seconds("--to", stop),
        like=None if like is None else Path(like),
        preview=None if preview is None else seconds("--preview", preview),
        steady=steady,
        keep_damaged=keep_damaged,
    )


def refuse_unused(
    inputs: Sequence[Path], target: Path | None, settings: VideoSettings, quality: int | None
) -> None:
    """Raise ``UsageError`` for options of videos where there is none, and of pictures the same."""
    from upres.formats.registry import SUFFIXES, suffix_in
    from upres.formats.video.settings import VideoSettings
    from upres.runs.video import is_video

    videos = all(map(is_video, inputs))
    makes_pictures = settings.preview is not None or (target is not None and not is_video(target))
    if quality is not None and videos and not makes_pictures:
        raise UsageError("--quality is for pictures: --crf is for videos")
    # Of folders, patterns and files without a known suffix, nothing is known yet.
    if (
        settings != VideoSettings()
        and settings.like is None
        and all(suffix_in(path) in SUFFIXES and not is_video(path) for path in inputs)
        and not any(map(os.path.isdir, inputs))
    ):
        raise UsageError(
            "--codec, --crf, --lossless, --from, --to, --preview and --steady are for videos"
        )


def seconds(name: str, text: str) -> Fraction:
    """A time as ``80``, ``1:20``, ``0:01:20.5``; raises ``UsageError``, which names the option."""
    from fractions import Fraction

    if not re.fullmatch(r"(\d{1,4}:)?(\d{1,4}:)?\d{1,6}(\.\d{1,9})?", text):
        raise UsageError(f"{name} {text}: give a time, such as 80, 1:20 or 0:01:20.5")
    total = Fraction(0)
    for part in text.split(":"):
        total = total * 60 + Fraction(part)
    return total
