"""Which DICOM files are the slices of one volume, and whether all of them are there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from upres.errors import InputError
from upres.formats.medical import dicom_read
from upres.formats.medical.dicom_read import DicomPicture

EVEN = 0.02
"""How far slices may be from even distances, as a part of these: positions are told rounded."""

_LEAST = 1e-3
"""In mm: how far positions may be off by rounding alone."""


def grouped(paths: Iterable[Path]) -> dict[Path, tuple[tuple[Path, ...], str]]:
    """Files by series: by the first of each all of it, and its number, if it has one.

    A file that cannot be read, or has no pixels, is by itself.
    """
    found: dict[str, list[Path]] = {}
    numbers: dict[str, str] = {}
    for path in paths:
        uid, number = f"{path}", ""
        with suppress(InputError):
            dataset = dicom_read.read(path, ["SeriesInstanceUID", "SeriesNumber", "Rows"])
            with dicom_read.telling(path):
                if dataset.get("Rows") is not None and dataset.get("SeriesInstanceUID"):
                    uid = str(dataset.SeriesInstanceUID)
                    number = str(dataset.get("SeriesNumber", "") or "")
        found.setdefault(uid, []).append(path)
        numbers[uid] = number
    return {files[0]: (tuple(files), numbers[uid]) for uid, files in found.items()}


def stacks(pictures: Sequence[DicomPicture]) -> list[list[DicomPicture]]:
    """The volumes in a series, each from one side to the other; pictures without a place as told.

    Raises ``InputError`` where slices are missing, twice there or unevenly apart.
    """
    kinds: dict[tuple[object, ...], list[DicomPicture]] = {}
    for each in pictures:
        kinds.setdefault(each.kind, []).append(each)
    return [_ordered(kind) for kind in kinds.values()]


def normal(orientation: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The direction across the slices, of the directions along rows and columns."""
    across = np.cross(orientation[:3], orientation[3:])
    return across / np.linalg.norm(across)


def _ordered(pictures: list[DicomPicture]) -> list[DicomPicture]:
    first = pictures[0]
    if first.position is None or first.orientation is None or len(pictures) == 1:
        return pictures
    if any(each.frames > 1 for each in pictures):
        raise InputError(
            f"{first.path.parent}: some files of the series have several frames: enlarge each file "
            "by itself"
        )
    direction = normal(first.orientation)
    places = np.array([each.position for each in pictures])
    order = np.argsort(places @ direction, kind="stable")
    ordered, places = [pictures[i] for i in order], places[order]
    steps = np.diff(places @ direction)
    usual = float(np.median(steps))
    allowed = EVEN * usual + _LEAST

    def refuse(what: str, at: int) -> InputError:
        names = " and ".join(os.path.basename(each.path) for each in ordered[at : at + 2])
        return InputError(f"{first.path.parent}: {what} {names}: a volume's slices must be even")

    for at, step in enumerate(steps):
        if step < _LEAST:
            raise refuse("two slices are at the same place,", at)
        count = step / usual
        if step > usual + allowed and abs(count - round(count)) * usual <= allowed * round(count):
            many = f"{round(count) - 1} slice{'s are' if round(count) > 2 else ' is'} missing"
            raise refuse(f"{many} between", at)
        if abs(step - usual) > allowed:
            raise refuse(f"slices are unevenly apart ({step:.3f} mm, others {usual:.3f}),", at)
    moved = np.diff(places, axis=0)
    sideways = np.abs(moved - np.median(moved, axis=0)).max(axis=1)
    for at, far in enumerate(sideways):
        if far > allowed:
            raise refuse("slices are shifted sideways,", at)
    return ordered
