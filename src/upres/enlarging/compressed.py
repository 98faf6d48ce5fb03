"""Pictures that JPEG has changed: which count as clean, and what becomes of their faults."""

from __future__ import annotations

from upres.card import Model
from upres.models import INT8
from upres.raster.info import RasterInfo

COMPRESSED_MODEL = "photo"
"""The shipped model for pictures that JPEG has changed; ``DEFAULT_MODEL`` is for clean ones."""

CLEAN_QUALITY = {1: 91, 2: 92, 3: 97, 4: 97}
"""By ``photo``'s scale: JPEG of this quality or better counts as clean. On valid.tar, ``photo`` x2
and ``fast`` give the same PSNR at a quality of 92, between the figures at 90 (``photo``
0.46 dB better) and at 95 (0.52 worse). x3 and x4 are larger networks: at 97 x3 is 0.07 worse (95:
0.25 better), and x4 gives the same (95: 0.25 better). At x1 it is held against the picture itself,
which it improves by 0.38 dB at 90, by 0.08 at 91, and harms by 0.37 at 92."""


def clean_quality(first: Model) -> int:
    """From which quality on a JPEG file counts as clean, if ``first`` enlarges it first."""
    return CLEAN_QUALITY.get(first.card.scale, min(CLEAN_QUALITY.values()))


def faults_of_jpeg(info: RasterInfo, first: Model) -> str:
    """Why agreement with a raster would keep what JPEG has done to it; empty if it would not."""
    quality = info.jpeg_quality
    if first.card.name.removesuffix(INT8) == COMPRESSED_MODEL:
        return f"model {COMPRESSED_MODEL} is to remove the faults of JPEG"
    if quality is not None and quality < clean_quality(first):
        return f"a JPEG of quality {quality} has faults"
    return ""
