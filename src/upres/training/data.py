"""Training data: pairs of pictures, and patches that are cut from them on the device."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upres.errors import InputError
from upres.raster.resize import bicubic
from upres.training.cache import Row, cached, flat
from upres.training.degradations import DegradationName, compressed, web_degraded
from upres.training.sources import (
    DataSource,
    PairedSource,
    in_parallel,
    read_pairs,
    read_pictures,
    source_files,
)
from upres.training.transfer import Teacher

_SEED_STRIDE = 1_000_003
"""Keeps draws for neighbouring seeds apart."""

_MARGIN = 16
"""Low-resolution pixels, both sides together, by which a patch for ``jpeg`` or ``photo`` is
larger, as blocks and blurs reach in from beyond its borders."""
_CROPS = range(4, 12)
"""Where the patch may begin therein: anywhere in a block of JPEG, as in real pictures."""


def pair(
    image: NDArray[np.uint8],
    scale: int,
    *,
    degradation: DegradationName = "bicubic",
    seed: int = 0,
    index: int = 0,
) -> tuple[Tensor, Tensor]:
    """(LR, HR) of a picture (height x width x 3), both 3 x H x W uint8.

    HR is cropped to a multiple of ``scale`` at the bottom and on the right. ``jpeg`` and
    ``photo`` depend on ``seed`` and on ``index``, the picture's number.
    """
    height, width = (side - side % scale for side in image.shape[:2])
    image = image[:height, :width]
    high = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    generator = torch.Generator().manual_seed(seed * _SEED_STRIDE + index)
    if degradation == "photo":
        low = web_degraded(high[None].float() / 255, scale, generator)
    else:
        small = bicubic(image, size=(height // scale, width // scale))
        plain = torch.from_numpy(small).permute(2, 0, 1)
        if degradation == "bicubic":
            return plain, high
        low = compressed(plain[None].float() / 255, generator)
    return (low[0] * 255).round().byte(), high


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pictures in low and high resolution, to be taken one by one or cut into ``Patches``.

    Iterating gives (LR, HR) of each, both 3 x H x W uint8 on the CPU. They may be views of
    a file that several processes share: do not write to them.
    """

    names: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    """Height and width of each low-resolution picture; of high resolution ``scale`` times."""
    scale: int
    low: Tensor
    """All pixels, picture after picture, row after row: pixels x 3, uint8."""
    high: Tensor
    from_files: bool
    """Whether there are low-resolution pictures that came from files."""

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        offset, s = 0, self.scale
        for height, width in self.sizes:
            end = offset + height * width
            low = self.low[offset:end].view(height, width, 3)
            high = self.high[offset * s**2 : end * s**2].view(height * s, width * s, 3)
            yield low.permute(2, 0, 1), high.permute(2, 0, 1)
            offset = end


def load_pairs(
    sources: Sequence[DataSource],
    data_folder: Path,
    scale: int,
    *,
    shrink: Sequence[float] = (),
    degradation: DegradationName = "bicubic",
    seed: int = 0,
    teacher: Teacher | None = None,
    cache: Path | None = None,
) -> Pairs:
    """Read all pictures of ``sources``, and make low resolution where files have none.

    Each picture is followed by itself shrunk by each factor of ``shrink``; and ``teacher``
    replaces high resolution by its labels.
    Whole pictures are degraded once and for all, as validation needs it; for training with
    ``jpeg`` or ``photo``, load with ``bicubic`` and leave the rest to ``Patches``. With a folder
    ``cache``, the pixels are kept there and mapped, not read, by later runs of the same
    sources; see ``upres.training.cache``.

    Raises ``InputError`` for sources that cannot be read or do not fit together, as ``shrink``
    and low-resolution pictures from files do not. Raises ``OutputError`` if the cache cannot be
    written.
    """
    paired = [source for source in sources if isinstance(source, PairedSource)]
    if paired and shrink:
        raise InputError(
            f"{paired[0].hr}: data.shrink makes low resolution itself: give high resolution alone"
        )

    def rows() -> Iterator[Row]:
        made = _rows(sources, data_folder, scale, shrink, degradation, seed)
        return made if teacher is None else _labelled(made, teacher)

    # A missing one shows before any is read.
    files = [path for source in sources for path in source_files(source, data_folder)]
    if cache is None:
        pixels = flat(rows())
    else:
        names = [source if isinstance(source, str) else astuple(source) for source in sources]
        relevant = seed if degradation != "bicubic" else None
        settings: list[Any] = [names, shrink, degradation, relevant]
        if teacher is not None:
            files.append(teacher.path)
            settings += [teacher.weight, teacher.self_ensemble]
        pixels = cached(cache, files, settings, scale, rows)
    with warnings.catch_warnings():
        # A mapped array cannot be written to, and is not.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        low, high = torch.from_numpy(pixels.low), torch.from_numpy(pixels.high)
    return Pairs(pixels.names, pixels.sizes, scale, low, high, from_files=bool(paired))


def _rows(
    sources: Sequence[DataSource],
    data_folder: Path,
    scale: int,
    shrink: Sequence[float],
    degradation: DegradationName,
    seed: int,
) -> Iterator[Row]:
    def degraded(item: tuple[int, str, NDArray[np.uint8], float]) -> Row:
        index, name, image, factor = item
        if factor != 1:
            image = bicubic(image, scale=factor)
        if min(image.shape[:2]) < scale:
            raise InputError(f"{name}: is smaller than one pixel at 1/{scale} of its size")
        made = pair(image, scale, degradation=degradation, seed=seed, index=index)
        low, high = (x.permute(1, 2, 0).numpy() for x in made)
        return name, low, high

    count = itertools.count()
    for source in sources:
        if not isinstance(source, PairedSource):
            pictures = read_pictures([data_folder / source])
            sizes = (
                (next(count), *picture, factor) for picture in pictures for factor in (1, *shrink)
            )
            yield from in_parallel(degraded, sizes)
        else:
            yield from read_pairs(source, data_folder, scale)


def _labelled(rows: Iterable[Row], teacher: Teacher) -> Iterator[Row]:
    for index, (name, low, high) in enumerate(rows):
        yield name, low, teacher.label(index, low, high)


class Patches:
    """Random aligned pairs of patches from pictures of any sizes, made on ``device``.

    All pixels lie in two flat arrays there; a batch is one gather from each, whose indices
    carry the crop, the flips and the rotation, so nothing leaves the device, and nothing
    waits for it but the first batch of a new patch size. A batch depends on (seed, step) and
    its sizes only: training that resumes at a step sees the same as without, and processes
    agree without a word.
    """

    def __init__(
        self,
        pairs: Pairs,
        *,
        candidates: int,
        seed: int,
        device: torch.device,
        degradation: DegradationName = "bicubic",
    ) -> None:
        """``candidates`` is how many patches are drawn for each one that is kept, for its
        detail; ``jpeg`` and ``photo`` make low resolution anew for every patch.

        Raises ``InputError`` for these with low-resolution pictures from files.
        """
        if degradation != "bicubic" and pairs.from_files:
            raise InputError(
                f"the degradation {degradation} makes low resolution itself: give folders or tar "
                "files of high resolution alone, or choose bicubic"
            )
        self.scale, self.candidates, self.seed = pairs.scale, candidates, seed
        self.degradation, self.device = degradation, device
        self.sizes = torch.tensor(pairs.sizes).view(-1, 2)
        areas = self.sizes.prod(1)
        self.height, self.width = self.sizes.to(device).unbind(1)
        self.offset = (areas.cumsum(0) - areas).to(device)
        self.low, self.high = pairs.low.to(device), pairs.high.to(device)
        self.generator = torch.Generator(device)
        self._shares: dict[int, Tensor] = {}

    def usable(self, patch: int) -> int:
        """How many pictures are large enough for patches of ``patch`` low-resolution pixels
        a side; ``sample`` leaves the others out.

        Raises ``InputError`` if none is.
        """
        side = self._side(patch)
        count = int((self.sizes >= side).all(1).sum())
        if not count:
            raise InputError(
                f"no training picture has {side * self.scale} pixels a side, as patches of "
                f"{patch} at x{self.scale} need: give larger pictures or a smaller data.patch"
            )
        return count

    def sample(
        self, step: int, *, patch: int, batch: int, part: int = 0, parts: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Batch number ``step``: LR and HR, float32 in [0, 1], N x 3 x side x side.

        ``patch`` is LR's side in pixels. With ``parts``, this is the share of one process of
        several: rows ``part::parts`` of the batch that a single one would get.

        Raises ``ValueError`` if ``batch`` cannot be divided by ``parts``, and
        ``InputError`` if no picture is large enough.
        """
        if batch % parts or not 0 <= part < parts:
            raise ValueError(f"a batch of {batch} has no part {part} of {parts}")
        seed = self.seed * _SEED_STRIDE + step
        self.generator.manual_seed(seed)
        side = self._side(patch)
        places = self._places(patch, batch * self.candidates)
        if self.candidates > 1:
            # In whole numbers, so that every process finds the very same order.
            low = self._gather(self.low, 1, places, side)
            detail = (low[:, :, 1:] - low[:, :, :-1]).abs_().sum((1, 2, 3))
            places = places.index_select(1, detail.topk(batch, sorted=False).indices)
        places = places[:, part::parts]
        high = self._gather(self.high, self.scale, places, side).div_(255)
        if self.degradation == "photo":
            low = web_degraded(high, self.scale, self.generator, part=part, parts=parts)
        else:
            low = self._gather(self.low, 1, places, side).div_(255)
            if self.degradation == "bicubic":
                return low, high
            low = compressed(low, self.generator, part=part, parts=parts)
        host = random.Random(seed)
        top, left = host.choice(_CROPS), host.choice(_CROPS)
        return _crop(low, top, left, patch), _crop(high, top, left, patch, self.scale)

    def _side(self, patch: int) -> int:
        return patch + (_MARGIN if self.degradation != "bicubic" else 0)

    def _places(self, patch: int, count: int) -> Tensor:
        """Where ``count`` patches lie and how they are turned, 6 x ``count`` whole numbers."""
        side = self._side(patch)
        if patch not in self._shares:
            self.usable(patch)
            # Pictures are drawn in proportion to their size, if a patch has room in them.
            areas = self.sizes.prod(1) * (self.sizes >= side).all(1)
            shares = areas.cumsum(0).double() / areas.sum()
            self._shares[patch] = shares.to(self.device, torch.float32)
        random = torch.rand(3, count, generator=self.generator, device=self.device)
        which = torch.searchsorted(self._shares[patch], random[0], right=True)
        top = (random[1] * (self.height[which] - side + 1)).long()
        left = (random[2] * (self.width[which] - side + 1)).long()
        flips = torch.randint(2, (3, count), generator=self.generator, device=self.device)
        return torch.cat([torch.stack([which, top, left]), flips])

    def _gather(self, pixels: Tensor, scale: int, places: Tensor, side: int) -> Tensor:
        """Patches of ``side * scale`` pixels a side, N x 3 x side x side, 0 to 255."""
        which, top, left, vertical, horizontal, transpose = places
        side *= scale
        width = self.width[which] * scale
        # A patch is a corner, and how far one step down and one to the right reach from there.
        corner = self.offset[which] * scale**2 + top * scale * width + left * scale
        corner = corner + vertical * (side - 1) * width + horizontal * (side - 1)
        row, column = width * (1 - 2 * vertical), 1 - 2 * horizontal
        down, right = torch.where(
            transpose.bool(), torch.stack([column, row]), torch.stack([row, column])
        )
        ramp = torch.arange(side, device=self.device)
        rows, columns = corner[:, None] + down[:, None] * ramp, right[:, None] * ramp
        index = rows[:, :, None] + columns[:, None]
        patches = pixels.index_select(0, index.flatten()).view(-1, side, side, 3)
        return patches.permute(0, 3, 1, 2).float()


def _crop(images: Tensor, top: int, left: int, side: int, scale: int = 1) -> Tensor:
    rows = slice(top * scale, (top + side) * scale)
    return images[:, :, rows, left * scale : (left + side) * scale]
