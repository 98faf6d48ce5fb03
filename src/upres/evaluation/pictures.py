"""A picture in a report: its versions, where they differ, and their errors."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.evaluation.benchmark import SetResult
from upres.evaluation.datasets import Rgb8
from upres.raster.metrics import psnr, studio_luma

Errors = NDArray[np.float64]

LOSSLESS_PIXELS = 512 * 512
"""A picture of more pixels is shown as WebP of quality 92, else a report would be huge."""

CROP_SIDE = 64
"""Of the zoomed crops, in pixels of the enlarged picture."""

_MAP = np.round(mpl.colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint8)
MAP_GRADIENT = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in _MAP[::15])
"""The error maps' colours, from no error to the largest, as CSS has them."""


@dataclass(frozen=True)
class Version:
    """One way to come to the picture: a method's, or the ground truth."""

    label: str
    uri: str
    psnr: float | None
    """Of luma, the border cropped, in dB; None for the ground truth."""
    error_uri: str | None
    """The map of its error; None for the ground truth."""


@dataclass(frozen=True)
class Tile:
    """A crop of one version."""

    label: str
    uri: str
    psnr: float | None
    """Of the crop's luma, in dB; None for the ground truth."""


@dataclass(frozen=True)
class Crop:
    """A region of the picture, side by side in all versions; sides in pixels."""

    why: str
    top: int
    left: int
    height: int
    width: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Shown:
    """A picture of a benchmark set as the report shows it."""

    name: str
    height: int
    width: int
    versions: tuple[Version, ...]
    """Bicubic (at x1 the input), each model, the ground truth."""
    crops: tuple[Crop, ...]
    peak: int
    """The error, in grey levels of luma, from which on the maps are of one colour."""
    lossless: bool


def most_different(result: SetResult, count: int = 2) -> list[str]:
    """The names of the pictures where a model's PSNR is farthest from bicubic's."""
    bicubic, *models = result.methods
    distance: dict[str, float] = {}
    for model in models:
        for base, image in zip(bicubic.images, model.images, strict=True):
            gain = abs(image.scores.psnr - base.scores.psnr)
            # Two that are infinite do not differ.
            gain = 0.0 if math.isnan(gain) else gain
            distance[image.image] = max(gain, distance.get(image.image, 0.0))
    return sorted(distance, key=lambda name: -distance[name])[:count]


def show(
    name: str, hr: Rgb8, estimates: Sequence[tuple[str, Rgb8, float]], *, border: int
) -> Shown:
    """Prepare a picture for the report.

    ``estimates`` are label, picture and PSNR of bicubic (at x1 the input) and of each model, all
    uint8 RGB of the size of ``hr``; ``border`` pixels a side do not count when regions are chosen.
    """
    truth = studio_luma(hr)
    errors = [np.abs(studio_luma(image) - truth) for _, image, _ in estimates]
    peak = max(1, math.ceil(max(float(np.percentile(error, 99.5)) for error in errors)))
    versions = [
        Version(label, data_uri(image), value, data_uri(_coloured(error, peak)))
        for (label, image, value), error in zip(estimates, errors, strict=True)
    ]
    versions.append(Version("ground truth", data_uri(hr), None, None))
    side = min(CROP_SIDE, *(length - 2 * border for length in truth.shape))
    crops = []
    for why, top, left in regions(errors, side, border=border, baseline=estimates[0][0]):
        window = np.s_[top : top + side, left : left + side]
        tiles = [
            Tile(label, data_uri(image[window]), psnr(studio_luma(image[window]), truth[window]))
            for label, image, _ in estimates
        ]
        tiles.append(Tile("ground truth", data_uri(hr[window]), None))
        crops.append(Crop(why, top, left, side, side, tuple(tiles)))
    height, width = truth.shape
    return Shown(
        name, height, width, tuple(versions), tuple(crops), peak, height * width <= LOSSLESS_PIXELS
    )


def regions(
    errors: Sequence[Errors], side: int, *, border: int, baseline: str = "bicubic"
) -> list[tuple[str, int, int]]:
    """Where to look closer: why, top and left of squares of ``side`` pixels.

    ``errors`` are absolute, first those of ``baseline``: bicubic, or at x1 the input. The first
    square is where the models' mean squared errors differ most (a single model's from the
    baseline's), the second, beside it, where the models err most; ``border`` pixels a side are
    left out.
    """
    squared = [_box_means(error[border:-border, border:-border] ** 2, side) for error in errors]
    models = squared[1:]
    if len(models) > 1:
        differ, largest = "the models differ most", "the models err most"
    else:
        differ, largest = f"the model differs most from {baseline}", "the model errs most"
    compared = np.stack(models if len(models) > 1 else squared)
    found: list[tuple[str, int, int]] = []
    for why, value in (
        (differ, compared.max(axis=0) - compared.min(axis=0)),
        (largest, np.mean(models, axis=0)),
    ):
        value = value.copy()
        for _, top, left in found:
            near = np.s_[max(0, top - border - side + 1) : top - border + side]
            value[near, max(0, left - border - side + 1) : left - border + side] = -1
        place = int(value.argmax())
        top, left = divmod(place, value.shape[1])
        if value.flat[place] >= 0:  # else no room is left beside the first
            found.append((why, top + border, left + border))
    return found


def _box_means(values: Errors, side: int) -> Errors:
    """The mean over each square that lies inside, by its top left corner."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    means: Errors = np.maximum(total, 0) / side**2
    return means


def _coloured(error: Errors, peak: int) -> Rgb8:
    coloured: Rgb8 = _MAP[np.minimum(np.rint(error * (255 / peak)), 255).astype(np.uint8)]
    return coloured


def data_uri(image: Rgb8) -> str:
    """A picture as a page can hold it: PNG, or WebP above ``LOSSLESS_PIXELS``."""
    picture = pyvips.Image.new_from_array(np.ascontiguousarray(image))
    if image.shape[0] * image.shape[1] <= LOSSLESS_PIXELS:
        kind, content = "png", picture.pngsave_buffer(compression=9)
    else:
        kind, content = "webp", picture.webpsave_buffer(Q=92)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
