"""Training pictures: read once, kept on the device as bytes, cut into patches there."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upres.errors import InputError
from upres.formats.photo import SUFFIXES, read_rgb8
from upres.training.degradations import bicubic_downscale


def read_pictures(sources: Sequence[Path]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (name, height x width x 3) of every picture in tar shards and folders.

    Sorted by name within each source. Raises ``InputError`` for a source that is missing
    or holds no picture, and for a picture that cannot be read.
    """
    for source in sources:
        count = 0
        if source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES):
                count += 1
                yield str(path), read_rgb8(path)
        else:
            for name, content in _read_tar(source):
                count += 1
                yield f"{source}:{name}", read_rgb8(content, name=f"{source}:{name}")
        if count == 0:
            raise InputError(f"{source}: holds no pictures; expected {', '.join(SUFFIXES)}")


def _read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            members = (m for m in archive.getmembers() if m.isfile())
            for member in sorted(members, key=lambda member: member.name):
                if Path(member.name).suffix.lower() in SUFFIXES:
                    file = archive.extractfile(member)
                    assert file is not None  # isfile() was checked
                    yield member.name, file.read()
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such tar file or folder of training pictures; see --data"
        ) from error
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: cannot read this tar file: {error}") from error


def pair(
    image: NDArray[np.uint8], scale: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """(LR, HR) of a picture on ``device``, both 3 x H x W uint8; LR is made there.

    HR is cropped to a multiple of ``scale`` at the bottom and on the right.
    """
    height, width = (side - side % scale for side in image.shape[:2])
    high = torch.from_numpy(np.array(image[:height, :width])).to(device).permute(2, 0, 1)
    return bicubic_downscale(high, scale), high


class Patches:
    """Random aligned pairs of patches from pictures of any sizes, made on ``device``.

    All pixels lie in two flat arrays; a batch is one gather from each, whose indices
    carry the crop, the flips and the rotation, so nothing leaves the device. A batch
    depends on (seed, step) only: training that resumes at a step sees what it would have.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Tensor, Tensor]],
        *,
        scale: int,
        patch: int,
        batch: int,
        candidates: int,
        seed: int,
        device: torch.device,
    ) -> None:
        usable = [(low, high) for low, high in pairs if min(low.shape[1:]) >= patch]
        if not usable:
            raise InputError(
                f"no training picture has {patch * scale} pixels a side, as patches of "
                f"{patch} at x{scale} need: give larger pictures or a smaller data.patch"
            )
        self.scale, self.patch, self.batch = scale, patch, batch
        self.candidates, self.seed, self.device = candidates, seed, device
        # Height, width and offset of each low-resolution picture.
        sizes = torch.tensor([low.shape[1:] for low, _ in usable])
        areas = sizes.prod(1)
        self.height, self.width = sizes.to(device).unbind(1)
        self.offset = (areas.cumsum(0) - areas).to(device)
        # Pictures are drawn in proportion to the number of positions of a patch in them.
        positions = (sizes - patch + 1).prod(1)
        self.cumulative = (positions.cumsum(0) / positions.sum()).to(device, torch.float32)
        self.low = _flatten([low for low, _ in usable], device)
        self.high = _flatten([high for _, high in usable], device)
        self.generator = torch.Generator(device)

    def __len__(self) -> int:
        return len(self.offset)

    def sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number ``step``: LR and HR, float32 in [0, 1], N x 3 x side x side."""
        # The multiplier keeps the batches of neighbouring seeds apart.
        self.generator.manual_seed(self.seed * 1_000_003 + step)
        count = self.batch * self.candidates
        random = torch.rand(3, count, generator=self.generator, device=self.device)
        which = torch.searchsorted(self.cumulative, random[0]).clamp_(max=len(self) - 1)
        top = (random[1] * (self.height[which] - self.patch + 1)).long()
        left = (random[2] * (self.width[which] - self.patch + 1)).long()
        flips = torch.randint(
            2, (3, count, 1, 1), generator=self.generator, device=self.device
        ).bool()
        low = self._gather(self.low, 1, which, top, left, flips)
        if self.candidates > 1:
            detail = (low[:, :, 1:] - low[:, :, :-1]).abs().mean((1, 2, 3))
            kept = detail.topk(self.batch, sorted=False).indices
            low, which, top, left = low[kept], which[kept], top[kept], left[kept]
            flips = flips[:, kept]
        return low, self._gather(self.high, self.scale, which, top, left, flips)

    def _gather(
        self, pixels: Tensor, scale: int, which: Tensor, top: Tensor, left: Tensor, flips: Tensor
    ) -> Tensor:
        side = self.patch * scale
        ramp = torch.arange(side, device=self.device)
        vertical, horizontal, transpose = flips
        rows = torch.where(vertical, side - 1 - ramp[:, None], ramp[:, None])
        columns = torch.where(horizontal, side - 1 - ramp, ramp)
        rows = rows.expand(-1, side, side)
        columns = columns.expand(-1, side, side)
        rows, columns = (
            torch.where(transpose, rows.mT, rows),
            torch.where(transpose, columns.mT, columns),
        )
        start = self.offset[which] * scale**2 + top * scale * self.width[which] * scale
        start = start + left * scale
        index = start[:, None, None] + rows * (self.width[which] * scale)[:, None, None] + columns
        patches = pixels[index.flatten()].view(-1, side, side, 3)
        return patches.permute(0, 3, 1, 2).float().div_(255)


def _flatten(images: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.cat([image.permute(1, 2, 0).reshape(-1, 3) for image in images]).to(device)
