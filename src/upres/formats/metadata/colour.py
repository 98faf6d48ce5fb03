"""The meaning of a file's colours where it is told by numbers, without a profile, and their kind.

libvips reads neither AVIF's nor PNG's numbers. Source: ITU-T H.273 (CICP), tables 2 and 3;
ISO/IEC 23000-22 (MIAF), section 7.3.6.4 (colr nclx).
"""

from __future__ import annotations

import numpy as np
import pyvips

_PLAIN = ("b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "cmyk")
"""libvips' names of the colours that stay as they are."""

_PLAIN_PRIMARIES, _PLAIN_TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)
"""Of BT.709 or not known, and of sRGB, of television or not known: all are shown as sRGB."""

_P3 = (12, 13)
"""Display P3: its primaries, and the transfer function of sRGB."""


def with_meaning(image: pyvips.Image, primaries: int, transfer: int) -> tuple[pyvips.Image, bytes]:
    """``image``, and the meaning of its colours, as the content of PNG's chunk cICP.

    That is nothing where it has a profile, or where they are as in sRGB; of Display P3, the image
    gets the profile. Its file tells ``primaries`` and ``transfer`` function; 2 is not known.
    """
    plain = primaries in _PLAIN_PRIMARIES and transfer in _PLAIN_TRANSFERS
    if plain or image.get_typeof("icc-profile-data"):
        return image, b""
    if (primaries, transfer) == _P3:
        image = image.copy()
        profile = pyvips.Operation.call("profile_load", "p3")
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        return image, b""
    # Of RGB, in the full range.
    return image, bytes([primaries, transfer, 0, 1])


def is_srgb(profile: bytes) -> bool:
    """Whether a colour profile, of RGB or grey, means the same as sRGB, whatever its name.

    Some tones and colours are converted by it; each may differ by a two-hundredth.
    """
    tones = np.linspace(0, 65535, 9).astype(np.uint16)
    if profile[16:20] == b"RGB ":
        pixels = np.stack(np.meshgrid(tones, tones, tones), -1).reshape(27, 27, 3)
        kind = "rgb16"
    elif profile[16:20] == b"GRAY":
        pixels, kind = tones[:, None, None], "grey16"
    else:
        return False
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=kind)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        shown = image.icc_transform("srgb", embedded=True, depth=16, intent="relative")
    except pyvips.Error:  # damaged
        return False
    return bool(np.abs(shown.numpy().astype(float) - pixels).max() < 65535 / 200)


def normalised(image: pyvips.Image, keep_cmyk: bool = False) -> pyvips.Image:
    """Grey, RGB, or CMYK where that is kept, perhaps with alpha."""
    interpretation = image.interpretation
    if interpretation == "cmyk" and not keep_cmyk:
        # By the embedded profile where there is one, else by a common press profile.
        return image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", depth=16 if image.format == "ushort" else 8
        )
    if interpretation not in _PLAIN:
        return image.colourspace("srgb" if image.format == "uchar" else "rgb16")
    return image
