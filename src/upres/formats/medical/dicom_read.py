"""The headers of DICOM files, as pydicom reads them, and which files are taken."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from upres.errors import InputError

Numbers = tuple[float, ...]

COLOUR_SPACES = (
    *("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT"),
    "YBR_RCT",
)
GREYS = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"

_DEFERRED_BYTES = 2**16
"""Larger values are read when they are written."""

_MOST_FRAMES = 2**20

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66."

_quiet = threading.RLock()


@dataclass(frozen=True)
class DicomPicture:
    """All of a DICOM file that decides how its samples are read and where they lie."""

    path: Path
    rows: int
    columns: int
    frames: int
    photometric: str
    allocated: int
    stored: int
    signed: bool
    padding: int | None
    """The sample that means that there is none."""
    padding_limit: int
    """The other end of the samples that mean it, too."""
    position: Numbers | None
    """Of the centre of the first sample, in mm."""
    orientation: Numbers | None
    """Along a row and along a column, six numbers."""
    spacing: Numbers | None
    """Between rows, and between columns, in mm."""
    rescale: Numbers
    """Slope and intercept from samples to values."""
    instance: str
    series: str
    sop_class: str
    number: str

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest sample that the bits stored can hold."""
        if self.photometric not in GREYS:
            return 0, 2**self.stored - 1 if self.photometric != PALETTE else 255
        if self.signed:
            return -(2 ** (self.stored - 1)), 2 ** (self.stored - 1) - 1
        return 0, 2**self.stored - 1

    @property
    def colours(self) -> bool:
        """Whether it is read as red, green and blue."""
        return self.photometric not in GREYS

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its samples in a raster: there are no signed ones of 8 bits."""
        if self.photometric == PALETTE:
            return np.dtype(np.uint8)
        if self.signed:
            return np.dtype(np.int16)
        return np.dtype(np.uint8 if self.allocated == 8 else np.uint16)

    @property
    def kind(self) -> tuple[object, ...]:
        """All that the slices of one volume have in common."""
        turned = tuple(round(v, 3) for v in self.orientation or ())
        spacing = tuple(round(v, 5) for v in self.spacing or ())
        samples = (self.photometric, self.allocated, self.stored, self.signed)
        return (self.rows, self.columns, turned, spacing, self.position is None, *samples)


@contextmanager
def quiet() -> Iterator[None]:
    """Around pydicom, whose warnings are of no use to those who cannot mend their files."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Raise ``InputError`` with the file's name for whatever the library finds wrong in it."""
    try:
        with quiet():
            yield
    except (InputError, GeneratorExit, MemoryError):
        raise
    except Exception as error:  # of many kinds, as many as there are ways to damage a file
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        reason = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        raise InputError(f"{path}: this file is damaged or truncated: {reason}") from None


def read(path: Path, tags: list[str] | None = None) -> FileDataset:
    """A file's elements before its pixels, or those of certain ``tags`` only.

    Raises ``InputError`` if it cannot be read.
    """
    with telling(path):
        return pydicom.dcmread(
            path,
            stop_before_pixels=True,
            force=True,
            defer_size=_DEFERRED_BYTES,
            specific_tags=list(tags) if tags else None,
        )


def picture(path: Path) -> DicomPicture:
    """Look at a file's header; raises ``InputError`` if upres does not take it."""
    dataset = read(path)
    with telling(path):
        return _picture(path, dataset)


def _picture(path: Path, dataset: FileDataset) -> DicomPicture:
    def number(name: str, default: int | None = None) -> int:
        value = dataset.get(name)
        if value is None or value == "":
            if default is None:
                raise ValueError(f"it has no {name}")
            return default
        return int(value)

    def numbers(name: str, count: int) -> Numbers | None:
        value = dataset.get(name)
        if value is None or value == "":
            return None
        found = tuple(float(v) for v in value)
        if len(found) != count or not all(np.isfinite(found)):
            raise ValueError(f"its {name} is {value}")
        return found

    if dataset.get("Rows") is None or dataset.get("Columns") is None:
        raise InputError(f"{path}: this DICOM file has no pixels")
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    found = DicomPicture(
        path=path,
        rows=number("Rows"),
        columns=number("Columns"),
        frames=number("NumberOfFrames", 1),
        photometric=photometric,
        allocated=number("BitsAllocated"),
        stored=number("BitsStored"),
        signed=bool(number("PixelRepresentation", 0)),
        padding=None,
        padding_limit=0,
        position=numbers("ImagePositionPatient", 3),
        orientation=numbers("ImageOrientationPatient", 6),
        spacing=numbers("PixelSpacing", 2),
        rescale=(
            float(dataset.get("RescaleSlope", 1) or 1),
            float(dataset.get("RescaleIntercept", 0) or 0),
        ),
        instance=str(dataset.get("SOPInstanceUID", "")),
        series=str(dataset.get("SeriesInstanceUID", "")),
        sop_class=str(dataset.get("SOPClassUID", "")),
        number=str(dataset.get("InstanceNumber", "") or ""),
    )
    _check(path, dataset, found, number)
    return _with_padding(dataset, found)


def _check(path: Path, dataset: FileDataset, found: DicomPicture, number: Any) -> None:
    """Raise ``InputError`` for kinds of pictures whose result would be wrong."""
    syntax = transfer_syntax(dataset)
    samples = number("SamplesPerPixel", 1)
    known = COLOUR_SPACES if samples == 3 else (*GREYS, PALETTE)
    refused = ""
    if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        refused = f"its transfer syntax is {syntax.name}: convert it by dcmconv +te"
    elif not found.sop_class:
        refused = "has no SOPClassUID, which tells what kind of picture it is"
    elif "TotalPixelMatrixColumns" in dataset:
        refused = "is a tile of a whole slide, whose tiles have places of their own"
    elif found.sop_class.startswith(_SEGMENTATION):
        refused = "is a segmentation, which belongs to the samples of its pictures"
    elif found.allocated not in (8, 16):
        refused = f"has samples of {found.allocated} bits, and upres takes 8 and 16"
    elif found.photometric not in known:
        refused = f"its colours are {found.photometric or 'not told'}, which upres does not take"
    elif dataset.get("PixelPresentation") in ("COLOR", "MIXED"):
        refused = "some of its samples are numbers of colours"
    elif found.photometric == PALETTE and found.signed:
        refused = "its numbers of a palette are signed"
    if refused:
        raise InputError(f"{path}: {refused}")
    if min(found.rows, found.columns, found.frames) < 1 or found.frames > _MOST_FRAMES:
        raise ValueError(f"{found.columns}x{found.rows} pixels, {found.frames} frames")
    high = number("HighBit", found.stored - 1)
    if not 1 < found.stored <= found.allocated or high != found.stored - 1:
        raise ValueError(
            f"{found.stored} bits stored of {found.allocated}, the highest called {high}"
        )
    if found.spacing and min(found.spacing) <= 0:
        raise ValueError(f"its PixelSpacing is {found.spacing}")


def _with_padding(dataset: FileDataset, found: DicomPicture) -> DicomPicture:
    """The same with the samples that mean that there is none, if the header tells them."""
    value = dataset.get("PixelPaddingValue")
    if value is None or found.colours:
        return found
    low, high = found.limits

    def inside(number: int) -> int | None:
        # Some write signed ones as if they were unsigned, and the reverse.
        same = (number, number - 2**16, number - 2**found.stored, number + 2**16)
        return next((n for n in same if low <= n <= high), None)

    padding = inside(int(value))
    if padding is None:
        return found
    limit = dataset.get("PixelPaddingRangeLimit")
    other = padding if limit is None else inside(int(limit))
    facts = vars(found) | {"padding": padding, "padding_limit": padding if other is None else other}
    return DicomPicture(**facts)


def transfer_syntax(dataset: FileDataset) -> pydicom.uid.UID:
    """How a file is stored; of one without a preamble, as its elements look."""
    meta = getattr(dataset, "file_meta", None)
    told = meta.get("TransferSyntaxUID") if meta is not None else None
    if told is not None:
        return pydicom.uid.UID(told)
    implicit, little = dataset.original_encoding
    if not little:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
