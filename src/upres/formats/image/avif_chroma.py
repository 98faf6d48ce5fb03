"""AVIF's luma and chroma as RGB, chroma of fewer samples interpolated as libavif does by default.

libvips has libheif decode to RGB, which repeats such samples: steps in colour, up to 140 levels
high. Of limited range its results are 0.5 levels too bright. Where the file says that its planes
are red, green and blue already, libheif gives them as they are stored, and the rest is done here.
Sources: AV1 Codec ISO Media File Format Binding 1.2.0, section 2.3 (av1C); ITU-T H.273, section 8.3
(matrices); libavif's ``avif.h`` (upsampling).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import pyvips

_WEIGHTS = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),  # not known: as libavif takes it
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""By H.273's number of a matrix, the parts of red and blue in luma. Others are left to libheif."""

_IDENTITY, _FULL_RANGE = b"\0\0", 0x80

_MONOCHROME, _ACROSS, _DOWN = 0x10, 0x08, 0x04
"""Bits of the third byte of av1C."""

_TURNED = b"irot"


@dataclass(frozen=True)
class Chroma:
    """The planes of a picture that libheif would not convert as libavif does."""

    numbers: bytes
    """The content of its box colr."""
    across: bool
    """Whether chroma has half of luma's samples along rows."""
    down: bool
    """Whether along columns, too."""

    def as_planes(self, content: bytes) -> pyvips.Source:
        """An AVIF file of that content, whose bands libvips gives as Cr, luma and Cb."""
        told = self.numbers[:8] + _IDENTITY + bytes([self.numbers[10] | _FULL_RANGE])
        kind = b"colr"
        return pyvips.Source.new_from_memory(content.replace(kind + self.numbers, kind + told))

    def to_rgb(self, image: pyvips.Image) -> pyvips.Image:
        """Those bands as red, green and blue, of the same samples and metadata."""
        bits = int(image.get("bits-per-sample")) if image.format == "ushort" else 8
        unit = 1 << (16 - bits) if image.format == "ushort" else 1
        most, half = (1 << bits) - 1, 1 << (bits - 1)
        black, light, colour = 0, most, most
        if not self.numbers[10] & _FULL_RANGE:
            step = 1 << (bits - 8)
            black, light, colour = 16 * step, 219 * step, 224 * step
        chroma = image[2].bandjoin(image[0]).cast("float")
        if self.across:
            # Of samples that are repeated, each half of one is a quarter of the next one's.
            weights = [[1, 2, 1], [2, 4, 2], [1, 2, 1]] if self.down else [[1, 2, 1]]
            mask = pyvips.Image.new_from_array(weights, scale=16 if self.down else 4)
            chroma = chroma.conv(mask, precision="float")
        luma = (image[1].cast("float") / unit - black) * (most / light)
        blue_part, red_part = ((chroma[i] / unit - half) * (most / colour) for i in (0, 1))
        (matrix,) = struct.unpack_from(">H", self.numbers, 8)
        red, blue = _WEIGHTS[matrix]
        green = 1 - red - blue
        planes = [
            luma + 2 * (1 - red) * red_part,
            luma
            - 2 * red * (1 - red) / green * red_part
            - 2 * blue * (1 - blue) / green * blue_part,
            luma + 2 * (1 - blue) * blue_part,
        ]
        made = planes[0].bandjoin(planes[1:])
        made = (made < 0).ifthenelse(0, (made > most).ifthenelse(most, made))
        made = (made.rint() * unit).cast(image.format).copy(interpretation=image.interpretation)
        return made.bandjoin(image[3]) if image.bands > 3 else made


def of_properties(described: Iterable[tuple[bytes, bytes]]) -> Chroma | None:
    """The chroma of a picture of those properties, each a kind and its content.

    ``None`` where libheif does what is to be done, or where the file does not tell its matrix.
    """
    properties = list(described)
    settings = [content[2] for kind, content in properties if kind == b"av1C" and len(content) > 3]
    numbers = [c[:11] for kind, c in properties if kind == b"colr" and c[:4] == b"nclx"]
    if not settings or len(numbers) != 1 or len(numbers[0]) < 11:
        return None
    bits = settings[0]
    across, down = bool(bits & _ACROSS), bool(bits & _DOWN)
    turned = any(kind == _TURNED for kind, _ in properties)
    exact = not across and numbers[0][10] & _FULL_RANGE
    if bits & _MONOCHROME or exact or (turned and across and not down):
        return None
    if int.from_bytes(numbers[0][8:10], "big") not in _WEIGHTS:
        return None
    return Chroma(numbers[0], across, down)
