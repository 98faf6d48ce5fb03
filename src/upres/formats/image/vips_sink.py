"""Puts an enlarged picture together, and has libvips write it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyvips

from upres.errors import OutputError
from upres.files import full_disk, publish, temporary, temporary_name
from upres.formats.image.frame_stream import FrameStream
from upres.formats.image.spooled import as_image, head_of
from upres.formats.image.vips import DTYPES, first_line
from upres.formats.metadata import parts, timing
from upres.formats.metadata.carried import Carried, nothing_carried, with_metadata
from upres.formats.metadata.exif import PREFIX
from upres.formats.registry import check_output, output_format, sample_type
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.spool import Spool

LEAST_QUALITY = 95
"""Of formats that may lose something, where none is asked for."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """An enlarged picture that is to be encoded."""

    image: pyvips.Image
    """With its metadata; of an animation, the frames are one below the other."""
    exif: bytes
    """All of it: the image has no more than a JPEG file has room for."""
    carried: Carried
    info: RasterInfo
    quality: int | None
    not_kept: list[str] = dataclasses.field(default_factory=list)
    """Gets the names of what its format could not keep of it, as far as encoding shows; names that
    the table of formats tells are there already."""

    def find(self, name: str, default: Any) -> Any:
        """A field of the source's metadata by libvips' name."""
        found = self.carried.find(name)
        return default if found is None else found

    def field(self, name: str) -> Any:
        """A field of the image's own metadata, which may be bytes or nothing."""
        return self.image.get(name) if self.image.get_typeof(name) else b""

    def with_numbers(self, name: str, values: list[int]) -> Picture:
        """The same with a field of whole numbers in its image."""
        image = self.image.copy()
        image.set_type(pyvips.GValue.array_int_type, name, values)
        return dataclasses.replace(self, image=image)

    def with_field(self, name: str, value: bytes) -> Picture:
        """The same with a field of bytes in its image."""
        image = self.image.copy()
        image.set_type(pyvips.GValue.blob_type, name, value)
        return dataclasses.replace(self, image=image)

    def without(self, *names: str) -> Picture:
        """The same without some fields of its image, which libvips would write."""
        image = self.image.copy()
        for name in names:
            image.remove(name)
        return dataclasses.replace(self, image=image)

    @property
    def exif_block(self) -> bytes:
        """All of its EXIF, without a prefix."""
        return self.exif.removeprefix(PREFIX)

    def to_srgb(self) -> Picture:
        """The same, its colours converted by its profile, which its format cannot hold."""
        depth = 16 if self.image.format == "ushort" else 8
        image = self.image.icc_transform("srgb", embedded=True, depth=depth)
        return dataclasses.replace(self, image=image)

    @property
    def keep(self) -> str:
        """The metadata that libvips writes: all, or all but an EXIF block of its own making.

        Where a picture has none, libvips makes one, with a resolution that nobody has told.
        """
        known = self.carried.find("exif-data") is not None or self.carried.has_resolution
        return "all" if known else "xmp:iptc:icc:other"


Encode = Callable[[Picture, Path], None]
"""Writes a picture to a file of that name, which is new and empty; raises ``pyvips.Error``."""


class VipsSink:
    """A sink of one picture or animation, which ``encode`` writes.

    ``any_colours`` says that the format can hold colours that are told by numbers (CICP), and
    ``longest_frame`` for how many seconds it can show one. ``meanwhile`` says that ``encode`` takes
    rows from the top, and little memory: a large picture is given to it while it is made.
    """

    def __init__(
        self,
        target: Path,
        encode: Encode,
        *,
        quality: int | None = None,
        any_colours: bool = False,
        longest_frame: Fraction | None = None,
        meanwhile: bool = False,
    ) -> None:
        self.target = target
        self._longest_frame = longest_frame
        self._any_colours, self._meanwhile = any_colours, meanwhile
        self._encode, self._quality = encode, quality
        self._stack = ExitStack()
        self._row = output_format(target)
        self._not_kept: list[str] = []

    @property
    def not_kept(self) -> Sequence[str]:
        """See ``upres.raster.source.Sink``."""
        return tuple(dict.fromkeys(self._not_kept))

    def begin(self, info: RasterInfo, carried: object) -> None:
        """See ``upres.raster.source.Sink``."""
        check_output(self.target, info)
        self._carried = carried if isinstance(carried, Carried) else nothing_carried()
        if self._carried.frames != (info.frames or 1):
            self._carried = dataclasses.replace(self._carried, frames=info.frames or 1)
        self._not_kept = parts.not_kept(self._carried, self._row.keeps)
        if self._longest_frame is not None and self._carried.frames > 1:
            timing.check_longest(self.target, timing.seconds(self._carried), self._longest_frame)
        meaning = self._carried.meaning
        if meaning and not self._any_colours:
            raise OutputError(
                f"{self.target}: {self.target.suffix.lower()} cannot hold the picture's colours, "
                f"which are no sRGB and have no profile (CICP {meaning[0]}, {meaning[1]}): choose "
                ".png"
            )
        self._info = info
        dtype = sample_type(self._row, info)
        self._bands = info.varying
        if dtype != info.dtype or (dtype.kind == "u" and dtype.itemsize <= 2):
            # All of the type's range. A source with a largest sample of its own has less.
            most = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
            self._bands = tuple(
                b if (b.low, b.high) == (0, most) else dataclasses.replace(b, low=0.0, high=most)
                for b in self._bands
            )
        shape = (info.height, info.width, len(self._bands))
        name = temporary_name(self.target, ".raw")
        self._spool = self._stack.enter_context(Spool(name, shape, dtype, head=head_of))
        self._path = self._stack.enter_context(temporary(self.target, self.target.suffix))
        self._stream = None
        # A picture of which no more than a few windows is there is encoded at its end.
        if (info.frames or 1) > 1 or (self._meanwhile and self._spool.pixels is None):
            # libvips sets the metadata of what it reads once more at its first pixels, which this
            # thread asks for while the encoder's reads them: a list that grows then ends a process.
            own = self._carried.image.copy()
            self._carried = dataclasses.replace(self._carried, image=own)
            self._stream = self._stack.enter_context(
                FrameStream(self._spool, info.frames or 1, self._write)
            )
        self._missing = info.pixels

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        """See ``upres.raster.source.Sink``."""
        rows, columns, _ = block.shape
        self._spool.write(
            top, left, from_bands(block, self._bands, self._spool.dtype, self._info.nodata)
        )
        self._missing -= rows * columns
        bottom = top + rows
        if self._stream and self._missing == self._info.pixels - bottom * self._info.width:
            with self._telling():
                self._stream.rows_are_there(bottom)
        if not self._missing and self._stream:
            with self._telling():
                self._stream.next_frame()
            self._missing = self._info.pixels

    def encoded(self) -> Path:
        """The file, which is there until the sink is left."""
        with self._telling():
            if self._stream:
                self._stream.finish()
            else:
                self._write(as_image(self._spool))
        return self._path

    def commit(self, *, replace: bool) -> None:
        """See ``upres.raster.source.Sink``."""
        publish(self.encoded(), self.target, replace=replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _write(self, image: pyvips.Image) -> None:
        image = self._with_constants(image)
        image, exif = with_metadata(
            image,
            self._carried,
            interpretation=_interpretation(self._info, self._spool.dtype),
            suffix=self.target.suffix.lower(),
        )
        picture = Picture(image, exif, self._carried, self._info, self._quality, self._not_kept)
        self._encode(picture, self._path)

    def _with_constants(self, image: pyvips.Image) -> pyvips.Image:
        """With the alpha that is opaque throughout, where the format has alpha."""
        constant = next((band for band in self._info.bands if band.constant), None)
        if constant is None or not self._row.alpha:
            return image
        dtype = self._spool.dtype
        kind = next(name for name, known in DTYPES.items() if known == dtype)
        whole = dtype.kind == "u" and (dtype != self._info.dtype or dtype.itemsize <= 2)
        place = self._info.bands.index(constant)
        before, after = image[:place], place < image.bands and image[place:]
        image = before.bandjoin_const([np.iinfo(dtype).max if whole else constant.high]).cast(kind)
        return image.bandjoin(after) if after else image

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Raise ``OutputError`` with libvips' words when it cannot write."""
        try:
            yield
        except pyvips.Error as error:
            # Its words may lack that the disk is full: there is one place for those of all threads.
            cause = full_disk(self.target.parent) or error
            line = first_line(error)
            raise OutputError(f"{self.target}: cannot write this picture: {line}") from cause


def save(image: pyvips.Image, operation: str, path: Path, **options: Any) -> None:
    """Have libvips write ``image`` to a file that is there, by ``jpegsave`` or the like."""
    # By a descriptor: pyvips fails where libvips says a name that is not UTF-8.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        target = pyvips.Target.new_to_descriptor(descriptor)
        pyvips.Operation.call(f"{operation}_target", image, target, **options)
    finally:
        os.close(descriptor)


def _interpretation(info: RasterInfo, dtype: np.dtype[Any]) -> str:
    """The name that libvips has for the colours, as samples of ``dtype``."""
    deep = dtype == np.uint16
    if info.find("ink"):
        return "cmyk"
    if not info.colour_bands:
        return "grey16" if deep else "b-w"
    if dtype == np.float32:
        return "scrgb"
    return "rgb16" if deep else "srgb"
