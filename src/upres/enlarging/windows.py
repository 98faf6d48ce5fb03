"""A frame that comes in blocks of rows and goes in enlarged windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from upres.card import Model
from upres.engine.protocol import Backend
from upres.engine.wrappers import compile_window
from upres.enlarging import tiles
from upres.enlarging.ahead import worked
from upres.enlarging.pieces import Axis
from upres.enlarging.repeats import Repeats, WindowPlace
from upres.enlarging.steps import Step, steps_for
from upres.enlarging.window import Window
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array

STRIP_BYTES = 2**25
"""Most memory of the input's rows that are kept for a row of windows."""

TakeWidths = Callable[[int, int, Float32Array], None]
"""Takes row, column and the half-widths there, groups x rows x columns, which are its own."""

Progress = Callable[[float], None]
"""Is told the part that is done, from 0 to 1."""

_Work = tuple[WindowPlace, Float32Array, Window, Float32Array | None]
"""A window's place, its part of the raster, the window itself, and its result, if that is known."""


def enlarge_windows(
    rows: Iterable[Float32Array],
    info: RasterInfo,
    model: Model,
    backend: Backend,
    *,
    size: tuple[int, int] | None = None,
    keep_hidden: bool = True,
    progress: Progress | None = None,
    window_pixels: int | None = None,
    strip_bytes: int = STRIP_BYTES,
    keeps_palette: bool = False,
    repeats: Repeats | None = None,
    stage: int = 0,
    widths: TakeWidths | None = None,
) -> Iterator[tuple[int, int, Float32Array]]:
    """Enlarge a frame by one model.

    Each block of ``rows`` is any number of rows x width x the bands of ``info`` that vary, float32
    in [0, 1]; together they have ``info.height`` rows. Gives row, column and pixels of each part
    of the result, float32 in [0, 1]; together they cover it once, from the top.

    ``size``, the result's height and width, may be less than the model's scale makes of the
    frame: then each window is reduced by antialiased bicubic (``upres.raster.resize``).

    Memory does not grow with the frame's height, nor with its width beyond the few rows that a
    window and its halo take: of the input, the rows that windows still need are kept,
    ``strip_bytes`` if the halo allows it, and windows have at most ``window_pixels`` input pixels
    (default: the engine's limit for the model), and more where the halo would leave little of
    them. A model without a halo, which looks at the whole picture, gets it as one window.

    If it ``keeps_palette``, each pixel of the result is one of the frame's. Without
    ``keep_hidden``, colours that alpha hides are those of visible neighbours. Of a video,
    ``repeats`` has the windows of the frame before, by this model's number, its ``stage``. Of a
    model with a head, ``widths`` takes the half-widths of each window before that is given.

    The result equals that of one window over the whole frame, to float32 rounding.
    """
    card, limits = model.card, backend.limits(model)
    size = size or (info.height * card.scale, info.width * card.scale)
    padded = tuple(tiles.round_up(side, card.multiple_of) for side in (info.height, info.width))
    steps = steps_for(info, card, size, keep_hidden=keep_hidden, keeps_palette=keeps_palette)
    # Global statistics need the whole picture, at whatever cost of memory.
    whole = card.halo is None
    row_bytes = 4 * padded[1] * len(info.varying)
    grid = tiles.cut_grid(
        *padded,
        halo=sum(step.reach for step in steps),
        max_pixels=math.prod(padded) if whole else window_pixels or limits.window_pixels,
        max_height=None if whole else strip_bytes // row_bytes,
        multiple=card.multiple_of,
        units=(1, 1) if whole else limits.multiples,
    )
    engine = compile_window(backend, model, *grid.window)
    axes = (Axis(info.height, size[0], card.scale), Axis(info.width, size[1], card.scale))
    strips = _strips(_padded(rows, *padded), grid.rows)
    last = 1 + next(number for number, step in enumerate(steps) if step.by_engine)

    def opened() -> Iterator[_Work]:
        for row, strip in zip(grid.rows, strips, strict=True):
            for column in grid.columns:
                given = np.concatenate([block[:, column.start : column.stop] for block in strip])
                place = (stage, row.start, column.start)
                found = repeats.find(place, given) if repeats else None
                pieces = (axes[0].piece(row), axes[1].piece(column))
                yield place, given, Window(given, engine, pieces, alpha=info.alpha), found

    def computed(work: _Work) -> None:
        _, _, window, found = work
        for step in steps[:last] if found is None else ():
            step.run(window)

    left = total = len(grid.rows) * len(grid.columns)
    for place, given, window, result in worked(
        opened(), computed, ahead=limits.ahead and total > 1
    ):
        rows_piece, columns_piece = window.pieces
        if result is None:
            result = _finished(steps[last:], window)
            if widths:
                kept = rows_piece.reduced(np.stack(window.widths), 1)
                widths(rows_piece.start, columns_piece.start, columns_piece.reduced(kept, 2))
            if repeats:
                repeats.keep(place, given, result)
        del given, window
        yield rows_piece.start, columns_piece.start, result
        del result  # its memory is for the next one
        left -= 1
        if progress:
            progress((total - left) / total)


def _finished(steps: Iterable[Step], window: Window) -> Float32Array:
    """Take a window through the last steps; its memory is for the next one, once nobody has it."""
    for step in steps:
        step.run(window)
    return np.moveaxis(window.planes, 0, 2)


def _strips(
    source: Iterator[Float32Array], spans: Iterable[tiles.Span]
) -> Iterator[list[Float32Array]]:
    """For each span of rows, the blocks, cut to it, that together are those rows."""
    blocks: list[Float32Array] = []
    top = 0  # the row that is the first of blocks
    for span in spans:
        while blocks and top + len(blocks[0]) <= span.start:
            top += len(blocks.pop(0))
        while top + sum(map(len, blocks)) < span.stop:
            block = next(source)
            if blocks or top + len(block) > span.start:
                blocks.append(block)
            else:
                top += len(block)
        parts, position = [], top
        for block in blocks:
            first, last = max(0, span.start - position), max(0, span.stop - position)
            parts.append(block[first:last])
            position += len(block)
        yield parts


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
