"""The DICOM files of a folder that belong together, and how they are read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from upres.errors import UpresError, needs_extra
from upres.formats.medical.recognising import DIRECTORY, is_dicom
from upres.formats.registry import SUFFIXES, called, suffix_in
from upres.raster.source import Sink, Source

__all__ = ["DIRECTORY", "NAMED", "create_series_sink", "in_series", "is_slice", "open_series"]

NAMED = "series.dcm"
"""A file's name for which it is asked whether DICOM can hold a series' slices."""


def is_slice(path: Path) -> bool:
    """Whether a file may be a slice of several: DICOM by its suffix, or by content without one."""
    suffix = suffix_in(path)
    if suffix in SUFFIXES:
        row = called(suffix)
        return row is not None and row.name == "dicom"
    return path.name.upper() != DIRECTORY and os.path.isfile(path) and is_dicom(path)


def in_series(files: Iterable[Path]) -> dict[Path, tuple[tuple[Path, ...], str]]:
    """Of DICOM files in one folder, by the first of each series, all of it, and its number.

    A file that cannot be read, or has no pixels, is by itself, as it fails by itself. So is each
    where the extra is missing.
    """
    files = sorted(files)
    if len(files) < 2:
        return {path: ((path,), "") for path in files}
    try:
        found: dict[Path, tuple[tuple[Path, ...], str]] = _module("series").grouped(files)
    except UpresError:
        return {path: ((path,), "") for path in files}
    return found


def open_series(files: Sequence[Path]) -> Sequence[Source]:
    """Open the DICOM files of a series, a source for each of its stacks of slices.

    Raises ``InputError`` if one is damaged or not taken, or slices are missing, twice there or
    unevenly apart, ``MissingExtraError`` if the extra is missing.
    """
    opener: Callable[[Sequence[Path]], Sequence[Source]] = _module("dicom").open_series
    return opener(files)


def create_series_sink(folder: Path) -> Sink:
    """A sink of the files of a series, in a folder that is made for them."""
    maker: Callable[[Path], Sink] = _module("dicom").create_series_sink
    return maker(folder)


def _module(name: str) -> Any:
    with needs_extra("reading DICOM files", "medical"):
        return import_module(f"upres.formats.medical.{name}")
