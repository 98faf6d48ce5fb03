"""DICOM: a file of one or more frames, or a folder's series, slice by slice.

Sources: DICOM PS3.3 (modules), PS3.5 (encoding), PS3.10 (files).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.whole import check_memory
from upres.formats.medical import dicom_frames, dicom_read, series
from upres.formats.medical.dicom_read import DicomPicture
from upres.formats.medical.dicom_sink import DicomCarried, DicomSink
from upres.raster.info import Band, RasterInfo, bands_of
from upres.raster.source import Rows, Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a DICOM file; see ``upres.formats.registry``."""
    return [_DicomSource([dicom_read.picture(path)], str(path))]


def open_series(paths: Sequence[Path]) -> Sequence[Source]:
    """Open the files of a series, a source for each of its stacks of slices.

    Raises ``InputError`` for a file that is damaged or not taken, and where slices of a stack are
    missing, twice there or unevenly apart.
    """
    found = [dicom_read.picture(path) for path in paths]
    stacks = series.stacks(found)
    many = len(stacks) > 1
    return [
        _DicomSource(stack, str(paths[0].parent), page=number if many else None)
        for number, stack in enumerate(stacks, 1)
    ]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a DICOM file; see ``upres.formats.registry``."""
    return DicomSink(path)


def create_series_sink(folder: Path) -> Sink:
    """A sink of a series' files, in a folder that is made for them."""
    return DicomSink(folder, in_folder=True)


class _DicomSource:
    """The frames of a file, or the slices of a stack; see ``upres.raster.source``."""

    def __init__(
        self, pictures: Sequence[DicomPicture], name: str, page: int | None = None
    ) -> None:
        self._pictures = pictures
        first = pictures[0]
        low, high = map(float, first.limits)
        bands: tuple[Band, ...] = (Band("other", low, high, unbounded=True, limited=True),)
        if first.colours:
            bands = bands_of(("red", "green", "blue"), low, high)
        count = sum(each.frames for each in pictures)
        paddings = {(each.padding, each.padding_limit) for each in pictures}
        if len(paddings) > 1:
            raise InputError(f"{name}: its slices have different values of padding")
        # As of positron emission, where a sample is another value in each slice.
        alike = len({each.rescale for each in pictures}) == 1
        in_order = len(pictures) > 1 and first.position is not None
        self.info = RasterInfo(
            height=first.rows,
            width=first.columns,
            bands=bands,
            dtype=first.dtype,
            name=name,
            page=page,
            only_as="dicom",
            frames=count,
            nodata=None if first.padding is None else float(first.padding),
            slices=count if in_order and alike else 1,
            colours="srgb" if first.colours else "none",
            preserves="mean",
        )
        self.carried = DicomCarried(tuple(pictures))
        # A frame is decoded as a whole: its bytes, and its samples before and after.
        check_memory(self.info, self.info.pixels * len(bands) * 8)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame as one block: a file's are decoded one by one."""
        for each in self._pictures:
            for frame in dicom_frames.frames(each):
                yield iter([frame])
