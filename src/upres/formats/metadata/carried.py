"""A picture's metadata, brought along to the enlarged one."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path

import pyvips

from upres.formats.metadata import exif, iptc, tiff_exif, xmp
from upres.formats.metadata.density import Density
from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.jpeg_segments import Segment
from upres.formats.metadata.png_chunks import Chunk
from upres.formats.metadata.tiff_tags import read_resolution

_OF_THE_FILE = ("n-pages", "page-height", "bits-per-sample", "palette", "orientation")
"""Fields that tell how the input was stored, and nothing of the picture."""

_NOT_FIELDS = ("vips-", "heif-", "tile-", "png-comment-", "gif-comment")
"""Beginnings of fields that tell the same, or that files get otherwise (``png_chunks``,
``comments``)."""


OF_PALETTE = "a palette"
"""In place of a compression, see ``Carried.lossy``."""

_OF_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


@dataclass(frozen=True)
class Carried:
    """All that goes from a picture's file to its result's beside pixels, whatever their formats."""

    image: pyvips.Image
    """Its fields are the metadata, by libvips' names; its pixels are not looked at."""
    path: Path | None = None
    """Where the file is, for parts that are read when it is written."""
    frames: int = 1
    timing: tuple[Fraction, ...] = ()
    """Seconds for which each frame is shown, where the field ``delay`` does not tell exactly; see
    ``upres.formats.metadata.timing``."""
    orientation: int = 1
    """By EXIF; how the picture was turned to be upright."""
    meaning: bytes = b""
    """The meaning of its colours, where that is unlike sRGB and in no profile: see ``colour``."""
    comments: tuple[bytes, ...] = ()
    lossless: bool = False
    """Whether a format that may lose something has lost nothing of it."""
    lossy: str = ""
    """The name of a compression that may lose something, or of another reason that samples may not
    be those of before, such as ``a palette``, where the format alone does not tell."""
    jpeg_quality: int | None = None
    tiff_density: tuple[int, ...] = ()
    """A TIFF page's resolution as it tells it, where that is no number of dots for an inch: those
    of its width and of its height, each a fraction of two numbers, and the number of its unit."""
    segments: tuple[Segment, ...] = field(default=(), repr=False)
    """Of a JPEG file, before its pixels."""
    chunks: tuple[Chunk, ...] = field(default=(), repr=False)
    """Of a PNG file."""
    density: Density | None = None
    """How large pixels are, as the header of a JPEG or PNG file tells it."""
    place: object | None = field(default=None, repr=False)
    """A GeoTIFF's place on the map and its words: see ``upres.formats.geo.place``."""
    extras: tuple[str, ...] = ()
    """Names of what else the file has, and few results or none keep; see ``parts``."""

    @cached_property
    def _told_by_image(self) -> tuple[float, float]:
        """The image's own, which takes time to ask for."""
        return self.image.xres, self.image.yres

    @property
    def has_resolution(self) -> bool:
        """Whether the file tells how many pixels go into an inch."""
        told = self.density is not None and self.density.per_millimetre is not None
        # 1 and 1 are libvips' word for nothing.
        return told or self._told_by_image != (1, 1)

    @property
    def resolution(self) -> tuple[float, float] | None:
        """How many pixels of the upright picture go into a millimetre, across and down."""
        if not self.has_resolution:
            return None
        across, down = self._told_by_image
        return (down, across) if self.orientation >= 5 else (across, down)

    @property
    def upright_density(self) -> Density | None:
        """``density`` of the upright picture."""
        return self.density.turned(self.orientation) if self.density else None

    def find(self, name: str) -> object:
        """A field of the metadata by libvips' name; ``None`` if there is none."""
        return self.image.get(name) if self.image.get_typeof(name) else None


@cache
def nothing_carried() -> Carried:
    """Of a raster without metadata, as an array is: always the same, whose image is not changed."""
    return Carried(pyvips.Image.black(1, 1))


def coarse_levels(image: pyvips.Image) -> str:
    """The way in which a file has few of its samples' levels, by the fields of libvips; empty if
    it has all.
    """
    if image.get_typeof("palette"):
        return OF_PALETTE
    return fewer_bits(image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8)


def fewer_bits(bits: int) -> str:
    """The same of so many bits a sample."""
    return f"having {bits} bits a sample" if bits < 8 else ""


def described(
    path: Path,
    *,
    exif_block: bytes = b"",
    packet: bytes = b"",
    profile: bytes = b"",
    resolution: tuple[float, float] | None = None,
    **numbers: int,
) -> Carried:
    """Of a file that another library than libvips reads: its EXIF, XMP and colour profile.

    ``resolution`` is in pixels for a millimetre, across and down; by default it is EXIF's.
    ``numbers`` are further fields, by libvips' names with underscores.
    """
    block = exif_block[max(0, exif_block[:16].find(PREFIX)) :].removeprefix(PREFIX)
    image = pyvips.Image.black(1, 1).copy()
    if block:
        with suppress(struct.error):  # damaged
            resolution = resolution or read_resolution(BytesIO(block))
    if resolution:
        image = image.copy(xres=resolution[0], yres=resolution[1])
    for name, content in (
        ("exif-data", block and PREFIX + block),
        ("xmp-data", packet),
        ("icc-profile-data", profile),
    ):
        if content:
            image.set_type(pyvips.GValue.blob_type, name, content)
    for name, number in numbers.items():
        image.set_type(pyvips.GValue.gint_type, name.replace("_", "-"), number)
    return Carried(image, path=path)


def with_metadata(
    image: pyvips.Image, carried: Carried, *, interpretation: str, suffix: str
) -> tuple[pyvips.Image, bytes]:
    """``image`` with the carried profile, EXIF, XMP, IPTC, text, resolution and timing.

    And its EXIF, nothing if it has none. The image has no more of it than a JPEG file has room for,
    as libvips takes no more.

    libvips calls its colours ``interpretation``. It is upright; previews of the
    small picture are left out, and where EXIF and XMP tell size and orientation these become
    those of ``image``.
    """
    source = carried.image
    height, width = image.height // carried.frames, image.width
    resolution = carried.resolution
    across, down = resolution or (1.0, 1.0)
    dots = (across * 25.4, down * 25.4) if resolution else None
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy(xres=across, yres=down, interpretation=interpretation)
    left_out = {*image.get_fields(), "jpeg-thumbnail-data", "exif-data", *_OF_THE_FILE}
    whole, parts = b"", "exif-ifd"
    if source.get_typeof("exif-data"):
        try:
            whole = exif.PREFIX + exif.fitting(
                source.get("exif-data"),
                height=height,
                width=width,
                dots_per_inch=dots,
                turned=carried.orientation >= 5,
            )
        except struct.error:
            # Damaged: of the parts that libvips could read it makes a block.
            parts = "exif-ifd1-"
        else:
            block = tiff_exif.for_jpeg(whole)
            image.set_type(pyvips.GValue.blob_type, "exif-data", block)
    for name in fields_of(source):
        if name in left_out or name.startswith((parts, *_NOT_FIELDS)):
            continue
        value = source.get(name)
        if name == "xmp-data":
            if suffix not in _OF_JPEG:
                value = xmp.whole(value, carried.segments)
            value = xmp.fitting(value, height=height, width=width)
        elif name == "image-description" and str(value).startswith(tiff_exif.SHAPE_NOTE):
            continue
        elif name == "iptc-data":
            value = iptc.fitting(value, tiff=suffix in (".tif", ".tiff"))
            if not value:
                continue
        image.set_type(source.get_typeof(name), name, value)
    if dots and not source.get_typeof("exif-data"):
        # Left to libvips, it would tell more than is known: that colours are not calibrated, say.
        whole = exif.PREFIX + exif.fitting(
            tiff_exif.packed([]), height=height, width=width, dots_per_inch=dots
        )
        image.set_type(pyvips.GValue.blob_type, "exif-data", whole)
    if image.get_typeof("exif-data"):
        # The pixels are upright already, but the EXIF block still says how to turn them.
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    if carried.frames > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", height)
    return image, whole


def fields_of(image: pyvips.Image) -> list[str]:
    """The names of an image's fields, as pyvips gives them, which fails where one is not UTF-8.

    Those are left out: PNG's keywords are names of fields, too.
    """
    names = pyvips.vips_lib.vips_image_get_fields(image.pointer)
    found = []
    number = 0
    while names[number]:
        with suppress(UnicodeDecodeError):
            found.append(pyvips.ffi.string(names[number]).decode())
        pyvips.glib_lib.g_free(names[number])
        number += 1
    pyvips.glib_lib.g_free(names)
    return found
