"""Parts of pictures as small PNG files, for a page: of any format that is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyvips

from upres.engine.protocol import Backend
from upres.enlarging import light
from upres.enlarging.measuring import measured
from upres.errors import UpresError
from upres.formats.metadata.carried import Carried
from upres.formats.registry import open_pages
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.resize import apply_taps, bicubic_taps
from upres.raster.source import Source
from upres.service.orders import Order, Tell

MOST_SIDE = 1280
"""Pixels of a view's sides, at most."""

_PIXELS_AT_ONCE = 2**18
"""Of a wide picture a few rows: a view's process has no plan of its memory."""

Of = Literal["picture", "result", "bicubic", "errors"]
"""The picture as it came, its result, the picture enlarged by bicubic interpolation, or the colours
of the result's error map, without their legend."""

_OF_RESULT = ("result", "errors")
"""These have the result's pixels."""


@dataclass(frozen=True)
class Cut:
    """A part of the result, in its pixels; without a size, all of it."""

    left: int = 0
    top: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Seen:
    """A picture that is to be seen."""

    of: Of
    made: Path
    """The result, or the PNG of its error map."""
    size: tuple[int, int]
    """Height and width of the result."""


def view(order: Order, shown: Seen, box: Cut, *, backend: Backend, tell: Tell) -> bytes:
    """A PNG of a part of a picture or its result.

    Of several pages and frames it is the first. Raises ``ProblemError`` where it cannot be read.
    """
    path = shown.made if shown.of in _OF_RESULT else order.source
    try:
        source = open_pages(path)[0]
        info = measured(source, path)
        if shown.of == "bicubic" and box.width:
            values = _enlarged_part(source, info, shown.size, box)
        else:
            height, width = shown.size if shown.of == "errors" else (info.height, info.width)
            cut = box if shown.of in _OF_RESULT and box.width else Cut(0, 0, width, height)
            values = _reduced_part(source, info, cut)
        return _png(values, info, source)
    except UpresError as error:
        raise order.problem(error) from None


def _blocks(source: Source, info: RasterInfo, box: Cut) -> Iterator[Float32Array]:
    """Some rows of a part at a time: rows x columns x bands that vary, 0 to 1."""
    kept = [number for number, band in enumerate(info.bands) if not band.constant]
    top = 0
    for block in next(source.frames(Path(info.name))):
        first, last = max(0, box.top - top), min(len(block), box.top + box.height - top)
        rows = max(1, _PIXELS_AT_ONCE // box.width)
        for start in range(first, last, rows):
            some = block[start : min(last, start + rows), box.left : box.left + box.width]
            yield light.to_network(some[:, :, kept], info)
        top += len(block)
        if top >= box.top + box.height:
            return


def _reduced_part(source: Source, info: RasterInfo, box: Cut) -> Float32Array:
    """A part, reduced to means of whole squares until it is small enough."""
    step = -(-max(box.height, box.width) // MOST_SIDE)
    steps = min(step, box.height), min(step, box.width)
    # In one piece: small arrays that are kept between large ones that go cost a gigabyte.
    shape = (box.height // steps[0], box.width // steps[1], len(info.varying))
    made = np.empty(shape, np.float32)
    done = 0
    rest = np.empty((0, box.width, len(info.varying)), np.float32)
    for block in _blocks(source, info, box):
        rest = np.concatenate([rest, block])
        count = len(rest) // steps[0]
        made[done : done + count] = _means(rest[: count * steps[0]], steps)
        done += count
        rest = rest[count * steps[0] :]
    return made


def _means(block: Float32Array, steps: tuple[int, int]) -> Float32Array:
    """Means of rectangles of samples; columns beyond the last whole one are left out."""
    if steps == (1, 1):
        return block
    columns = block.shape[1] // steps[1]
    cut = block[:, : columns * steps[1]]
    shape = (len(cut) // steps[0], steps[0], columns, steps[1], cut.shape[2])
    means: Float32Array = cut.reshape(shape).mean((1, 3), dtype=np.float32)
    return means


def _enlarged_part(
    source: Source, info: RasterInfo, size: tuple[int, int], box: Cut
) -> Float32Array:
    """A part of the picture enlarged to ``size``, height and width, by MATLAB's bicubic."""
    rows, columns = (
        (weights[start : start + length], indices[start : start + length])
        for (weights, indices), start, length in (
            (bicubic_taps(info.height, size[0]), box.top, box.height),
            (bicubic_taps(info.width, size[1]), box.left, box.width),
        )
    )
    top, left = int(rows[1].min()), int(columns[1].min())
    needed = Cut(left, top, int(columns[1].max()) + 1 - left, int(rows[1].max()) + 1 - top)
    given = np.concatenate(list(_blocks(source, info, needed)))
    planes = np.ascontiguousarray(given.transpose(2, 0, 1))
    planes = apply_taps(planes, 1, rows[0], rows[1] - top)
    planes = apply_taps(planes, 2, columns[0], columns[1] - left)
    return np.moveaxis(planes, 0, 2)


def _png(values: Float32Array, info: RasterInfo, source: Source) -> bytes:
    """8 bits of grey or colours, with transparency and the profile if there are any."""
    colours = info.colour_bands
    numbers = list(colours) if colours else [0]
    if info.alpha not in (None, *numbers):
        numbers.append(info.alpha or 0)
    samples = np.rint(np.clip(values[:, :, numbers], 0, 1) * 255).astype(np.uint8)
    kind = "srgb" if colours else "b-w"
    image = pyvips.Image.new_from_array(samples).copy(interpretation=kind)
    carried = source.carried
    profile = carried.find("icc-profile-data") if isinstance(carried, Carried) else None
    if colours and profile and info.colours != "linear":
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    content: bytes = image.pngsave_buffer(compression=1)
    return content
