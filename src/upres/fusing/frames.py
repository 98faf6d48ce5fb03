"""The frames of several rasters: their samples, kept as values from 0 to 1 that mean the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upres.enlarging import gaps, light
from upres.enlarging.measuring import measured
from upres.errors import InputError
from upres.files import temporary_name
from upres.fusing.motion import Homography, inverse, shift, with_last_one
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, luma
from upres.raster.source import Rows, Source
from upres.raster.spool import Spool


@dataclass
class BurstFrame:
    """One frame: its samples, and where it lies in the reference."""

    name: str
    """Names it in messages: a file, and the number of a page or frame if it has several."""
    info: RasterInfo
    """The reference's, of this frame's height and width."""
    spool: Spool
    """Rows x columns x bands, from 0 to 1 by the range that all frames share."""
    digest: bytes
    """Of its samples: the order of frames is by this, and so does not depend on the user's."""
    place: Homography = field(default_factory=lambda: np.eye(3))
    """From its coordinates to the reference's."""
    told_place: Homography | None = None
    """The same as their files tell it, roughly, if both tell where they lie on the ground."""
    gains: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """By which the reference's values become its own, band by band, with ``offsets``."""
    offsets: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    bands: tuple[int, ...] = ()
    """Which bands are fused: all but alpha and numbers of classes."""
    missing: NDArray[np.bool_] | None = None
    """Rows x columns: whether a sample of some band is missing; they are filled in ``spool``."""
    before: Float32Array | None = None
    """All samples as they were before that, if some are missing."""
    weights: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    """How much each of its samples counts, from 0 to 255."""

    def shown(self, top: int, rows: int, left: int, columns: int) -> NDArray[np.bool_] | None:
        """Where nothing is transparent or missing; ``None`` if that is everywhere."""
        shown = None
        if self.info.alpha is not None:
            shown = self.part(top, rows, left, columns)[:, :, self.info.alpha] >= 1
        if self.missing is not None:
            there = ~self.missing[top : top + rows, left : left + columns]
            shown = there if shown is None else shown & there
        return shown

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.info.height, self.info.width

    def part(self, top: int, rows: int, left: int, columns: int) -> Float32Array:
        """Some of its samples, rows x columns x bands."""
        part: Float32Array = self.spool.part(top, rows, left, columns)
        return part

    def grey(self, bands: Sequence[int]) -> Float32Array:
        """The mean of the bands that tell where it lies; of red, green and blue, luma."""
        return np.concatenate([grey_of(block, self.info, bands) for block in self.spool.blocks()])


def grey_of(block: Float32Array, info: RasterInfo, bands: Sequence[int]) -> Float32Array:
    """Rows x columns x bands as a plane: luma, if the bands are red, green and blue."""
    colours = info.colour_bands
    if colours is not None:
        return luma(np.moveaxis(block[:, :, list(colours)], 2, 0))
    mean: Float32Array = block[:, :, list(bands)].mean(2, dtype=np.float32)
    return mean


@dataclass(frozen=True)
class Given:
    """A frame of a source, before it is read."""

    name: str
    source: Source
    frame: int
    """Its number in the source, from 0."""


def frames_of(sources: Sequence[Source], beside: Path) -> list[Given]:
    """The frames of all sources in turn, each with its name.

    Raises ``InputError`` where a source whose frames have to be counted is damaged.
    """
    found = []
    for source in sources:
        count = source.info.frames
        if count is None:
            count = sum(1 for frame in source.frames(beside) for _ in _taken(frame))
        for number in range(count):
            name = source.info.name
            if source.info.page:
                name += f" (page {source.info.page})"
            if count > 1:
                name += f" (frame {number + 1})"
            found.append(Given(name, source, number))
    return found


def _taken(frame: Iterator[Rows]) -> Iterator[None]:
    """Once, when all rows of a frame have been taken."""
    for _ in frame:
        pass
    yield None


def shared_info(
    given: Sequence[Given], reference: int, beside: Path
) -> tuple[RasterInfo, list[str]]:
    """The reference's info as of one frame, its ranges those of all frames like it.

    And for each frame a reason why it cannot be fused with the reference, empty if it can.

    Raises ``InputError`` if a raster is damaged, or has samples that are no numbers.
    """
    infos: dict[int, RasterInfo | InputError] = {}
    for each in given:
        if id(each.source) not in infos:
            try:
                infos[id(each.source)] = measured(each.source, beside)
            except InputError as error:
                infos[id(each.source)] = error
    own = infos[id(given[reference].source)]
    if isinstance(own, InputError):
        raise own
    reasons = []
    bands = own.bands
    for each in given:
        info = infos[id(each.source)]
        reasons.append(_damage(info, each) if isinstance(info, InputError) else _unlike(info, own))
        if isinstance(info, RasterInfo) and not reasons[-1]:
            bands = tuple(
                dataclasses.replace(
                    band,
                    low=_least(band.low, other.low),
                    high=_most(band.high, other.high),
                    least=_least(band.least, other.least),
                    most=_most(band.most, other.most),
                    gaps=band.gaps or other.gaps,
                )
                for band, other in zip(bands, info.bands, strict=True)
            )
    return dataclasses.replace(own, bands=bands, frames=1, slices=1), reasons


def _least(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _unlike(info: RasterInfo, own: RasterInfo) -> str:
    """A reason why a raster's samples do not mean the same as the reference's; or nothing."""
    if info.only_as != own.only_as:
        return "it is a medical picture"
    roles, others = ([band.role for band in each.varying] for each in (own, info))
    if len(info.bands) != len(own.bands) or roles != others:
        return "it has other bands than the reference"
    if info.dtype != own.dtype:
        return f"its samples are {info.dtype}, those of the reference {own.dtype}"
    if info.colours != own.colours or info.cover != own.cover:
        return "its samples mean other light than those of the reference"
    return ""


def read_frames(
    given: Sequence[Given],
    reference: int,
    reasons: list[str],
    info: RasterInfo,
    stack: ExitStack,
    beside: Path,
) -> list[BurstFrame | None]:
    """Read the frames that there are no ``reasons`` against, and keep each as long as ``stack``.

    Frames that turn out to be damaged get a reason, and so do those behind them in their source.
    Raises ``InputError`` if the reference is among these.
    """
    kept = [number for number, band in enumerate(info.bands) if not band.constant]
    found: list[BurstFrame | None] = []
    while len(found) < len(given):
        source = given[len(found)].source
        try:
            for blocks in source.frames(beside):
                number = len(found)
                if number == len(given) or given[number].source is not source:
                    break
                if reasons[number]:
                    for _ in blocks:
                        pass
                    found.append(None)
                else:
                    found.append(_read(given[number], blocks, kept, info, stack, beside))
        except InputError as error:
            while len(found) < len(given) and given[len(found)].source is source:
                if len(found) == reference:
                    raise
                reasons[len(found)] = _damage(error, given[len(found)])
                found.append(None)
    return found


def _damage(error: InputError, each: Given) -> str:
    """A reason to leave out a frame that cannot be read."""
    return error.problem.removeprefix(f"{each.source.info.name}: ")


def _read(
    each: Given,
    blocks: Iterator[Rows],
    kept: list[int],
    info: RasterInfo,
    stack: ExitStack,
    beside: Path,
) -> BurstFrame:
    height, width = each.source.info.height, each.source.info.width
    shape = (height, width, len(kept))
    name = temporary_name(beside, ".raw")
    spool = stack.enter_context(Spool(name, shape, np.dtype(np.float32)))
    digest = hashlib.sha256(f"{height}x{width}".encode())
    broken = gaps.with_gaps(info)
    # Its file may call other samples missing than the reference's.
    stored = dataclasses.replace(info, nodata=each.source.info.nodata)
    whole = []
    top = 0
    for block in blocks:
        some = block if len(kept) == block.shape[2] else block[:, :, kept]
        values = light.to_network(some, stored)
        digest.update(np.ascontiguousarray(values).tobytes())
        if broken:
            whole.append(values)
        else:
            spool.write(top, 0, values)
        top += len(block)
    missing = before = None
    if broken:  # neighbours are to fill them, from all rows
        before = np.concatenate(whole)
        missing = np.zeros((height, width), bool)
        for band in broken:
            missing |= gaps.gone(before, band, info.mask)
        spool.write(0, 0, gaps.filled(before, broken, info.mask))
        # Nothing is missing any more.
        bands = tuple(dataclasses.replace(band, gaps=False) for band in info.bands)
        info = dataclasses.replace(info, bands=bands)
    own = dataclasses.replace(info, height=height, width=width, name=each.name, page=None)
    told = _told_place(each.source.info, info)
    return BurstFrame(
        each.name,
        own,
        spool,
        digest.digest(),
        told_place=told,
        missing=missing,
        before=before,
    )


def _told_place(own: RasterInfo, reference: RasterInfo) -> Homography | None:
    """From a raster's coordinates to the reference's, by their places on the ground."""
    if own.transform is None or reference.transform is None:
        return None
    grids = [
        np.array([*t, 0, 0, 1], np.float64).reshape(3, 3)
        for t in (own.transform, reference.transform)
    ]
    # Those count from the outer corner of the first sample.
    half = shift(0.5, 0.5)
    return with_last_one(inverse(half) @ inverse(grids[1]) @ grids[0] @ half)
