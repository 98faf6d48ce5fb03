"""The one way for pixels: a source, its plan, a sink."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from upres.card import Model
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging import light, wrapping
from upres.enlarging.measuring import measured
from upres.enlarging.plan import Plan
from upres.enlarging.windows import Progress, enlarge_windows
from upres.files import temporary_name
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Sink, Source
from upres.raster.spool import Spool


def enlarge_into(
    source: Source,
    plan: Plan,
    sink: Sink,
    *,
    beside: Path,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> None:
    """Enlarge ``source`` as its ``plan`` says, into ``sink``; committing is left to the caller.

    ``beside`` is a file beside which temporary ones may be; ``progress`` is told the part that is
    done, from 0 to 1.

    Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if the sink cannot
    hold the result or store it.
    """
    backend = backend or default_backend()
    info = measured(source, beside)
    sink.begin(info.resized(plan.height, plan.width), source.carried)
    kept = [number for number, band in enumerate(info.bands) if not band.constant]
    margins = wrapping.margins(info, plan) if plan.wrap else wrapping.NONE
    wide, size = margins.around(info), margins.around_result(plan.height, plan.width)
    for frame, blocks in enumerate(source.frames(beside)):
        rows = (
            light.to_network(block if len(kept) == len(info.bands) else block[:, :, kept], info)
            for block in blocks
        )
        part = None
        if progress and info.frames:
            part = partial(share, progress, frame / info.frames, 1 / info.frames)
        for top, left, block in enlarge_frame(
            margins.wrapped(rows),
            wide,
            plan.models,
            size,
            backend,
            beside=beside,
            progress=part,
            keeps_palette=plan.keeps_palette,
        ):
            for own in margins.inner(top, left, block, (plan.height, plan.width)):
                sink.write(frame, own[0], own[1], light.from_network(own[2], info))
                del own
            del block  # its memory is for the next one


def enlarge_frame(
    rows: Iterator[Float32Array],
    info: RasterInfo,
    models: Sequence[Model],
    size: tuple[int, int],
    backend: Backend,
    *,
    beside: Path,
    progress: Progress | None = None,
    keeps_palette: bool = False,
) -> Iterator[tuple[int, int, Float32Array]]:
    """Enlarge a frame by one model after another, and give the windows that the last one makes.

    If it ``keeps_palette``, each pixel of the result is one of the frame's. All others go to the
    next one by way of a spool.
    """
    with ExitStack() as stack:
        # What a model costs goes by the pixels that it is given.
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
                progress=partial(share, progress, done, part) if progress else None,
                keeps_palette=keeps_palette,
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
    """Tell ``progress`` of a part of the work that follows what is ``done``."""
    progress(done + part * of_part)
