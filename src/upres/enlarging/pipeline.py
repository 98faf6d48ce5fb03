"""The one way for pixels: a source, its plan, a sink."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from upres.card import Model
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging import light, wrapping
from upres.enlarging.agreement import Agreement, compared
from upres.enlarging.between import with_slices_between
from upres.enlarging.bounding import require_range
from upres.enlarging.consistency import agreeing
from upres.enlarging.error_map import ErrorMap
from upres.enlarging.means import keeping_means
from upres.enlarging.measuring import measured, of_whole_range
from upres.enlarging.overlaps import Block
from upres.enlarging.plan import Plan
from upres.enlarging.repeats import Repeats
from upres.enlarging.windows import Progress, TakeWidths, enlarge_windows
from upres.files import temporary_name
from upres.head import head_card_of
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool


def enlarge_into(
    source: Source,
    plan: Plan,
    sink: Sink,
    *,
    beside: Path,
    backend: Backend | None = None,
    progress: Progress | None = None,
    written: np.dtype[Any] | None = None,
    errors: ErrorMap | None = None,
) -> Agreement | None:
    """Enlarge ``source`` as its ``plan`` says, into ``sink``; committing is left to the caller.

    ``beside`` is a file beside which temporary ones may be; ``progress`` is told the part that is
    done, from 0 to 1. If the plan asks for it, gives how well the result agrees with the source,
    its samples rounded to the type ``written`` (default: the source's). ``errors`` takes the bounds
    of errors, if the plan has them.

    Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if the sink cannot
    hold the result or store it.
    """
    backend = backend or default_backend()
    info = measured(source, beside, plan.info)
    if plan.consistent:
        info = of_whole_range(info)
    result = dataclasses.replace(
        info.resized(plan.height, plan.width),
        frames=info.frames and plan.frames,
        slices=info.slices * plan.between,
        made_by=plan.summary,
    )
    sink.begin(result, source.carried)
    head = head_card_of(plan.models[0]) if errors else None
    if errors and head:
        reason = require_range(info, plan.info, plan.not_promised, plan.errors)
        errors.begin(info, (plan.height, plan.width), head, reason, carried=source.carried)
    kept = [number for number, band in enumerate(info.bands) if not band.constant]
    agreement = Agreement() if plan.check else None
    repeats = Repeats() if info.frames is None else None
    frames: Iterator[Iterator[Float32Array]] = (
        _seen(blocks, info, kept) for blocks in source.frames(beside)
    )
    if plan.between > 1:
        frames = _with_slices_between(frames, info, plan, backend, beside, progress)
    for frame, rows in enumerate(frames):
        part = None
        if progress and info.frames:
            done, each = frame / plan.frames, 1 / plan.frames
            if plan.between > 1:  # the planes across the slices of its volume were the first half
                volume = frame // (info.slices * plan.between) + 1
                done, each = (done + volume * info.slices / info.frames) / 2, each / 2
            part = partial(share, progress, done, each)
        for top, left, block in _planned_frame(
            rows,
            info,
            plan,
            backend,
            agreement,
            written=written or info.dtype,
            beside=beside,
            progress=part,
            repeats=repeats,
            widths=partial(errors.write, frame) if errors else None,
        ):
            sink.write(frame, top, left, light.from_network(block, info))
            del block  # its memory is for the next one
    return agreement


def _planned_frame(
    rows: Iterator[Float32Array],
    info: RasterInfo,
    plan: Plan,
    backend: Backend,
    agreement: Agreement | None,
    *,
    written: np.dtype[Any],
    beside: Path,
    progress: Progress | None,
    repeats: Repeats | None,
    widths: TakeWidths | None,
) -> Iterator[Block]:
    """The windows of a frame's result, as the plan says; ``agreement`` takes it into account."""
    margins = wrapping.margins(info, plan) if plan.wrap else wrapping.NONE
    wide, size = margins.around(info), margins.around_result(plan.height, plan.width)
    rows = margins.wrapped(rows)
    with ExitStack() as stack:
        given = None
        if plan.preserves != "nothing" or plan.check:
            shape = (wide.height, wide.width, len(wide.varying))
            name = temporary_name(beside, ".raw")
            given = stack.enter_context(Spool(name, shape, np.dtype(np.float32)))
            rows = _kept(rows, given)
        parts = enlarge_frame(
            rows,
            wide,
            plan.models,
            size,
            backend,
            beside=beside,
            progress=progress,
            # They are none of the input that a result can agree with.
            keep_hidden=not plan.consistent,
            keeps_palette=plan.keeps_palette,
            repeats=repeats,
            widths=widths,
        )
        if given and plan.consistent:
            parts = agreeing(parts, given, wide, plan.height // info.height, beside=beside)
        if given and plan.preserves == "mean":
            parts = keeping_means(parts, given, wide, plan.height // info.height, beside=beside)
        if given and agreement:
            parts = compared(
                parts,
                given,
                wide,
                size,
                agreement,
                written=written,
                margins=(margins.rows, margins.columns),
                beside=beside,
                by_means=plan.preserves == "mean",
            )
        for top, left, block in parts:
            yield from margins.inner(top, left, block, (plan.height, plan.width))
            del block  # its memory is for the next one


def _seen(blocks: Iterable[Rows], info: RasterInfo, kept: Sequence[int]) -> Iterator[Float32Array]:
    """Blocks of samples, those of the bands that are ``kept``, as a network sees them."""
    for block in blocks:
        varying = block if len(kept) == len(info.bands) else block[:, :, kept]
        yield light.to_network(varying, info)


def _with_slices_between(
    frames: Iterable[Iterator[Float32Array]],
    info: RasterInfo,
    plan: Plan,
    backend: Backend,
    beside: Path,
    progress: Progress | None,
) -> Iterator[Iterator[Float32Array]]:
    """The slices of volumes, with those between them that the plan asks for."""
    if plan.is_repeated:
        for frame in frames:
            blocks = list(frame)
            yield from (iter(blocks) for _ in range(plan.between))
        return

    def enlarge(plane: Float32Array, seen: RasterInfo, size: tuple[int, int]) -> Float32Array:
        made = np.empty((*size, plane.shape[2]), np.float32)
        for top, left, block in enlarge_frame(
            iter([plane]), seen, plan.models, size, backend, beside=beside
        ):
            made[top : top + len(block), left : left + block.shape[1]] = block
        return made

    def tell(volume: int, part: float) -> None:
        if progress and info.frames:
            progress((volume + part / 2) * info.slices / info.frames)

    yield from with_slices_between(
        frames, info, plan.between, enlarge, beside=beside, progress=tell
    )


def _kept(rows: Iterable[Float32Array], spool: Spool) -> Iterator[Float32Array]:
    """Blocks of rows, which are put into a spool as they pass."""
    top = 0
    for block in rows:
        spool.write(top, 0, block)
        top += len(block)
        yield block


def enlarge_frame(
    rows: Iterator[Float32Array],
    info: RasterInfo,
    models: Sequence[Model],
    size: tuple[int, int],
    backend: Backend,
    *,
    beside: Path,
    progress: Progress | None = None,
    keep_hidden: bool = True,
    keeps_palette: bool = False,
    repeats: Repeats | None = None,
    widths: TakeWidths | None = None,
) -> Iterator[tuple[int, int, Float32Array]]:
    """Enlarge a frame by one model after another, and give the windows that the last one makes.

    If it ``keeps_palette``, each pixel of the result is one of the frame's. All others go to the
    next one by way of a spool. Of a video, ``repeats`` are the windows of the frame before.
    ``widths`` takes the half-widths of a model with a head.
    """
    with ExitStack() as stack:
        # A model's cost goes by the pixels that it is given.
        costs = np.cumprod([1, *(model.card.scale**2 for model in models[:-1])])
        shares = costs / costs.sum()
        for number, model in enumerate(models):
            done, part = float(shares[:number].sum()), float(shares[number])
            last = number == len(models) - 1
            factor = model.card.scale
            windows = enlarge_windows(
                rows,
                info,
                model,
                backend,
                size=size if last else None,
                keep_hidden=keep_hidden or not last,
                progress=partial(share, progress, done, part) if progress else None,
                keeps_palette=keeps_palette,
                repeats=repeats,
                stage=number,
                widths=widths,
            )
            if last:
                yield from windows
                return
            info = dataclasses.replace(info, height=info.height * factor, width=info.width * factor)
            shape = (info.height, info.width, len(info.varying))
            spool = Spool(temporary_name(beside, ".raw"), shape, np.dtype(np.float32))
            stack.enter_context(spool)
            for top, left, block in windows:
                spool.write(top, left, block)
                del block  # its memory is for the next one
            rows = spool.blocks()


def share(progress: Progress, done: float, part: float, of_part: float) -> None:
    """Tell ``progress`` of a part of the work, behind the part that is ``done``."""
    progress(done + part * of_part)
