"""Patches, which are cut from pictures on the device."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from upres.errors import InputError
from upres.training.data import SEED_STRIDE, Pairs
from upres.training.degradations import DegradationName, compressed, web_degraded

_MARGIN = 16
"""Low-resolution pixels, both sides together, by which a patch for ``jpeg`` or ``photo`` is
larger, as blocks and blurs reach in from beyond its borders."""
_CROPS = range(4, 12)
"""Where the patch may begin therein: anywhere in a block of JPEG, as in real pictures."""


class Patches:
    """Random aligned pairs of patches from pictures of any sizes, made on ``device``.

    All pixels lie in two flat arrays there; a batch is one gather from each, whose indices
    carry the crop, the flips and the rotation, so nothing leaves the device, and nothing
    waits for it but the first batch of a new patch size. A batch depends on (seed, step) and
    its sizes only: training that resumes at a step sees what it would have, and processes
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

        ``patch`` is LR's side in pixels. With ``parts``, this is what one process of
        several gets: rows ``part::parts`` of the batch that a single one would get.

        Raises ``ValueError`` if ``batch`` cannot be divided by ``parts``, and
        ``InputError`` if no picture is large enough.
        """
        if batch % parts or not 0 <= part < parts:
            raise ValueError(f"a batch of {batch} has no part {part} of {parts}")
        seed = self.seed * SEED_STRIDE + step
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
