"""Writes DICOM: each file by the header of the one that it is made of, without compression."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from upres import __version__
from upres.errors import OutputError, Remedy
from upres.files import publish, temporary, temporary_name
from upres.folders import publish_folder, temporary_folder
from upres.formats.medical import dicom_header, dicom_places, dicom_read, dicom_texts, series
from upres.formats.medical.dicom_read import DicomPicture
from upres.formats.medical.recognising import is_dicom
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.source import Rows
from upres.raster.spool import Spool

IMPLEMENTATION = "2.25.190397432391426374219283749110948577346"
"""The class UID of files that upres writes."""

_MOST_BYTES = 2**32 - 2
"""Of the samples of a file (PS3.5, 7.1.1)."""

_MOST_SAMPLES = 2**16 - 1
"""A side (PS3.3, C.7.6.3.1)."""

_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")


@dataclass(frozen=True)
class DicomCarried:
    """The files that a raster comes from: one, or a file for each slice."""

    pictures: tuple[DicomPicture, ...]


def _check_only_slices(folder: Path) -> None:
    """Raise ``OutputError`` for a folder with other files, which replacing it would remove."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if not (path.is_file() and is_dicom(path)):
            raise OutputError(f"{path}: is no DICOM file, and would be removed with its folder")


class DicomSink:
    """A sink of a file, or of a folder with a file for each slice; see ``upres.raster.source``."""

    def __init__(self, target: Path, *, in_folder: bool = False) -> None:
        self._target, self._in_folder = target, in_folder
        self._stack = ExitStack()
        self._open = ExitStack()
        """Holds the samples of a file until it is written."""
        self._not_kept: list[str] = []
        self._path: Path | None = None
        self._missing = 0

    @property
    def not_kept(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self._not_kept))

    def begin(self, info: RasterInfo, carried: object) -> None:
        if not isinstance(carried, DicomCarried):
            raise OutputError(f"{self._target}: a DICOM file is made of others only: choose .tif")
        self._info, self._pictures = info, carried.pictures
        frames = info.frames or 1
        self._between = frames // sum(each.frames for each in self._pictures)
        if (
            not self._in_folder
            and len(self._pictures) * self._between > 1
            and (len(self._pictures) > 1 or self._between > 1)
        ):
            raise OutputError(f"{self._target}: the slices of a series go into a folder")
        first = self._pictures[0]
        factor = max(1, info.height // first.rows)
        if (info.height, info.width) != (first.rows * factor, first.columns * factor):
            raise OutputError(
                f"{self._target}: a DICOM picture is enlarged by whole factors only",
                Remedy("scale", "gives such a factor"),
            )
        if max(info.height, info.width) > _MOST_SAMPLES:
            raise OutputError(
                f"{self._target}: {info.width}x{info.height} pixels are more than a DICOM file can "
                f"tell: at most {_MOST_SAMPLES:,} a side",
                Remedy("scale", "gives a smaller factor"),
            )
        self._stored = np.dtype(
            f"<{'i' if first.signed and not first.colours else 'u'}"
            f"{1 if first.dtype == np.uint8 or first.allocated == 8 else 2}"
        )
        size = first.frames * info.frame_bytes // info.dtype.itemsize * self._stored.itemsize
        if size > _MOST_BYTES:
            raise OutputError(
                f"{self._target}: {size:,} bytes of samples are more than a DICOM file can hold"
            )
        if self._path is None:
            make = temporary_folder if self._in_folder else temporary
            suffix = "" if self._in_folder else self._target.suffix
            self._path = self._stack.enter_context(make(self._target, suffix))
        self._stack.push(self._open)
        self._file, self._frame = 0, 0
        self._begin_file()

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        samples = self._samples(block)
        self._frames.write(self._frame * self._info.height + top, left, samples)
        self._missing -= block.shape[0] * block.shape[1]
        if self._missing:
            return
        self._missing, self._frame = self._info.pixels, self._frame + 1
        if self._frame == self._picture.frames:
            self._write_file()
            self._file, self._frame = self._file + 1, 0
            self._open.close()
            if self._file < len(self._pictures) * self._between:
                self._begin_file()

    def commit(self, *, replace: bool) -> None:
        assert self._path is not None
        if self._in_folder:
            _check_only_slices(self._target)
            publish_folder(self._path, self._target, replace=replace)
        else:
            publish(self._path, self._target, replace=replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        self._stack.close()

    @property
    def _picture(self) -> DicomPicture:
        """The file whose result is being written."""
        return self._pictures[self._file // self._between]

    def _begin_file(self) -> None:
        info = self._info
        shape = (self._picture.frames * info.height, info.width, len(info.bands))
        name = temporary_name(self._target, ".raw")
        self._frames = self._open.enter_context(Spool(name, shape, self._stored))
        self._missing = info.pixels

    def _samples(self, block: Float32Array) -> Rows:
        info = self._info
        samples = from_bands(block, info.varying, info.dtype, info.nodata)
        np.clip(samples, *self._picture.limits, out=samples)
        return samples.astype(self._stored, copy=False)

    def _write_file(self) -> None:
        assert self._path is not None
        source = self._picture
        path = self._path
        if self._in_folder:
            name = source.path.name
            if self._between > 1:
                part = self._file % self._between + 1
                name = f"{source.path.stem}_{part}{source.path.suffix}"
            path = self._path / name
        with dicom_read.telling(source.path):
            dataset = self._dataset(source)
        with self._content() as content, dicom_read.quiet():
            dataset.add_new("PixelData", "OB" if self._stored.itemsize == 1 else "OW", content)
            try:
                pydicom.dcmwrite(path, dataset, enforce_file_format=True, overwrite=True)
            except OSError:
                raise
            except Exception as error:  # whatever the library does not like of a stranger's file
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise OutputError(f"{self._target}: cannot write this file: {reason}") from None

    def _content(self) -> io.BufferedIOBase:
        """The samples as bytes, whose number is even (PS3.5, 8.1.1)."""
        odd = b"\0" * (self._frames.shape[0] * self._frames.row_bytes % 2)
        if self._frames.pixels is not None:
            return io.BytesIO(self._frames.pixels.tobytes() + odd)
        with self._frames.path.open("ab") as file:
            file.write(odd)
        return self._frames.path.open("rb")

    def _dataset(self, source: DicomPicture) -> FileDataset:
        info = self._info
        factor = info.height // source.rows
        dataset = dicom_read.read(source.path)
        syntax = dicom_read.transfer_syntax(dataset)
        dicom_texts.keep(dataset)
        self._not_kept += dicom_header.strip(dataset)
        if source.colours:
            if source.photometric == dicom_read.PALETTE:
                self._not_kept.append("palette")
                dicom_header.without_palette(dataset)
            dataset.PhotometricInterpretation = "RGB"
            dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
            bits = 8 * self._stored.itemsize
            if source.photometric == dicom_read.PALETTE:
                dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dicom_header.enlarge_overlays(dataset, factor)
        dicom_header.rescale(dataset, factor, thickness=self._between)
        dataset.Rows, dataset.Columns = info.height, info.width
        if self._between > 1:
            self._put_between(dataset)
        uid = dicom_header.uid(
            "series", source.series or source.instance, info.made_by, f"{info.height}x{info.width}"
        )
        self._not_kept += dicom_header.describe(dataset, factor, info.made_by, uid)
        self._tell_extremes(dataset)
        part = str(self._file % self._between)
        instance = dicom_header.uid(uid, source.instance, part, self._digest())
        dataset.SOPInstanceUID = UID(instance)
        if str(syntax) in _LOSSY and dataset.get("LossyImageCompression") != "01":
            dataset.LossyImageCompression = "01"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(str(dataset.get("SOPClassUID", "")))
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = UID(IMPLEMENTATION)
        meta.ImplementationVersionName = f"UPRES {__version__}"[:16]
        dataset.file_meta, dataset.preamble = meta, b"\0" * 128
        return dataset

    def _put_between(self, dataset: FileDataset) -> None:
        """Put a slice where it lies among those of its volume, and number it."""
        part = self._file % self._between
        places = np.array([each.position for each in self._pictures])
        orientation = self._picture.orientation or ()
        step = (places[-1] - places[0]) / (len(places) - 1)
        corner = np.array([float(v) for v in dataset.ImagePositionPatient])
        moved = corner + ((part + 0.5) / self._between - 0.5) * step
        dicom_places.move(dataset, moved.tolist(), series.normal(orientation).tolist())
        dataset.InstanceNumber = str(self._file + 1)
        spacing = float(np.linalg.norm(step @ series.normal(orientation))) / self._between
        if "SpacingBetweenSlices" in dataset:
            dataset.SpacingBetweenSlices = dicom_places.number_text(spacing)

    def _tell_extremes(self, dataset: FileDataset) -> None:
        """The least and the largest sample, where the source tells its own."""
        names = ("SmallestImagePixelValue", "LargestImagePixelValue")
        if not any(name in dataset for name in names):
            return
        least, most = math.inf, -math.inf
        for block in self._frames.blocks():
            least, most = min(least, int(block.min())), max(most, int(block.max()))
        for name, value in zip(names, (least, most), strict=True):
            if name in dataset:
                dataset[name].value = value

    def _digest(self) -> str:
        """Tells the file's samples from all others."""
        digest = hashlib.sha256()
        for block in self._frames.blocks():
            digest.update(block.tobytes())
        return digest.hexdigest()
