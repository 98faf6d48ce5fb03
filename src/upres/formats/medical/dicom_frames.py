"""The samples of DICOM files, frame by frame: pylibjpeg and pyjpegls decode compressed ones."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import RLELossless

from upres.errors import InputError
from upres.formats.medical import codestreams
from upres.formats.medical.dicom_read import PALETTE, DicomPicture, read, telling, transfer_syntax


def frames(found: DicomPicture) -> Generator[NDArray[Any]]:
    """Each frame: rows x columns x bands of ``DicomPicture.dtype``.

    Raises ``InputError`` if the file turns out to be damaged.
    """
    dataset = read(found.path)
    with telling(found.path):
        if transfer_syntax(dataset).is_encapsulated:
            _check_codestreams(found)
        source: Any = found.path
        if "TransferSyntaxUID" not in (getattr(dataset, "file_meta", None) or {}):
            source = pydicom.dcmread(found.path, force=True)
            source.file_meta = FileMetaDataset()
            source.file_meta.TransferSyntaxUID = transfer_syntax(dataset)
        # The other decoder of RLE ends the whole process where a file is damaged.
        plugin = "pydicom" if transfer_syntax(dataset) == RLELossless else ""
        decoded = iter_pixels(source, correct_unused_bits=False, decoding_plugin=plugin)
    try:
        for count in range(found.frames):
            with telling(found.path):
                samples = next(decoded, None)
                if samples is None:
                    raise ValueError(f"{count} of {found.frames} frames are there")
                frame = _as_raster(samples, found, dataset)
            yield frame
    finally:
        cast(Generator[NDArray[Any]], decoded).close()


def _check_codestreams(found: DicomPicture) -> None:
    """Raise ``ValueError`` where a frame would be decoded to more pixels than its header says."""
    rows, columns = codestreams.largest(found.path)
    if rows > found.rows or columns > found.columns:
        raise ValueError(f"one of its frames says that it has {columns}x{rows} pixels")


def _as_raster(samples: NDArray[Any], found: DicomPicture, dataset: Dataset) -> NDArray[Any]:
    size = (found.rows, found.columns)
    if samples.shape[:2] != size:
        raise ValueError(f"its frames are {samples.shape[1]}x{samples.shape[0]} pixels")
    if found.photometric == PALETTE:
        coloured = apply_color_lut(samples, dataset)
        if coloured.dtype == np.uint16:  # as they are shown
            coloured = (coloured >> 8).astype(np.uint8)
        return coloured[:, :, :3]
    samples = samples.reshape(*size, -1)
    unused = 8 * samples.dtype.itemsize - found.stored
    if unused:
        kept = (samples << unused) >> unused
        # The bits that signed samples do not need repeat the sign, or are all 0.
        told = (kept == samples).all() or (samples >> found.stored == 0).all()
        if not told and not _has_planes_in_pixels(dataset):
            raise InputError(
                f"{found.path}: some samples are beyond the {found.stored} bits that it says are "
                "stored"
            )
        samples = kept
    samples = samples.astype(found.dtype)
    if found.padding is not None and found.padding_limit != found.padding:
        low, high = sorted((found.padding, found.padding_limit))
        samples[(samples >= low) & (samples <= high)] = found.padding
    return samples


def _has_planes_in_pixels(dataset: Dataset) -> bool:
    """Whether overlays are stored in the bits that samples do not need."""
    groups = range(0x6000, 0x6020, 2)
    return any((group, 0x0102) in dataset and (group, 0x3000) not in dataset for group in groups)
