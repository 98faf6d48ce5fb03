"""From frames to one picture: read, place, enlarge each, sum, merge, write."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upres.engine.machine import usable_processors
from upres.engine.protocol import Backend
from upres.enlarging import gaps, light
from upres.enlarging.pipeline import enlarge_frame, enlarge_into, share
from upres.enlarging.plan import Plan
from upres.enlarging.windows import Progress
from upres.files import temporary_name
from upres.fusing.choosing import LeftFrame, choose
from upres.fusing.consensus import reconsider
from upres.fusing.frames import BurstFrame, Given, read_frames, shared_info
from upres.fusing.gathering import add_frame, no_sums
from upres.fusing.heldout import NARROWEST, HeldOut, Prediction, kernel_width
from upres.fusing.merging import Sums, curvature_of, merged
from upres.fusing.seeing import Region, tiles_of
from upres.raster.info import RasterInfo, Role
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

TILE_SIDE = 512
"""Samples of the result a side of a tile."""

MERGED_ROLES: tuple[Role, ...] = ("red", "green", "blue", "grey", "ink", "other")
"""Bands that are fused. Alpha and numbers of classes are the reference's: the mean of two shapes is
none, nor that of two classes."""

_SEEN, _ENLARGED = 0.05, 0.55
"""Parts of the work that are done when frames are read, and when all are enlarged."""


@dataclass(frozen=True)
class Fusion:
    """Facts about a result that frames were fused to."""

    used: tuple[str, ...]
    """Names of the frames that were fused, the reference first."""
    left_out: tuple[LeftFrame, ...]
    held_out: HeldOut | None
    """How well frames are predicted by others; ``None`` where there are too few of them."""
    kernel: float = 1.0
    """The width of the kernel by which frames see the scene, in parts of MATLAB's bicubic one."""


class OneFrame:
    """One frame of a source; see ``upres.raster.source.Source``."""

    def __init__(self, source: Source, number: int) -> None:
        self._source, self._number = source, number
        self.info = dataclasses.replace(source.info, frames=1, slices=1)
        self.carried = source.carried

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The frame; those before it are passed over."""
        for number, blocks in enumerate(self._source.frames(beside)):
            if number == self._number:
                yield blocks
                return
            for _ in blocks:
                pass


def fuse_into(
    given: Sequence[Given],
    reference: int,
    plan: Plan,
    sink: Sink,
    *,
    beside: Path,
    backend: Backend,
    progress: Progress | None = None,
    tile_side: int = TILE_SIDE,
) -> Fusion:
    """Fuse frames into ``sink``; committing is left to the caller.

    ``reference`` is the number of the frame whose place, exposure and metadata the result has, and
    ``plan`` the plan for it. ``beside`` is a file beside which temporary ones may be. The result is
    made in tiles of ``tile_side`` of its samples, and equals that of one tile to a tenth of a level
    of 255.

    Raises ``InputError`` if a raster turns out to be damaged, ``OutputError`` if the sink cannot
    hold the result or store it.
    """
    alone = given[reference]
    if len(given) == 1:
        source = OneFrame(alone.source, alone.frame)
        enlarge_into(source, plan, sink, beside=beside, backend=backend, progress=progress)
        return Fusion((alone.name,), (), None)
    info, reasons = shared_info(given, reference, beside)
    with ExitStack() as stack:
        frames = read_frames(given, reference, reasons, info, stack, beside)
        left_out = [LeftFrame(g.name, r) for g, r in zip(given, reasons, strict=True) if r]
        first = frames[reference]
        assert first is not None  # it is like itself
        others, repeated = _apart(first, [f for n, f in enumerate(frames) if n != reference])
        bands = info.find(*MERGED_ROLES)
        for frame in (first, *others):
            frame.bands = bands
        pool = ThreadPoolExecutor(usable_processors(), thread_name_prefix="upres-fuse")
        stack.enter_context(pool)
        work = _Work(plan, info, bands, beside, backend, stack, tile_side, pool)
        part = _Parts(progress, len(others) + 1)
        large = work.enlarged(first, part.next())
        used, unused, noise = choose(first, others, large, work.scale, bands, pool)
        left_out += repeated + unused
        if used:
            facts = work.fuse(first, used, large, noise, sink, alone.source.carried, part)
            return Fusion((first.name, *(f.name for f in used)), tuple(left_out), *facts)
    source = OneFrame(alone.source, alone.frame)
    enlarge_into(source, plan, sink, beside=beside, backend=backend, progress=progress)
    return Fusion((alone.name,), tuple(left_out), None)


def _apart(
    first: BurstFrame, others: Sequence[BurstFrame | None]
) -> tuple[list[BurstFrame], list[LeftFrame]]:
    """The frames that are unlike each other, sample by sample: a repetition tells nothing."""
    seen = {first.digest: first.name}
    found, repeated = [], []
    for frame in others:
        if frame is None:
            continue
        if frame.digest in seen:
            repeated.append(LeftFrame(frame.name, f"it is the same as {seen[frame.digest]}"))
            continue
        seen[frame.digest] = frame.name
        found.append(frame)
    return found, repeated


class _Parts:
    """Tells how far the enlarging of frames is."""

    def __init__(self, progress: Progress | None, count: int) -> None:
        self.progress, self._count, self._done = progress, count, 0

    def next(self) -> Progress | None:
        """For the next frame."""
        whole = _ENLARGED - _SEEN
        start = _SEEN + whole * min(self._done, self._count - 1) / self._count
        self._done += 1
        return partial(share, self.progress, start, whole / self._count) if self.progress else None


class _Work:
    """The work on frames whose samples are read."""

    def __init__(
        self,
        plan: Plan,
        info: RasterInfo,
        bands: tuple[int, ...],
        beside: Path,
        backend: Backend,
        stack: ExitStack,
        tile_side: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.plan, self.info, self.bands = plan, info, bands
        self.scale = plan.height // info.height
        self._beside, self._backend, self._stack = beside, backend, stack
        self._side, self._pool = max(16, tile_side // self.scale), pool

    def _spool(self, shape: tuple[int, int, int], stack: ExitStack) -> Spool:
        name = temporary_name(self._beside, ".raw")
        return stack.enter_context(Spool(name, shape, np.dtype(np.float32)))

    def enlarged(
        self, frame: BurstFrame, progress: Progress | None, stack: ExitStack | None = None
    ) -> Spool:
        """The network's result of a frame, rows x columns x bands."""
        size = (frame.info.height * self.scale, frame.info.width * self.scale)
        spool = self._spool((*size, len(frame.info.varying)), stack or self._stack)
        for top, left, block in enlarge_frame(
            frame.spool.blocks(),
            frame.info,
            self.plan.models,
            size,
            self._backend,
            beside=self._beside,
            progress=progress,
        ):
            spool.write(top, left, block)
            del block  # its memory is for the next one
        return spool

    def fuse(
        self,
        first: BurstFrame,
        used: Sequence[BurstFrame],
        large: Spool,
        noise: NDArray[np.float64],
        sink: Sink,
        carried: object,
        part: _Parts,
    ) -> tuple[HeldOut | None, float]:
        """Sum the network's results of all frames, merge, and write.

        Gives the error of frames that were held out, and the kernel's width.
        """
        # By their samples, so that rounding does not depend on the order they are given in.
        used = sorted(used, key=lambda frame: frame.digest)
        narrow = [dataclasses.replace(frame) for frame in used]
        about = (large, self.scale, self.bands, noise, self._side)
        reconsider(first, used, *about, 1.0)
        reconsider(first, narrow, *about, NARROWEST)
        tiles = tiles_of(first.size, self.scale, self._side)
        plain = other = Prediction(first, used, large, self.bands, noise, tiles)
        if any((a.weights != b.weights).any() for a, b in zip(used, narrow, strict=True)):
            other = Prediction(first, narrow, large, self.bands, noise, tiles)
        count = len(self.bands)
        sums = self._spool((self.plan.height, self.plan.width, 1 + 2 * count), self._stack)
        self._sum(sums, used, large, part, {plain, other})
        width, errors = kernel_width(plain, other, self._pool)
        if width < 1 and other is not plain:
            used = narrow
            self._sum(sums, used, large, part, ())
        tiles = [tile.by(width) for tile in tiles]
        result = self.info.resized(self.plan.height, self.plan.width)
        how = dataclasses.replace(self.plan, preserves="nothing").summary
        made_by = f"{len(used) + 1} frames fused, {how}"
        sink.begin(dataclasses.replace(result, made_by=made_by), carried)
        merging = self._merged(tiles, [first, *used], large, sums, noise)
        for number, (tile, block) in enumerate(merging, start=1):
            top, left = tile.top * self.scale, tile.left * self.scale
            self._put_gaps_back(block, tile, first)
            sink.write(0, top, left, light.from_network(block, self.info))
            if part.progress:
                share(part.progress, _ENLARGED, 1 - _ENLARGED, number / len(tiles))
        return errors, width

    def _sum(
        self,
        sums: Spool,
        used: Sequence[BurstFrame],
        large: Spool,
        part: _Parts,
        predictions: Iterable[Prediction],
    ) -> None:
        """Set sums to those of the network's results of frames; ``predictions`` get theirs, too."""
        for number, frame in enumerate(used):
            with ExitStack() as stack:
                own = self.enlarged(frame, part.next(), stack)
                self._add(sums, frame, own, large, begin=not number)
                for each in predictions:
                    each.add(number, own)

    def _add(
        self, sums: Spool, frame: BurstFrame, own: Spool, large: Spool, *, begin: bool
    ) -> None:
        """Add a frame's result to the sums; the first one of all begins them."""
        count = len(self.bands)
        size = (self.info.height, self.info.width)

        def add(tile: Region) -> None:
            known = no_sums(tile, count)
            add_frame(known, tile, frame, own, tile.of(large), self.bands, size)
            added = np.concatenate([known.weights[None], known.values, known.squares])
            block = np.moveaxis(added, 0, 2)
            if not begin:
                block = block + tile.of(sums)
            sums.write(tile.top * self.scale, tile.left * self.scale, np.ascontiguousarray(block))

        for _ in self._pool.map(add, tiles_of(size, self.scale, self._side, margin=0)):
            pass

    def _put_gaps_back(self, block: Float32Array, tile: Region, first: BurstFrame) -> None:
        """Change a tile's samples: those that the reference lacks are as it has them."""
        if first.before is None:
            return
        part = first.before[tile.top : tile.bottom, tile.left : tile.right]
        before = part.repeat(self.scale, 0).repeat(self.scale, 1)
        broken = gaps.with_gaps(self.info)
        gaps.put_back(np.moveaxis(block, 2, 0), before, broken, self.info.mask)

    def _merged(
        self,
        tiles: Sequence[Region],
        frames: Sequence[BurstFrame],
        large: Spool,
        sums: Spool,
        noise: NDArray[np.float64],
    ) -> Iterator[tuple[Region, Float32Array]]:
        """Each tile with its samples, in order; a few are worked on at once."""
        count, bound = len(self.bands), curvature_of(frames, self.scale)
        pending: deque[tuple[Region, Future[Float32Array]]] = deque()
        try:
            for tile in tiles:
                planes = np.moveaxis(tile.of(sums), 2, 0)
                known = Sums(
                    np.ascontiguousarray(planes[0]),
                    np.ascontiguousarray(planes[1 : 1 + count]),
                    np.ascontiguousarray(planes[1 + count :]),
                )
                work = (tile, frames, bound, tile.of(large), known, self.bands, noise)
                pending.append((tile, self._pool.submit(merged, *work)))
                while len(pending) > usable_processors():
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            for _, future in pending:
                future.cancel()
