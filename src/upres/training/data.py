"""Training data: pairs of pictures; patches are cut from them in ``upres.training.patches``."""

from __future__ import annotations

import itertools
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
    LeftOut,
    PairedSource,
    in_parallel,
    read_pairs,
    read_pictures,
    source_files,
)
from upres.training.transfer import Teacher

SEED_STRIDE = 1_000_003
"""Keeps what is drawn for neighbouring seeds apart."""


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
    generator = torch.Generator().manual_seed(seed * SEED_STRIDE + index)
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
    left_out: Sequence[str] = ()
    """Of each picture that cannot be read, why, in a line that names it."""

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
    strict: bool = True,
) -> Pairs:
    """Read all pictures of ``sources``, and make low resolution where files have none.

    Each picture is followed by itself shrunk by each factor of ``shrink``; and ``teacher``
    replaces high resolution by its labels.
    Whole pictures are degraded once and for all, as validation needs it; for training with
    ``jpeg`` or ``photo``, load with ``bicubic`` and leave the rest to ``Patches``. With a folder
    ``cache``, the pixels are kept there and mapped, not read, by later runs of the same
    sources; see ``upres.training.cache``.

    A picture that cannot be read is an error if ``strict``, and else left out, if others can be.

    Raises ``InputError`` for what cannot be read or does not fit together, such as ``shrink``
    and low-resolution pictures from files, and ``OutputError`` if the cache cannot be written.
    """
    left_out: list[str] = []
    tell = None if strict else lambda error: left_out.append(str(error))
    paired = [source for source in sources if isinstance(source, PairedSource)]
    if paired and shrink:
        raise InputError(
            f"{paired[0].hr}: data.shrink makes low resolution itself: give high resolution alone"
        )

    def rows() -> Iterator[Row]:
        left_out.clear()
        made = _rows(sources, data_folder, scale, shrink, degradation, seed, tell)
        return made if teacher is None else _labelled(made, teacher)

    # A missing one shows before any is read.
    files = [path for source in sources for path in source_files(source, data_folder)]
    if cache is None:
        pixels = flat(rows(), left_out)
    else:
        names = [source if isinstance(source, str) else astuple(source) for source in sources]
        relevant = seed if degradation != "bicubic" else None
        settings: list[Any] = [names, shrink, degradation, relevant]
        if teacher is not None:
            files.append(teacher.path)
            settings += [teacher.weight, teacher.self_ensemble]
        pixels = cached(cache, files, settings, scale, rows, left_out)
    if pixels.left_out and not pixels.names:
        raise InputError(
            f"{data_folder}: of {len(pixels.left_out)} training pictures none can be read: "
            f"the first: {pixels.left_out[0]}"
        )
    with warnings.catch_warnings():
        # A mapped array cannot be written to, and is not.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        low, high = torch.from_numpy(pixels.low), torch.from_numpy(pixels.high)
    return Pairs(
        pixels.names,
        pixels.sizes,
        scale,
        low,
        high,
        from_files=bool(paired),
        left_out=pixels.left_out,
    )


def _rows(
    sources: Sequence[DataSource],
    data_folder: Path,
    scale: int,
    shrink: Sequence[float],
    degradation: DegradationName,
    seed: int,
    left_out: LeftOut | None,
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
            pictures = read_pictures([data_folder / source], left_out=left_out)
            sizes = (
                (next(count), *picture, factor) for picture in pictures for factor in (1, *shrink)
            )
            yield from in_parallel(degraded, sizes)
        else:
            yield from read_pairs(source, data_folder, scale, left_out=left_out)


def _labelled(rows: Iterable[Row], teacher: Teacher) -> Iterator[Row]:
    for index, (name, low, high) in enumerate(rows):
        yield name, low, teacher.label(index, low, high)
