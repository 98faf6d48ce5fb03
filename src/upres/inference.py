"""Array in, array out; and the same as a stream of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres import tiles
from upres.engine import Engine, Float32Array, compile_window
from upres.errors import InputError
from upres.model import DEFAULT_MODEL, Model, load_model

WINDOW_PIXELS = 512 * 512
"""Largest window, in input pixels."""

FILL_RADIUS = 4
"""How far, in input pixels, visible colour is continued under what is transparent."""

Progress = Callable[[float], None]
"""Is told the part that is done, from 0 to 1."""


def enlarge(
    image: NDArray[Any],
    *,
    scale: int | None = None,
    model: Model | str | Path = DEFAULT_MODEL,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Enlarge a picture ``scale`` times with a super-resolution model.

    ``image`` is height x width (grey) or height x width x channels: 1 grey, 2 grey and
    alpha, 3 RGB, 4 RGB and alpha (not premultiplied). Its dtype is uint8, uint16, or
    floating-point in [0, 1]; values are as stored in photographs (gamma-encoded). The
    result has the same axes, channels and dtype, and ``scale`` times the height and
    width; floating-point results are clipped to [0, 1].

    ``model`` is the name of a shipped model, the path of an .onnx file, or a loaded
    model; ``scale`` chooses among a shipped model's scales (default: its largest).

    Raises ``InputError`` for an array of another shape or dtype, ``ModelError`` if there
    is no such model or it has not the scale.
    """
    if not isinstance(model, Model):
        model = load_model(model, scale=scale)
    elif scale is not None:
        model.require_scale(scale)
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] > 4):
        raise InputError(
            f"expected a picture of height x width [x 1 to 4 channels], got shape {image.shape}"
        )
    pixels = to_float(image if image.ndim == 3 else image[:, :, None])
    height, width, channels = pixels.shape
    opaque = channels in (2, 4) and bool((pixels[:, :, -1] == 1).all())
    if opaque:
        pixels = pixels[:, :, :-1]
    result = np.empty((height * model.card.scale, width * model.card.scale, channels), image.dtype)
    if opaque:
        result[:, :, -1] = from_float(np.ones(1, np.float32), image.dtype)
    top = 0
    for block in enlarge_rows([pixels], height=height, width=width, model=model, progress=progress):
        result[top : top + len(block), :, : block.shape[2]] = from_float(block, image.dtype)
        top += len(block)
    return result if image.ndim == 3 else result[:, :, 0]


def enlarge_rows(
    rows: Iterable[Float32Array],
    *,
    height: int,
    width: int,
    model: Model,
    progress: Progress | None = None,
    window_pixels: int = WINDOW_PIXELS,
) -> Iterator[Float32Array]:
    """Enlarge a picture that comes and goes in blocks of rows, from the top.

    Each block is any number of rows x ``width`` x channels (1 to 4, as in ``enlarge``),
    float32 in [0, 1]; together they have ``height`` rows. Blocks of the result, clipped
    to [0, 1], come as soon as they can be made, and only the rows that windows still need
    are kept, so memory grows with the width alone.

    Windows are planned so that the result equals that of one window over the whole
    picture, to float32 rounding, whatever ``window_pixels``.
    """
    card = model.card
    multiple = card.multiple_of
    padded_height, padded_width = (-(-side // multiple) * multiple for side in (height, width))
    source = _padded(rows, padded_height, padded_width)
    kept = next(source)
    has_alpha = kept.shape[2] in (2, 4)
    grid = tiles.plan(
        padded_height,
        padded_width,
        halo=card.halo + has_alpha * FILL_RADIUS,
        max_pixels=window_pixels,
        multiple=multiple,
    )
    engine = compile_window(model, *grid.window)
    top = 0  # the picture's row that is kept[0]
    done, total = 0, len(grid.rows) * len(grid.columns)
    for row in grid.rows:
        while top + len(kept) < row.stop:
            kept = np.concatenate([kept[max(0, row.start - top) :], next(source)])
            top = max(top, row.start)
        strip = kept[row.start - top : row.stop - top]
        keep_rows = slice(
            (row.keep_start - row.start) * card.scale, (row.keep_stop - row.start) * card.scale
        )
        parts = []
        for column in grid.columns:
            window = _run(engine, strip[:, column.start : column.stop])
            keep_columns = slice(
                (column.keep_start - column.start) * card.scale,
                (column.keep_stop - column.start) * card.scale,
            )
            parts.append(window[keep_rows, keep_columns])
            done += 1
            if progress:
                progress(done / total)
        block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        np.clip(block, 0, 1, out=block)
        yield block[: (height - row.keep_start) * card.scale, : width * card.scale]


def to_float(image: NDArray[Any]) -> Float32Array:
    """uint8, uint16 or floating-point samples as float32 in [0, 1].

    Raises ``InputError`` for another dtype, or floating-point values outside [0, 1].
    """
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"expected uint8, uint16 or floating-point samples, got {image.dtype}")
    if not (image.min() >= 0 and image.max() <= 1):  # so that NaN fails, too
        raise InputError(
            f"floating-point samples must lie in [0, 1], got {image.min():g} to {image.max():g}"
        )
    return image.astype(np.float32, copy=False)


def from_float(image: Float32Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """float32 samples in [0, 1] as ``dtype``: uint8 and uint16 rounded to the nearest."""
    if np.issubdtype(dtype, np.floating):
        return image.astype(dtype, copy=False)
    return (image * np.float32(np.iinfo(dtype).max) + np.float32(0.5)).astype(dtype)


def _run(engine: Engine, window: Float32Array) -> Float32Array:
    """Enlarge one window of 1 to 4 channels with an engine that takes RGB; not clipped."""
    channels = window.shape[2]
    if channels == 1:
        grey = _run(engine, np.repeat(window, 3, axis=2)).mean(axis=2, keepdims=True)
        return np.asarray(grey, np.float32)
    if channels == 3:
        output: Float32Array = engine(np.ascontiguousarray(window.transpose(2, 0, 1))[None])[0]
        return np.moveaxis(output, 0, 2)
    colour = _run(engine, _fill_transparent(window))
    return np.concatenate([colour, _run(engine, window[:, :, -1:])], axis=2)


def _fill_transparent(window: Float32Array) -> Float32Array:
    """The colour channels, with visible neighbours' colour where alpha is zero.

    What a file stores there is arbitrary, often black, and would bleed into the edge. The
    fill is the mean of the pixels at most ``FILL_RADIUS`` away, weighted by their alpha.
    """
    colour, alpha = window[:, :, :-1], window[:, :, -1:]
    weighted = np.concatenate([colour * alpha, alpha], axis=2)
    for axis in (0, 1):
        margin = [(FILL_RADIUS, FILL_RADIUS) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(weighted, margin)
        weighted = np.lib.stride_tricks.sliding_window_view(padded, 2 * FILL_RADIUS + 1, axis)
        weighted = weighted.sum(axis=-1)
    fill = weighted[:, :, :-1] / np.maximum(weighted[:, :, -1:], 1e-6)
    return np.where(alpha > 0, colour, fill)


def _padded(rows: Iterable[Float32Array], height: int, width: int) -> Iterator[Float32Array]:
    """Blocks of rows, with the last row and column repeated to fill height and width."""
    count = 0
    for block in rows:
        if block.shape[1] < width:
            block = np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0)), mode="edge")
        count += len(block)
        yield block
    if count < height:
        yield np.repeat(block[-1:], height - count, axis=0)
