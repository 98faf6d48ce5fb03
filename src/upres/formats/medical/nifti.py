"""NIfTI-1 and NIfTI-2, of one file, perhaps compressed by gzip: slices of volumes, in order.

nibabel reads and writes the header. Samples are read and written slice by slice, as they follow
each other in the file, so that memory does not grow with the number of slices.
Source: the NIfTI-1 standard (``nifti1.h``).
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self, cast

import numpy as np
from nibabel.nifti1 import Nifti1Extension, Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from upres.errors import InputError, OutputError, Remedy
from upres.files import publish, temporary, temporary_name
from upres.formats.medical.geometry import finer
from upres.formats.medical.recognising import nifti_head
from upres.raster.info import Band, RasterInfo, Role
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_TYPES = {
    **{2: "uint8", 4: "int16", 8: "int32", 16: "float32", 64: "float64"},
    **{256: "int8", 512: "uint16", 768: "uint32"},
}
"""NIfTI's numbers of the types of samples."""

_REFUSED = {
    **{32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers", 1: "single bits"},
    **{128: "colours", 2304: "colours", 1024: "64-bit integers", 1280: "64-bit integers"},
    1536: "128-bit floats",
}

_LABELS = 1002
"""The intent code of numbers of structures."""

_AFNI = 4
"""The extension code of AFNI, whose attributes tell the size and place of the volume again."""

_MOST_BEFORE = 2**26
"""Bytes of the header with its extensions, at most."""

_MOST_FRAMES = 2**24


@dataclass(frozen=True)
class NiftiCarried:
    """The header of a NIfTI file, and its extensions."""

    header: Nifti1Header
    extensions: tuple[Nifti1Extension, ...]
    stored: np.dtype[Any]
    """Of the samples in the file."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a NIfTI file; see ``upres.formats.registry``."""
    return [_NiftiSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a NIfTI file; see ``upres.formats.registry``."""
    return _NiftiSink(path)


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


class _NiftiSource:
    """The slices of a file's volumes; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        head = nifti_head(path)
        kind = Nifti2Header if head[4:7] in (b"n+2", b"ni2") else Nifti1Header
        try:
            header = kind(head, check=False)
            shape, self._start, code = self._told(header)
            if header["pixdim"][0] == 0:  # as the standard says, METHOD 2
                header["pixdim"][0] = 1
            # Sizes have no sign, and none is 0: so does nibabel read those that are wrong.
            sizes = np.abs(header["pixdim"][1:4])
            header["pixdim"][1:4] = np.where(sizes == 0, 1, sizes)
            header.get_qform(coded=False)  # that the result's can be told
            extensions = self._extensions(len(head), str(header.endianness))
        except (HeaderDataError, WrapStructError, ValueError, OverflowError, struct.error) as error:
            raise self._damaged(str(error)) from None
        self._stored = np.dtype(_TYPES[code]).newbyteorder(header.endianness)
        native = np.dtype(_TYPES[code])
        dtype = np.dtype(np.int16) if native == np.int8 else native
        limits = np.iinfo(native) if native.kind in "iu" else None
        low, high = (float(limits.min), float(limits.max)) if limits else (None, None)
        role: Role = "index" if int(header["intent_code"]) == _LABELS else "other"
        if limits and (role == "index" or native.itemsize > 2):
            low, high = None, None
        measured = role == "other"
        columns, rows, slices, volumes = shape
        self.info = RasterInfo(
            height=rows,
            width=columns,
            bands=(Band(role, low, high, unbounded=measured, limited=measured),),
            dtype=dtype,
            name=str(path),
            only_as="nifti",
            frames=slices * volumes,
            slices=slices,
            colours="none",
            preserves="nothing" if role == "index" else "mean",
        )
        self.carried = NiftiCarried(header, extensions, native)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each slice of each volume, as one block."""
        info = self.info
        with _opened(self._path) as file:
            self._skip(file)
            for _ in range(info.frames or 0):
                samples = np.frombuffer(self._slice(file), self._stored)
                yield iter([samples.astype(info.dtype).reshape(info.height, info.width, 1)])
            self._check_rest(file)

    def _told(self, header: Nifti1Header) -> tuple[tuple[int, int, int, int], int, int]:
        """Columns, rows, slices and volumes; where samples begin; the number of their type."""
        magic = bytes(header["magic"])
        if magic[:2] != b"n+":
            raise InputError(
                f"{self._path}: is a header without samples, which are in an .img file: store both "
                "in one .nii file"
            )
        count = int(header["dim"][0])
        sides = [int(side) for side in header["dim"][1 : count + 1]]
        if not 1 <= count <= 7 or min(sides) < 1:
            raise ValueError(f"its dimensions are {sides}")
        code = int(header["datatype"])
        if code not in _TYPES:
            kind = _REFUSED.get(code, f"a type that NIfTI does not know ({code})")
            raise InputError(f"{self._path}: its samples are {kind}, which upres does not take")
        sides += [1] * (4 - len(sides))
        if math.prod(sides[4:]) > 1 or math.prod(sides[2:4]) > _MOST_FRAMES:
            text = " x ".join(map(str, sides))
            raise InputError(
                f"{self._path}: has {text} samples, and upres takes volumes, one after another: "
                "split it along its last axes"
            )
        start = float(header["vox_offset"])
        if not (header.sizeof_hdr <= start <= _MOST_BEFORE and start == int(start)):
            if start:
                raise ValueError(f"its samples begin at byte {start:g}")
            start = header.sizeof_hdr + 4
        columns, rows, slices, volumes = sides[:4]
        return (columns, rows, slices, volumes), int(start), code

    def _extensions(self, size: int, order: str) -> tuple[Nifti1Extension, ...]:
        """The extensions between the header and the samples, as they are."""
        with _opened(self._path) as file:
            between = self._read(file, self._start)[size:]
        found = []
        if between[:1] == b"\1":
            at = 4
            while at + 8 <= len(between):
                length, code = struct.unpack_from(f"{order}ii", between, at)
                if length < 8 or at + length > len(between):
                    break
                content = between[at + 8 : at + length].rstrip(b"\0")
                found.append(Nifti1Extension(code, content))
                at += length
        return tuple(found)

    def _skip(self, file: IO[bytes]) -> None:
        self._read(file, self._start)

    def _check_rest(self, file: IO[bytes]) -> None:
        """Read on to the end, where gzip has a checksum of all that was read."""
        if isinstance(file, gzip.GzipFile):
            left = _MOST_BEFORE
            while left > 0 and (part := self._some(file, 2**20)):
                left -= len(part)

    def _slice(self, file: IO[bytes]) -> bytes:
        return self._read(file, self.info.pixels * self._stored.itemsize)

    def _read(self, file: IO[bytes], count: int) -> bytes:
        """So many bytes, and no memory for more than there are."""
        parts, missing = [], count
        while missing:
            part = self._some(file, min(missing, 2**20))
            if not part:
                raise self._damaged("it ends too early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _some(self, file: IO[bytes], count: int) -> bytes:
        try:
            return file.read(count)
        except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
            raise self._damaged(str(error)) from None

    def _damaged(self, reason: str) -> InputError:
        line = reason.splitlines()[0] if reason else "its header"
        return InputError(f"{self._path}: this volume is damaged or truncated: {line}")


class _NiftiSink:
    """A sink of a NIfTI file, written slice by slice; see ``upres.raster.source.Sink``."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._stack = ExitStack()
        self._not_kept: list[str] = []

    @property
    def not_kept(self) -> Sequence[str]:
        return tuple(self._not_kept)

    def begin(self, info: RasterInfo, carried: object) -> None:
        if not isinstance(carried, NiftiCarried):
            raise OutputError(f"{self._target}: a NIfTI file is made of another only: choose .tif")
        self._info, self._stored = info, carried.stored
        header = self._header(info, carried)
        path = self._stack.enter_context(temporary(self._target, self._target.suffix))
        self._path = path
        file: Any = self._stack.enter_context(path.open("r+b"))
        if self._target.suffix.lower() == ".gz":
            # Without a name and a time, which would make each file another.
            file = self._stack.enter_context(
                gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0)
            )
        self._file = file
        kept = [e for e in carried.extensions if e.get_code() != _AFNI]
        if len(kept) < len(carried.extensions):
            self._not_kept.append("AFNI's attributes")
        header.extensions[:] = kept
        header["vox_offset"] = header.sizeof_hdr + 4 + sum(e.get_sizeondisk() for e in kept)
        # Its own writer pads what comes before the samples to a multiple of 16.
        header["vox_offset"] = -(-int(header["vox_offset"]) // 16) * 16
        header.write_to(file)
        file.write(b"\0" * (int(header["vox_offset"]) - file.tell()))
        shape = (info.height, info.width, 1)
        name = temporary_name(self._target, ".raw")
        self._spool = self._stack.enter_context(Spool(name, shape, info.dtype))
        self._missing = info.pixels

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        info = self._info
        samples = from_bands(block, info.varying, info.dtype, info.nodata)
        self._spool.write(top, left, samples)
        self._missing -= block.shape[0] * block.shape[1]
        if not self._missing:
            for rows in self._spool.blocks():
                self._file.write(self._as_stored(rows).tobytes())
            self._missing = self._info.pixels

    def commit(self, *, replace: bool) -> None:
        self._file.close()
        publish(self._path, self._target, replace=replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _as_stored(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows.astype(self._stored.newbyteorder("<"))

    def _header(self, info: RasterInfo, carried: NiftiCarried) -> Nifti1Header:
        """The source's header for the result: more samples in the same place."""
        header = carried.header.as_byteswapped("<")
        old = [int(side) for side in header["dim"][1:4]]
        count = max(int(header["dim"][0]), 2)
        new = [info.width, info.height, info.slices]
        most = np.iinfo(header["dim"].dtype).max
        if max(new) > most:
            raise OutputError(
                f"{self._target}: {' x '.join(map(str, new))} samples are more than this kind of "
                f"NIfTI can tell: at most {most:,} a side",
                Remedy("scale", "gives a smaller factor"),
            )
        factors = np.array(new) / [max(1, side) for side in old]
        qform = header.get_qform(coded=False)
        sform = np.eye(4)
        sform[:3] = [header["srow_x"], header["srow_y"], header["srow_z"]]
        header["dim"][0] = max(count, 3 if info.slices > 1 else count)
        header["dim"][1:4] = new
        for name in ("srow_x", "srow_y", "srow_z"):
            header[name] = finer(sform, factors)["xyz".index(name[-1])]
        header["pixdim"][1:4] /= factors
        for name, offset in zip("xyz", finer(qform, factors)[:3, 3], strict=True):
            header[f"qoffset_{name}"] = offset
        axis = (int(header["dim_info"]) >> 4) & 3
        if axis and factors[axis - 1] != 1 and int(header["slice_end"]):
            # The times of the slices are told by their numbers.
            self._not_kept.append("times of slices")
            for name in ("slice_start", "slice_end", "slice_code", "slice_duration"):
                header[name] = 0
        return header
