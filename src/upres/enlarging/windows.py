"""Array in, array out; and the same as a stream of rows that comes out in windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.card import Model
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend, Engine
from upres.engine.wrappers import compile_window
from upres.enlarging import tiles
from upres.errors import InputError, ModelError
from upres.models import (
    DEFAULT_MODEL,
    Precision,
    at_precision,
    computed_in,
    open_model,
    read_model,
    shipped_models,
)
from upres.raster.pixels import (
    FILL_RADIUS,
    NEUTRAL_RADIUS,
    Float32Array,
    copy_planes,
    fill_transparent,
    from_float,
    keep_in_range,
    keep_neutral,
    luma,
    to_float,
)
from upres.raster.resize import apply_taps, bicubic_taps

STRIP_BYTES = 2**25
"""What the input's rows that are kept for a row of windows may take."""

Progress = Callable[[float], None]
"""Is told the part that is done, from 0 to 1."""


def enlarge(
    image: NDArray[Any],
    *,
    scale: int | None = None,
    model: Model | str | Path = DEFAULT_MODEL,
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Enlarge a picture ``scale`` times with a super-resolution model.

    ``image`` is height x width (grey) or height x width x channels: 1 grey, 2 grey and
    alpha, 3 RGB, 4 RGB and alpha (not premultiplied). Its dtype is uint8, uint16, or
    floating-point in [0, 1]; values are as stored in photographs (gamma-encoded). The
    result has the same axes, channels and dtype, and ``scale`` times the height and
    width; floating-point results are clipped to [0, 1].

    ``model`` is the name of a shipped model, the path of an .onnx file, or a loaded
    model; ``scale`` chooses among a shipped model's scales (default: its largest), and
    ``precision`` between its variants in float32 and in int8 (default: int8 where the
    processor is made for it), and of computing the former in bfloat16. A model that is
    loaded, or given by its path, is of one variant.

    Raises ``InputError`` for what is no array, or one of another shape or dtype,
    ``ModelError`` if there is no such model or it has not the scale or precision, and in a
    process that was forked from one that has enlarged already: spawn it instead.
    """
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise InputError(f"expected a NumPy array, got {kind}: numpy.asarray(picture) makes one")
    # Not a subclass, whose indexing and arithmetic may differ: numpy.matrix stays of two axes,
    # and what a masked array hides would be checked by nobody.
    image = np.asarray(image)
    if not isinstance(model, Model):
        model = open_model(at_precision(model, precision, default_backend()), scale=scale)
    elif scale is not None:
        model.require_scale(scale)
    model = computed_in(model, precision, default_backend())
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
    for top, left, block in enlarge_windows(
        [pixels],
        height=height,
        width=width,
        model=model,
        alpha=pixels.shape[2] in (2, 4),
        progress=progress,
    ):
        rows, columns, kept = block.shape
        place = result[top : top + rows, left : left + columns, :kept]
        copy_planes(place, from_float(block, image.dtype))
        del block  # its memory is for the next one
    return result if image.ndim == 3 else result[:, :, 0]


def stages(
    model: str | Path,
    factor: float | None,
    precision: Precision = "auto",
    *,
    first: str | None = None,
) -> list[Model]:
    """The models that one after another enlarge at least ``factor`` times.

    Of a shipped model's scales, as few as do it, and of those the smallest product; a
    model that is given by path has one scale, and is repeated. ``None`` is the model's
    largest scale. The largest scale comes last: what is before it works on fewer pixels.
    ``precision`` is as for ``enlarge``.

    ``first`` is a shipped model for the first of them, if one of its scales serves: all
    others see what the first has made of the picture.

    Raises ``ModelError`` if there is no such model or precision, or it does not enlarge.
    """
    backend = default_backend()
    model = at_precision(model, precision, backend)
    largest = open_model(model)
    factor = largest.card.scale if factor is None else factor
    if largest.card.scale < 2 and factor > 1:
        raise ModelError(f"{largest.path}: this model does not enlarge, so not {factor:g} times")
    scales = shipped_models().get(str(model), {largest.card.scale: largest.path})
    for count in itertools.count(1):
        if largest.card.scale**count >= factor:
            break
    opens = shipped_models()[at_precision(first, precision, backend)] if first else {}
    for opening in (opens, scales):
        fitting = [
            (start, *rest)
            for start in sorted(opening)
            for rest in itertools.combinations_with_replacement(sorted(scales), count - 1)
            if start * math.prod(rest) >= factor
        ]
        if fitting:
            break
    # Of equals the first, which begins with the smallest scale.
    start, *rest = min(fitting, key=math.prod)
    paths = [opening[start], *(scales[scale] for scale in rest)]
    return [computed_in(read_model(path), precision, backend) for path in paths]


def enlarge_windows(
    rows: Iterable[Float32Array],
    *,
    height: int,
    width: int,
    model: Model,
    alpha: bool = False,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
    window_pixels: int | None = None,
    strip_bytes: int = STRIP_BYTES,
    backend: Backend | None = None,
) -> Iterator[tuple[int, int, Float32Array]]:
    """Enlarge a picture that comes in blocks of rows and goes in windows.

    Each block is any number of rows x ``width`` x channels, float32 in [0, 1]; together
    they have ``height`` rows. Of the channels, the last is alpha if ``alpha`` says so
    (not premultiplied); the first three are RGB, and all others, or all of one or two,
    are each enlarged as grey. Four without alpha are inks, which stay within the range of
    the input around them. Gives row, column and pixels of each part of the result,
    float32 clipped to [0, 1]; together they cover it once, from the top.

    ``size``, the result's height and width, may be less than the model's scale makes of
    the picture: then each window is reduced by antialiased bicubic (``upres.raster.resize``).

    Memory does not grow with the picture's height, nor with its width beyond the few rows
    that a window and its halo take: of the input, the rows that windows still need are
    kept, ``strip_bytes`` if the halo allows it, and windows have at most ``window_pixels``
    (input pixels), or less if ``backend`` says so, and more where the halo would leave little
    of them. A model without a halo, which looks at the whole picture, gets it as one window.

    The result equals that of one window over the whole picture, to float32 rounding.
    """
    backend = backend or default_backend()
    limits = backend.limits(model)
    most_pixels = min(window_pixels or limits.window_pixels, limits.window_pixels)
    card = model.card
    multiple = card.multiple_of
    full = (height * card.scale, width * card.scale)
    size = size or full
    padded = tuple(tiles.round_up(side, multiple) for side in (height, width))
    source = _padded(rows, *padded)
    blocks = [next(source)]
    reductions = [reduced / whole for reduced, whole in zip(size, full, strict=True)]
    # A sample of the result may lie half of its own width off a window's border.
    reach = 0 if size == full else math.ceil((2.5 / min(1, *reductions) + 1) / card.scale)
    # Global statistics need the whole picture, at whatever cost of memory.
    whole = card.halo is None
    grid = tiles.plan(
        *padded,
        halo=max(card.halo or 0, NEUTRAL_RADIUS) + alpha * FILL_RADIUS + reach,
        max_pixels=math.prod(padded) if whole else most_pixels,
        max_height=None if whole else strip_bytes // (4 * padded[1] * blocks[0].shape[2]),
        multiple=multiple,
        units=limits.multiples,
    )
    engine = compile_window(backend, model, *grid.window)
    lines = [_Pieces(height, size[0], card.scale), _Pieces(width, size[1], card.scale)]
    top = 0  # the picture's row that is the first of blocks
    done, total = 0, len(grid.rows) * len(grid.columns)
    for row in grid.rows:
        while blocks and top + len(blocks[0]) <= row.start:
            top += len(blocks.pop(0))
        while top + sum(map(len, blocks)) < row.stop:
            block = next(source)
            if blocks or top + len(block) > row.start:
                blocks.append(block)
            else:
                top += len(block)
        for column in grid.columns:
            parts, position = [], top
            for block in blocks:
                first, last = max(0, row.start - position), max(0, row.stop - position)
                parts.append(block[first:last, column.start : column.stop])
                position += len(block)
            window = _run(engine, np.concatenate(parts), alpha)
            np.clip(window, 0, 1, out=window)
            y, window = lines[0].of(row, 1, window)
            x, window = lines[1].of(column, 2, window)
            if size != full:
                np.clip(window, 0, 1, out=window)
            yield y, x, np.moveaxis(window, 0, 2)
            del window  # its memory is for the next one
            done += 1
            if progress:
                progress(done / total)


class _Pieces:
    """Along one axis, which piece of the result comes from which window, and how."""

    def __init__(self, length: int, size: int, scale: int) -> None:
        self.length, self.size, self.scale = length, size, scale
        self.taps = None if size == length * scale else bicubic_taps(length * scale, size)

    def of(self, span: tiles.Span, axis: int, window: Float32Array) -> tuple[int, Float32Array]:
        """Where the piece starts in the result, and its pixels of an enlarged window.

        ``window`` is channels x height x width.
        """
        first, last = (
            (min(end, self.length) * self.size * 2 + self.length) // (2 * self.length)
            for end in (span.keep_start, span.keep_stop)
        )
        start = span.start * self.scale
        if self.taps is None:
            kept = slice(first - start, last - start)
            return first, window[:, kept] if axis == 1 else window[:, :, kept]
        weights, indices = self.taps
        return first, apply_taps(window, axis, weights[first:last], indices[first:last] - start)


def _run(engine: Engine, window: Float32Array, alpha: bool) -> Float32Array:
    """Enlarge a window, height x width x channels, to channels x height x width; not clipped.

    Four colours are inks.
    """
    if alpha:
        window = np.concatenate([fill_transparent(window), window[:, :, -1:]], axis=2)
    colours = window.shape[2] - alpha
    parts = []
    if colours >= 3:
        colour = np.ascontiguousarray(window[:, :, :3].transpose(2, 0, 1))
        parts.append(keep_neutral(engine(colour[None])[0], colour))
    for channel in range(3 if colours >= 3 else 0, window.shape[2]):
        grey = np.repeat(window[None, None, :, :, channel], 3, axis=1)
        parts.append(luma(engine(grey)[0])[None])
    if colours == 4:
        planes = np.concatenate(parts)
        for plane, given in zip(planes, np.moveaxis(window, 2, 0), strict=True):
            plane[...] = keep_in_range(plane, given)
        return planes
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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
