"""Pictures that libvips reads: their info, and their pixels in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.engine.machine import machine_memory
from upres.errors import InputError
from upres.files import temporary_name
from upres.formats.image.spooled import source_of
from upres.formats.metadata import embedded
from upres.formats.metadata.carried import Carried, coarse_levels
from upres.formats.metadata.colour import normalised, with_meaning
from upres.formats.metadata.jpeg_segments import jpeg_quality
from upres.formats.registry import HEAD_BYTES, read_head, recognised
from upres.raster.info import RGB_ROLES, Band, RasterInfo, Role
from upres.raster.source import Rows
from upres.raster.spool import Spool

LOADERS = {
    "avif": "heifload",
    "gif": "gifload",
    "jpeg": "jpegload",
    "png": "pngload",
    "tiff": "tiffload",
    "webp": "webpload",
}
"""libvips' operations by format. A file is given to the one that its first bytes ask for, so that
none is ever opened by a loader that is not made for files from strangers."""

DTYPES: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "short": np.dtype(np.int16),
    "uint": np.dtype(np.uint32),
    "int": np.dtype(np.int32),
    "float": np.dtype(np.float32),
}
"""libvips' names of the kinds of samples."""

_BLOCK_BYTES = 2**22

_KEPT_BYTES = 2**18
"""A picture of no more is kept once it is read, as to open and decode it again takes long."""

_NOT_READ = {
    "samples out of range": "its samples are of more than 32 bits",
    "bad labq format": "its colours are CIELAB of 8 bits",
    "compression support is not configured": "its compression is one",
    "decoding is not implemented": "its compression is one",
    "tiled separate planes": "its samples are in planes of tiles",
    "not a whole number of bytes": "its samples are no whole bytes",
    "unsupported tiff image type": "its samples are of a kind",
    "Unsupported JPEG data precision": "its samples are of another depth than 8 bits",
}
"""libvips' words on files of kinds that it does not read, which sound like damage."""


class VipsSource:
    """A picture, a page of a file, or an animation; see ``upres.raster.source``.

    ``loader`` is libvips' operation, and ``source`` makes its input, where that is not the
    file as it is. ``extras`` are the roles of the bands that follow those of colour, where the file
    tells them; by default there may be alpha. ``facts`` are things that libvips does not tell of
    the file, ``blocks`` are metadata that it may not find, by its names, and ``has_resolution``
    says whether the file tells the size of pixels other than by EXIF, ``has_orientation`` whether
    it is TIFF that has a tag of that. ``colour_numbers`` are ``with_meaning``'s, and ``memory_of``
    tells the bytes of memory of the machine that is to decode it. ``to_rgb`` is what remains to be
    done where ``source`` gives other bands than colours.

    Raises ``InputError`` if the file is damaged, or of a kind that could not be written back whole.
    """

    def __init__(
        self,
        path: Path,
        loader: str,
        *,
        keep_cmyk: bool = False,
        animated: bool = False,
        source: Callable[[], pyvips.Source] | None = None,
        page: int | None = None,
        extras: tuple[Role, ...] | None = None,
        facts: Carried | None = None,
        blocks: Mapping[str, bytes] | None = None,
        has_resolution: bool = False,
        has_orientation: bool = False,
        memory_of: Callable[[], int | None] = machine_memory,
        colour_numbers: tuple[int, int] = (2, 2),
        to_rgb: Callable[[pyvips.Image], pyvips.Image] | None = None,
    ) -> None:
        self.path = path
        self._loader, self._keep_cmyk = loader, keep_cmyk
        self._source, self._memory_of, self._to_rgb = source, memory_of, to_rgb
        self._animated = animated
        self._extras = extras
        self._facts, self._blocks, self._has_resolution = facts, blocks or {}, has_resolution
        self._colour_numbers, self._has_orientation = colour_numbers, has_orientation
        self._kept: list[Rows] | None = None
        self._image, self.carried = self._open()
        self.info = self._told(self._image, page)

    def _open(self) -> tuple[pyvips.Image, Carried]:
        """The picture, to be read once from the top, and its metadata."""
        options = {"n": -1} if self._animated else {}
        source = self._source() if self._source else None
        loaded = load(self.path, self._loader, source=source, **options)
        _check_memory(self.path, loaded, self._loader, self._memory_of)
        if self._to_rgb:
            loaded = self._to_rgb(loaded)
        facts = self._facts or Carried(loaded)
        image = embedded.completed(
            loaded, self._loader, self._blocks, self._has_resolution, facts.density
        )
        orientation = embedded.orientation(image, self._loader, has_tag=self._has_orientation)
        try:
            image, meaning = with_meaning(image, *self._colour_numbers)
            image = normalised(image, self._keep_cmyk)
        except pyvips.Error as error:
            raise damaged(self.path, error) from None
        frames = int(image.get("n-pages")) if self._animated else 1
        carried = replace(
            facts,
            image=image,
            path=self.path,
            frames=frames,
            orientation=orientation,
            meaning=meaning,
            jpeg_quality=jpeg_quality(facts.segments),
            lossy=facts.lossy or coarse_levels(loaded),
        )
        return image, carried

    def _told(self, image: pyvips.Image, page: int | None) -> RasterInfo:
        carried = self.carried
        kind = image.format
        if kind not in DTYPES:
            raise InputError(
                f"{self.path}: its samples are {kind}, which upres does not take: convert "
                "them to 8 or 16 bits"
            )
        dtype = DTYPES[kind]
        count, cmyk = image.bands, image.interpretation == "cmyk"
        alpha: tuple[Role, ...] = ("alpha",) if image.hasalpha() else ()
        extras = alpha if self._extras is None else self._extras
        colours = count - len(extras)
        if colours not in ((4,) if cmyk else (1, 3)):
            raise InputError(
                f"{self.path}: has {count} channels; upres takes grey, RGB and CMYK: split it"
            )
        height = int(image.get("page-height")) if carried.frames > 1 else image.height
        width = image.width
        if carried.orientation >= 5:
            height, width = width, height
        usual: dict[int, tuple[Role, ...]] = {1: ("grey",), 3: RGB_ROLES, 4: ("ink",) * 4}
        roles = (*usual[colours], *extras)
        whole = dtype.kind == "u" and dtype.itemsize < 4
        low, high = (0.0, float(np.iinfo(dtype).max)) if whole else (None, None)
        turned = carried.orientation != 1
        return RasterInfo(
            height=height,
            width=width,
            bands=tuple(Band(role, low, high) for role in roles),
            dtype=dtype,
            name=str(self.path),
            page=page,
            frames=carried.frames,
            scratch_bytes=height * width * count * dtype.itemsize if turned else 0,
            jpeg_quality=carried.jpeg_quality,
        )

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame in turn, upright, in blocks of rows from the top."""
        if self._kept is None and self.info.frames == 1 and self.info.frame_bytes <= _KEPT_BYTES:
            self._kept = [block for rows in self._frames(beside) for block in rows]
        yield from self._frames(beside) if self._kept is None else [iter(self._kept)]

    def _frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        image, self._image = self._image, None
        if image is None:  # a sequential picture can be read once only
            image, _ = self._open()
        region = pyvips.Region.new(image)
        height, width = self.info.height, self.info.width
        if self.carried.orientation >= 5:
            height, width = width, height
        tops = range(0, (self.info.frames or 1) * height, height)
        frames = (self._rows(region, top, height, width) for top in tops)
        yield from upright(frames, self.info, self.carried.orientation, beside)

    def _rows(self, region: Any, start: int, height: int, width: int) -> Iterator[Rows]:
        bands, dtype = len(self.info.bands), self.info.dtype
        count = min(64, max(1, _BLOCK_BYTES // (width * bands * dtype.itemsize)))
        for top in range(0, height, count):
            rows = min(count, height - top)
            try:
                content = region.fetch(0, start + top, width, rows)
            except pyvips.Error as error:
                raise damaged(self.path, error) from None
            yield np.frombuffer(content, dtype).reshape(rows, width, bands)


def upright(
    frames: Iterable[Iterator[Rows]], info: RasterInfo, orientation: int, beside: Path
) -> Iterator[Iterator[Rows]]:
    """Frames as they are stored, turned upright: ``orientation`` is EXIF's.

    One that has to be turned is spooled beside the file ``beside``.
    """
    height, width = info.height, info.width
    if orientation >= 5:
        height, width = width, height
    for rows in frames:
        if orientation == 1:
            yield rows
            continue
        shape = (height, width, len(info.bands))
        with Spool(temporary_name(beside, ".raw"), shape, info.dtype) as spool:
            spool.fill(rows)
            yield spool.blocks(orientation)


def load(
    path: Path, loader: str, *, source: pyvips.Source | None = None, **options: Any
) -> pyvips.Image:
    """Open a file, or ``source`` in its place, for one pass from the top.

    Raises ``InputError`` if it is damaged, or cannot be read.
    """
    # Its words on the file before must not be taken for those on this one.
    pyvips.vips_lib.vips_error_clear()
    try:
        source = source or _source_of(path)
        # Lenient loading would fill the lacking part of a truncated file with grey.
        image: pyvips.Image = pyvips.Operation.call(
            f"{loader}_source", source, access="sequential", fail_on="error", **options
        )
        # The Python part of a source has to live for as long as the image.
        image._references.append(source)
    except pyvips.Error as error:
        raise damaged(path, error) from None
    return image


def _source_of(path: Path) -> pyvips.Source:
    try:
        return source_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read this picture: {error.strerror}") from None


def _check_memory(
    path: Path, image: pyvips.Image, loader: str, memory_of: Callable[[], int | None]
) -> None:
    """Refuse a file that is decoded as a whole, if that takes more than half of the memory."""
    if not image.get_typeof("interlaced"):
        return
    # Of progressive JPEG all coefficients, two bytes each; of interlaced PNG all samples.
    jpeg = loader == "jpegload"
    needed = (
        image.height * image.width * image.bands * (2 if jpeg or image.format != "uchar" else 1)
    )
    memory = memory_of()
    if memory is not None and needed > memory // 2:
        kind = "a progressive JPEG" if jpeg else "an interlaced PNG"
        raise InputError(
            f"{path}: {kind}, whose {image.width}x{image.height} pixels take {needed:,} bytes to "
            f"decode, more than half of this machine's {memory:,}: convert it to one that is not"
        )


def read_rgb8(source: Path | bytes, *, name: str | None = None) -> NDArray[np.uint8]:
    """A picture as height x width x 3, uint8, alpha dropped and grey repeated.

    ``source`` is a file, or its content (``name`` then names it in errors). No colour
    profile is applied. Raises ``InputError`` if it cannot be read.
    """
    path = Path(name or "picture") if isinstance(source, bytes) else source
    head = source if isinstance(source, bytes) else read_head(source)
    row = recognised(head[:HEAD_BYTES])
    if row is None or row.name not in LOADERS:
        known = ", ".join(sorted(LOADERS))
        raise InputError(f"{path}: not a picture in a format that is read here: {known}")
    content = pyvips.Source.new_from_memory(source) if isinstance(source, bytes) else None
    try:
        image = normalised(load(path, LOADERS[row.name], source=content))
        if image.format != "uchar" or image.interpretation != "srgb":
            image = image.colourspace("srgb")
        pixels: NDArray[np.uint8] = image[:3].numpy()
    except pyvips.Error as error:
        raise damaged(path, error) from None
    return pixels


def damaged(path: Path, error: pyvips.Error) -> InputError:
    """The error of a file that libvips cannot go on reading."""
    line = first_line(error)
    for said, kind in _NOT_READ.items():
        if said in line:
            return InputError(
                f"{path}: {kind}, which upres does not read: convert it to PNG, or to TIFF of 8 or "
                "16 bits, or of floating point of 32"
            )
    # libvips has one place for the words of all threads: a word on another file is none on
    # this one, and that something was not done is known.
    told = "" if '"' in line or line.startswith("unable to") else f": {line}"
    return InputError(f"{path}: this picture is damaged or truncated{told}")


def first_line(error: pyvips.Error) -> str:
    """The words of libvips, in one line."""
    lines = [line for line in str(error.detail).splitlines() if line.strip()]
    return lines[0].strip() if lines else str(error.message)
