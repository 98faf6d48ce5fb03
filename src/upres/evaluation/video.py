"""Models against bicubic on the frames of a video: of each frame, and how it goes on to the next.

Published tables on Vid4 compare Y of BT.601, rounded to uint8, and leave out the first two and the
last two frames, and a border, of 8 pixels by many: Jo, Oh, Kang and Kim, "Deep video
super-resolution network using dynamic upsampling filters", CVPR 2018; Sajjadi, Vemulapalli and
Brown, "Frame-recurrent video super-resolution", CVPR 2018. Some leave out another border, as
SOF-VSR does (6 pixels and the scale). Their LR frames are MATLAB's bicubic (BI), as here, or
blurred by a Gaussian of 1.6 and sampled (BD), which gives other figures.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from upres.card import Model
from upres.errors import InputError, needs_extra
from upres.evaluation.benchmark import BICUBIC, Enlarger, enlarge_rgb8
from upres.evaluation.datasets import Rgb8
from upres.evaluation.models import tell_apart
from upres.files import replacing
from upres.raster.metrics import psnr, ssim, studio_luma
from upres.raster.resize import bicubic

VIDEO_BORDER = 8
"""Pixels that are left out on each side."""

LEFT_OUT = 2
"""Frames that are left out at the beginning, and at the end."""

STILL = 1.0
"""Grey levels by which a pixel of the video itself changes at most where nothing moves."""

VIDEO_PROTOCOL = (
    "Y of BT.601, frames rounded to uint8, LR by MATLAB's bicubic, border of 8 pixels and the "
    "first and last two frames left out, as published tables on Vid4 do (BI); warping error after "
    "Lai et al., ECCV 2018, of luma in [0, 1], by flow of the video itself (iterative "
    "Lucas-Kanade); flicker: mean change of luma, in grey levels, where the video itself changes "
    "by 1 at most"
)

Luma = NDArray[np.float64]


@dataclass(frozen=True)
class FrameScores:
    """How one method did on one frame."""

    frame: int
    psnr: float
    """Decibels."""
    ssim: float
    warping: float
    """Mean squared difference from the next frame, which is moved back by the video's own flow,
    where nothing is hidden; of luma in [0, 1]."""
    flicker: float
    """Mean change to the next frame where the video itself stands still, in grey levels; NaN where
    nothing does."""


@dataclass(frozen=True)
class VideoScores:
    """How one method did on a video."""

    method: str
    frames: tuple[FrameScores, ...]

    def mean(self, measure: str) -> float:
        """Of the frames that tell a measure."""
        values = [getattr(frame, measure) for frame in self.frames]
        told = [value for value in values if not math.isnan(value)]
        return math.fsum(told) / len(told) if told else math.nan


MEASURES = ("psnr", "ssim", "warping", "flicker")


def evaluate_video(
    models: Sequence[Model],
    path: Path,
    *,
    sources: Sequence[Path] | None = None,
    enlarge: Enlarger = enlarge_rgb8,
    progress: Callable[[str], None] | None = None,
) -> list[VideoScores]:
    """Score models of one scale, and bicubic before them, on a video's frames.

    Each frame is reduced by MATLAB's bicubic, and enlarged again by each method. ``enlarge`` takes
    uint8 RGB, height x width x 3, and a model. A frame is dropped when the next two are done.

    Raises ``InputError`` if the video cannot be read, or is too short or small.
    """
    scale = models[0].card.scale
    names = tell_apart([m.label for m in models], sources or [m.path for m in models])
    scores: list[list[FrameScores]] = [[] for _ in (BICUBIC, *models)]
    before: tuple[Luma, list[Luma]] | None = None
    count = 0
    for count, frame in enumerate(_frames(path, scale), 1):
        if progress:
            progress(f"{path.name}: frame {count}")
        small: Rgb8 = bicubic(frame, scale=1 / scale)
        large = [bicubic(small, scale=scale), *(enlarge(small, model) for model in models)]
        now = (_inner(frame), [_inner(picture) for picture in large])
        if before is not None:
            motion = _Motion(before[0], now[0])
            for place, own, following in zip(scores, before[1], now[1], strict=True):
                place.append(
                    FrameScores(
                        frame=count - 1,
                        psnr=psnr(own, before[0]),
                        ssim=ssim(own, before[0]),
                        warping=motion.warping(own, following),
                        flicker=motion.flicker(own, following),
                    )
                )
        before = now
    # Of each frame the one that follows is known, but of the last.
    kept = slice(LEFT_OUT, count - LEFT_OUT)
    if count <= 2 * LEFT_OUT:
        raise InputError(f"{path}: has {count} frames, and 5 are the least that are measured")
    return [
        VideoScores(name, tuple(frames[kept]))
        for name, frames in zip((BICUBIC, *names), scores, strict=True)
    ]


def _frames(path: Path, scale: int) -> Iterator[Rgb8]:
    """The frames as uint8 RGB, cut to multiples of the scale."""
    with needs_extra("reading videos", "video"):
        from upres.formats.video.source import VideoSource
    source = VideoSource(path)
    height, width = (side - side % scale for side in (source.info.height, source.info.width))
    if min(height, width) < 2 * VIDEO_BORDER + 11:
        raise InputError(f"{path}: its frames, {width}x{height}, are too small to be measured")
    for frame in source.frames(path):
        rows = np.concatenate(list(frame))[:height, :width]
        pixels = np.floor(rows * 255 + 0.5).astype(np.uint8)
        yield np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _inner(frame: Rgb8) -> Luma:
    inner = frame[VIDEO_BORDER:-VIDEO_BORDER, VIDEO_BORDER:-VIDEO_BORDER]
    return np.round(studio_luma(np.ascontiguousarray(inner)))


class _Motion:
    """How a video moves from a frame to the next, by the video itself.

    Sources: Le Besnerais and Champagnat, "Dense optical flow by iterative local window
    registration", ICIP 2005, by scikit-image; Ruder, Dosovitskiy and Brox, "Artistic style transfer
    for videos", GCPR 2016, for what is hidden: flow there and back does not meet.
    """

    def __init__(self, first: Luma, second: Luma) -> None:
        with needs_extra("measuring videos", "eval"):
            from skimage.registration import optical_flow_ilk

        there = np.asarray(optical_flow_ilk(first, second))
        back = np.asarray(optical_flow_ilk(second, first))
        self._places = np.indices(first.shape) + there
        met = np.stack([self._moved(axis) for axis in back])
        apart = ((there + met) ** 2).sum(0)
        allowed = 0.01 * ((there**2).sum(0) + (met**2).sum(0)) + 0.5
        inside = np.ones(first.shape, bool)
        for axis, length in enumerate(first.shape):
            inside &= (self._places[axis] >= 0) & (self._places[axis] <= length - 1)
        self._seen = (apart <= allowed) & inside
        self._still = np.abs(second - first) <= STILL

    def warping(self, first: Luma, second: Luma) -> float:
        """Mean squared difference after motion is taken back, of luma in [0, 1]."""
        difference = (first - self._moved(second)) / 255
        return float((difference[self._seen] ** 2).mean()) if self._seen.any() else math.nan

    def flicker(self, first: Luma, second: Luma) -> float:
        """Mean change where nothing moves, in grey levels."""
        change = np.abs(second - first)[self._still]
        return float(change.mean()) if change.size else math.nan

    def _moved(self, plane: NDArray[Any]) -> NDArray[Any]:
        from scipy.ndimage import map_coordinates

        moved: NDArray[Any] = map_coordinates(plane, self._places, order=1, mode="nearest")
        return moved


def video_table(scores: Sequence[VideoScores], path: Path, scale: int) -> Table:
    """One row for each method, of means; the protocol stands below."""
    table = Table(title=f"{path.name}, x{scale}", caption=f"{VIDEO_PROTOCOL}.", box=SIMPLE_HEAD)
    table.add_column("method")
    for name in ("PSNR", "SSIM", "warping error", "flicker", "/ bicubic's"):
        table.add_column(name, justify="right")
    least = scores[0].mean("flicker")
    for method in scores:
        flicker = method.mean("flicker")
        table.add_row(
            method.method,
            f"{method.mean('psnr'):.2f}",
            f"{method.mean('ssim'):.4f}",
            f"{method.mean('warping'):.6f}",
            f"{flicker:.3f}",
            f"{flicker / least:.2f}" if least else "-",
        )
    return table


def write_video_scores(scores: Sequence[VideoScores], path: Path, scale: int, stem: Path) -> Path:
    """Write a line for each frame and method, and their means, as CSV, and all of it as JSON.

    ``stem`` is the files' name without a suffix; the CSV's is returned. Raises ``OutputError``.
    """
    table = stem.with_name(stem.name + ".csv")
    with replacing(table) as name, name.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "scale", "method", "frame", *MEASURES])
        for method in scores:
            for frame in method.frames:
                row = [getattr(frame, measure) for measure in MEASURES]
                writer.writerow([path.name, scale, method.method, frame.frame, *row])
            means = [method.mean(measure) for measure in MEASURES]
            writer.writerow([path.name, scale, method.method, "mean", *means])
    content = {
        "video": str(path),
        "scale": scale,
        "protocol": VIDEO_PROTOCOL,
        "methods": [
            {
                "method": method.method,
                "means": {measure: _number(method.mean(measure)) for measure in MEASURES},
                "frames": [
                    {key: _number(value) for key, value in dataclasses.asdict(frame).items()}
                    for frame in method.frames
                ],
            }
            for method in scores
        ],
    }
    with replacing(stem.with_name(stem.name + ".json")) as name:
        name.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return table


def _number(value: float) -> float | None:
    """A number as JSON has it: none that is infinite or not one."""
    return value if math.isfinite(value) else None
