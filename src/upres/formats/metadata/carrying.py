"""What a picture says about itself, brought along to the enlarged one."""

from __future__ import annotations

import struct
from contextlib import suppress

import pyvips

from upres.formats.image.picture import Photo
from upres.formats.metadata import exif, iptc, tiff_exif, xmp

_OF_THE_FILE = ("n-pages", "page-height", "bits-per-sample", "palette", "orientation")
"""Fields that tell how the input was stored, not what it shows."""

_NOT_FIELDS = ("vips-", "heif-", "tile-", "exif-ifd1-", "png-comment-", "gif-comment")
"""What fields begin with that tell the same, or that files get otherwise (``png_chunks``,
``comments``)."""


def with_metadata(
    image: pyvips.Image, photo: Photo, *, interpretation: str, suffix: str
) -> tuple[pyvips.Image, bytes]:
    """``image`` with the profile, EXIF, XMP, IPTC, text, resolution and timing of ``photo``.

    And its EXIF, of which the image has no more than a JPEG file has room for, as libvips takes
    no more; nothing if it has none.

    Its colours are what libvips calls ``interpretation``. It is upright; previews of the
    small picture are left out, and where EXIF and XMP tell size and orientation these become
    those of ``image``.
    """
    source = photo.image
    height = image.height // photo.frames
    dots = None
    if photo.has_resolution:
        dots = (source.xres * 25.4, source.yres * 25.4)
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy(xres=source.xres, yres=source.yres, interpretation=interpretation)
    basic = {*image.get_fields(), "jpeg-thumbnail-data", *_OF_THE_FILE}
    fields = [
        (name, source.get_typeof(name), source.get(name))
        for name in source.get_fields()
        if name not in basic and not name.startswith(_NOT_FIELDS)
    ]
    if source.get_typeof("exif-data") and not any(n.startswith("exif-ifd") for n, *_ in fields):
        with suppress(struct.error):  # damaged
            fields += _exif_fields(tiff_exif.for_jpeg(source.get("exif-data")))
    whole = b""
    for name, kind, value in fields:
        if name == "exif-data":
            try:
                whole = exif.PREFIX + exif.fitting(
                    value, height=height, width=image.width, dots_per_inch=dots
                )
                value = tiff_exif.for_jpeg(whole)
            except struct.error:  # damaged: the fields are what libvips could read of it
                continue
        elif name == "xmp-data":
            if suffix not in (".jpg", ".jpeg"):
                value = xmp.whole(value, photo.segments)
            value = xmp.fitting(value, height=height, width=image.width)
        elif name == "image-description" and str(value).startswith(tiff_exif.SHAPE_NOTE):
            continue
        elif name == "iptc-data":
            value = iptc.fitting(value, tiff=suffix in (".tif", ".tiff"))
            if not value:
                continue
        image.set_type(kind, name, value)
    if dots and not source.get_typeof("exif-data"):
        # Left to libvips, it would tell more than is known: that colours are not calibrated, say.
        whole = exif.PREFIX + exif.fitting(
            tiff_exif.packed([]), height=height, width=image.width, dots_per_inch=dots
        )
        image.set_type(pyvips.GValue.blob_type, "exif-data", whole)
    if image.get_typeof("exif-data"):
        # The pixels are upright already, but the EXIF block still says how to turn them.
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    if photo.frames > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", height)
    return image, whole


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
