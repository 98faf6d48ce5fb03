"""A picture as it comes back from a JPEG file."""

from __future__ import annotations

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.formats.image.vips import read_rgb8


def through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """``image`` (height x width x 3, RGB) as it comes back from a JPEG file of ``quality``.

    Colours are kept at half the resolution (4:2:0), as in most files on the web.
    """
    file: bytes = pyvips.Image.new_from_array(image).jpegsave_buffer(
        Q=quality, subsample_mode="on", keep="none"
    )
    return read_rgb8(file)
