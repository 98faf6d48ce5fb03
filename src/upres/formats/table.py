"""The table of formats: a row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from upres.formats.medical.recognising import is_dicom, is_nifti
from upres.formats.metadata import names
from upres.formats.metadata.geotags import is_geotiff
from upres.formats.metadata.names import PHOTOGRAPH
from upres.formats.metadata.raw_files import is_raw
from upres.formats.suffixes import OTHER_VIDEO_HEADS, OTHER_VIDEOS, RAW_SUFFIXES, VIDEOS


@dataclass(frozen=True)
class Format:
    """A format of files: how it is recognised, and the content that it can hold."""

    name: str
    """In small letters: ``jpeg``."""
    suffixes: tuple[str, ...]
    """In small letters, the customary one first; those of files that are read and written."""
    signature: bytes
    """A regular expression that a file's first ``HEAD_BYTES`` match from their start."""
    module: str
    """Where it is read and written: the name of a module in ``upres.formats`` that has
    ``open_pages(path, *, keep_cmyk)`` and, if it is written, ``create_sink(path, *, quality, pages,
    content_bytes)``."""
    holds: Callable[[Path], bool] | None = None
    """Where others have that signature, too: whether a file that has it is of this format."""
    telling: bool = True
    """Whether a signature leaves no doubt: no text happens to begin so."""
    becomes: str = ".tif"
    """The suffix of results, where files of it are only read."""
    extra: str | None = None
    """The extra of upres that the module's libraries are in."""
    types: tuple[str, ...] = ()
    """Types of samples that it holds, the least first; none of a format that is only read."""
    alpha: bool = False
    cmyk: bool = False
    grey: bool = True
    others: bool = False
    """Whether it holds bands that are no colours."""
    any_range: bool = False
    """Whether samples may lie outside of [0, 1], or of their type's range."""
    gaps: bool = False
    """Whether samples may be missing."""
    linear: bool = False
    """Whether its samples are proportional to light."""
    frames: bool = False
    pages: bool = False
    endless: bool = False
    """Whether it is for videos: frames whose number is known at the end only."""
    loses_colours: bool = False
    """Whether samples may become others when it is written."""
    keeps: frozenset[str] = frozenset()
    """Which parts of what a picture's file says of itself it has a place for: see
    ``upres.formats.metadata.names``. A profile that is applied to the pixels is kept, too."""
    longest_side: int | None = None
    """Most pixels of a side."""
    closed: bool = False
    """Whether its files become files of it only, and these are made of none else."""
    encoder_bytes: int = 0
    """Memory for each pixel of an encoder that wants a whole frame at once, as measured."""

    @property
    def writes(self) -> bool:
        """Whether files of it are written."""
        return bool(self.types)


HEAD_BYTES = 256
_WHOLE, _FLOAT = ("uint8", "uint16"), ("float32",)

FORMATS = (
    Format(
        "png",
        (".png", ".apng"),
        rb"\x89PNG\r\n\x1a\n",
        "image.png",
        types=("uint8", "uint16"),
        alpha=True,
        frames=True,
        keeps=PHOTOGRAPH
        | {names.IPTC, names.PHOTOSHOP, names.ASPECT, names.COMMENTS, names.TEXT, names.CHUNKS},
    ),
    Format(
        "jpeg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        rb"\xff\xd8",
        "image.jpeg",
        types=("uint8",),
        loses_colours=True,
        cmyk=True,
        longest_side=65535,
        keeps=PHOTOGRAPH
        | {names.IPTC, names.PHOTOSHOP, names.ASPECT, names.COMMENTS, names.GAIN_MAP, names.MAKERS},
    ),
    # Cameras' several pictures in one file. The first is taken, and is told as JPEG.
    Format("mpo", (".mpo",), rb"\xff\xd8", "image.jpeg", becomes=".jpg"),
    Format(
        "webp",
        (".webp",),
        rb"RIFF.{4}WEBP",
        "image.webp",
        types=("uint8",),
        loses_colours=True,
        alpha=True,
        frames=True,
        longest_side=16383,
        encoder_bytes=8,
        keeps=PHOTOGRAPH,
    ),
    # Before TIFF: a file of it may begin like one (PS3.10, 7.1).
    Format(
        "dicom",
        (".dcm", ".dicom"),
        rb".{128}DICM|[\x02\x08]\0.\0",
        "medical.dicom",
        holds=is_dicom,
        extra="medical",
        types=("uint8", "uint16", "int16"),
        others=True,
        any_range=True,
        frames=True,
        pages=True,
        gaps=True,
        closed=True,
    ),
    Format(
        "camera raw",
        RAW_SUFFIXES,
        rb"II\*\0|MM\0\*|.{4}ftypcrx |FUJIFILMCCD-RAW |II(?:R[OS]|U\0)|MMOR|\0MRM",
        "image.raw",
        holds=is_raw,
        extra="formats",
    ),
    # Written as TIFF is.
    Format(
        "geotiff",
        (".gtif", ".gtiff"),
        rb"II[*+]\0|MM\0[*+]",
        "geo.source",
        holds=is_geotiff,
        extra="geo",
    ),
    Format(
        "tiff",
        (".tif", ".tiff"),
        rb"II[*+]\0|MM\0[*+]",
        "image.tiff",
        types=("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"),
        alpha=True,
        cmyk=True,
        others=True,
        any_range=True,
        pages=True,
        gaps=True,
        keeps=PHOTOGRAPH | {names.IPTC, names.PLACE},
    ),
    Format(
        "avif",
        (".avif",),
        rb".{4}ftyp(?:.{4})*?avi[fs]",
        "image.avif",
        types=("uint8", "uint16"),
        loses_colours=True,
        alpha=True,
        frames=True,
        longest_side=16384,
        encoder_bytes=34,
        keeps=PHOTOGRAPH,
    ),
    Format(
        "gif",
        (".gif",),
        rb"GIF8[79]a",
        "image.gif",
        types=("uint8",),
        alpha=True,
        frames=True,
        longest_side=65535,
        encoder_bytes=12,
        keeps=frozenset({names.XMP, names.COMMENTS, names.PROFILE}),
    ),
    Format(
        "jxl",
        (".jxl",),
        rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
        "image.jxl",
        extra="formats",
        types=("uint8", "uint16", "float32"),
        loses_colours=True,
        alpha=True,
        encoder_bytes=90,
        keeps=PHOTOGRAPH,
    ),
    Format(
        "heic",
        (".heic", ".heif", ".hif"),
        rb".{4}ftyp(?:.{4})*?(?:hei[cxms]|hev[cxms]|m[is]f1)",
        "image.heic",
        extra="formats",
        types=("uint8", "uint16"),
        loses_colours=True,
        alpha=True,
        longest_side=16384,
        encoder_bytes=90,
        keeps=PHOTOGRAPH,
    ),
    Format(
        "jpeg 2000",
        (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
        rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
        "image.jp2",
        extra="formats",
        types=("uint8", "uint16"),
        loses_colours=True,
        alpha=True,
        keeps=PHOTOGRAPH,
    ),
    Format(  # the size of the header that follows tells it from others that begin with BM
        "bmp",
        (".bmp", ".dib"),
        rb"BM.{12}[\x0c\x10(48@l|]\0{3}",
        "image.bmp",
        types=("uint8",),
        alpha=True,
        keeps=frozenset({names.PROFILE, names.RESOLUTION}),
    ),
    Format(
        "pnm",
        (".ppm", ".pgm", ".pnm"),
        rb"P[2356][\s#]",
        "image.netpbm",
        telling=False,
        types=_WHOLE,
    ),
    Format("pbm", (".pbm",), rb"P[14][\s#]", "image.netpbm", telling=False),
    Format(
        "pam", (".pam",), rb"P7\n", "image.netpbm", types=_WHOLE, alpha=True, cmyk=True, others=True
    ),
    Format(
        "pfm",
        (".pfm",),
        rb"P[Ff]\s",
        "image.pfm",
        telling=False,
        types=_FLOAT,
        any_range=True,
        linear=True,
        keeps=frozenset({names.PROFILE}),
    ),
    Format(
        "exr",
        (".exr",),
        rb"\x76\x2f\x31\x01",
        "image.exr",
        extra="formats",
        types=("float16", "float32"),
        alpha=True,
        others=True,
        any_range=True,
        linear=True,
        keeps=frozenset({names.PROFILE, names.RESOLUTION}),
    ),
    Format(
        "hdr",
        (".hdr",),
        rb"#\?(RADIANCE|RGBE)\s",
        "image.hdr",
        types=_FLOAT,
        any_range=True,
        linear=True,
        keeps=frozenset({names.PROFILE}),
    ),
    Format(
        "nifti",
        (".nii", ".nii.gz"),
        rb"(?:\x5c\x01|\x1c\x02)\0\0|\0\0(?:\x01\x5c|\x02\x1c)|\x1f\x8b",
        "medical.nifti",
        holds=is_nifti,
        extra="medical",
        types=("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"),
        others=True,
        any_range=True,
        frames=True,
        gaps=True,
        closed=True,
    ),
    Format(  # sound alone begins so, too
        "video",
        VIDEOS,
        rb".{4}(?:ftyp|moov|mdat|free|skip|wide|pnot)|\x1a\x45\xdf\xa3",
        "video.files",
        telling=False,
        extra="video",
        types=("float32",),
        frames=True,
        endless=True,
    ),
    Format(
        "other video",
        OTHER_VIDEOS,
        OTHER_VIDEO_HEADS,
        "video.files",
        telling=False,
        becomes=".mkv",
        extra="video",
        endless=True,
    ),
)

SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)
"""Of the files that are read, in lower case."""

OUTPUT_SUFFIXES = tuple(suffix for row in FORMATS if row.writes for suffix in row.suffixes)
"""Of the files that can be written."""
