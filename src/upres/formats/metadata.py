"""What a picture says about itself, brought along to the enlarged one."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pyvips

from upres.formats import exif, tiff_exif
from upres.formats.picture import Photo

_OF_THE_FILE = ("n-pages", "page-height", "bits-per-sample", "palette", "orientation")
"""Fields that tell how the input was stored, not what it shows."""

_NOT_FIELDS = ("vips-", "heif-", "tile-", "exif-ifd1-", "png-comment-", "gif-comment")
"""What fields begin with that tell the same, or that files get otherwise (``png_chunks``,
``comments``)."""

_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC_BLOCK, _THUMBNAIL_BLOCKS = 0x0404, (0x0409, 0x040C)


def with_metadata(
    image: pyvips.Image, photo: Photo, *, interpretation: str, suffix: str
) -> pyvips.Image:
    """``image`` with the profile, EXIF, XMP, IPTC, text, resolution and timing of ``photo``.

    Its colours are what libvips calls ``interpretation``. It is upright; previews of the
    small picture are left out, and where EXIF and XMP tell size and orientation these become
    those of ``image``.
    """
    source = photo.image
    height = image.height // photo.frames
    dots = None
    if (source.xres, source.yres) != (1, 1):  # what libvips takes where nothing is known
        dots = (source.xres * 25.4, source.yres * 25.4)
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy(xres=source.xres, yres=source.yres, interpretation=interpretation)
    basic = {*image.get_fields(), "jpeg-thumbnail-data", *_OF_THE_FILE}
    fields = [
        (name, source.get_typeof(name), source.get(name))
        for name in source.get_fields()
        if name not in basic and not name.startswith(_NOT_FIELDS)
    ]
    if source.get_typeof("exif-data") and str(source.get("vips-loader")).startswith("tiffload"):
        fields += _exif_fields(source.get("exif-data"))
    for name, kind, value in fields:
        if name == "exif-data":
            try:
                value = exif.PREFIX + exif.fitting(
                    value, height=height, width=image.width, dots_per_inch=dots
                )
            except struct.error:  # damaged: the fields are what libvips could read of it
                continue
        elif name == "xmp-data":
            value = fitting_xmp(value, height=height, width=image.width)
        elif name == "image-description" and str(value).startswith(tiff_exif.SHAPE_NOTE):
            continue
        elif name == "iptc-data":
            value = fitting_iptc(value, tiff=suffix in (".tif", ".tiff"))
            if not value:
                continue
        image.set_type(kind, name, value)
    if image.get_typeof("exif-data"):
        # The pixels are upright already, but the EXIF block still says how to turn them.
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    if photo.frames > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", height)
    return image


def _exif_fields(block: bytes) -> list[tuple[str, int, object]]:
    """A block of EXIF as fields: of the block, libvips saves only what it has read itself."""
    pixel = pyvips.Image.black(1, 1).jpegsave_buffer(keep="none")
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    image = pyvips.Image.new_from_buffer(pixel[:2] + segment + pixel[2:], "")
    return [
        (name, image.get_typeof(name), image.get(name))
        for name in image.get_fields()
        if name.startswith("exif-ifd") and not name.startswith("exif-ifd1-")
    ]


def fitting_xmp(xmp: bytes, *, height: int, width: int) -> bytes:
    """XMP with orientation and pixel dimensions of the enlarged picture, without thumbnails."""
    xmp = re.sub(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", b"", xmp, flags=re.DOTALL)
    for names, value in (
        (rb"tiff:Orientation", 1),
        (rb"tiff:ImageWidth|exif:PixelXDimension", width),
        (rb"tiff:ImageLength|exif:PixelYDimension", height),
    ):
        # As an attribute, and as an element.
        xmp = re.sub(rb"\b(%b)(\s*=\s*[\"']|\s*>)\s*\d+" % names, rb"\g<1>\g<2>%d" % value, xmp)
    return xmp


def fitting_iptc(iptc: bytes, *, tiff: bool) -> bytes:
    """IPTC as TIFF holds it, bare, or as JPEG does, among Photoshop's blocks.

    Photoshop's preview of the small picture is left out.
    """
    if not iptc.startswith(_PHOTOSHOP):
        return iptc if tiff else _PHOTOSHOP + _block(_IPTC_BLOCK, b"\0\0", iptc)
    blocks = list(_blocks(iptc))
    if tiff:
        return b"".join(content for kind, _, content in blocks if kind == _IPTC_BLOCK)
    kept = (_block(*block) for block in blocks if block[0] not in _THUMBNAIL_BLOCKS)
    return _PHOTOSHOP + b"".join(kept)


def _blocks(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, name and content of Photoshop's image resource blocks."""
    at = len(_PHOTOSHOP)
    while content[at : at + 4] == b"8BIM" and at + 7 <= len(content):
        kind = int.from_bytes(content[at + 4 : at + 6], "big")
        name_end = at + 6 + (content[at + 6] // 2 + 1) * 2
        length = int.from_bytes(content[name_end : name_end + 4], "big")
        start = name_end + 4
        yield kind, content[at + 6 : name_end], content[start : start + length]
        at = start + length + length % 2


def _block(kind: int, name: bytes, content: bytes) -> bytes:
    head = b"8BIM" + kind.to_bytes(2, "big") + name + len(content).to_bytes(4, "big")
    return head + content + bytes(len(content) % 2)
