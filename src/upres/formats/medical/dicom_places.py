"""Where frames lie in the patient: each first sample's centre moves towards its corner.

Sources: DICOM PS3.3, C.7.6.2 (planes), C.7.6.16 (functional groups), C.8.4.11 (detectors of nuclear
medicine), C.8.8.2 (images of radiotherapy), C.8.24.3 (volumes of ultrasound).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from upres.formats.medical.geometry import finer


def move(dataset: Dataset, position: Sequence[float], normal: Sequence[float]) -> None:
    """Put a slice at ``position``, of its first sample in mm; its location moves along."""
    old = np.array([float(v) for v in dataset.ImagePositionPatient])
    dataset.ImagePositionPatient = [number_text(v) for v in position]
    if dataset.get("SliceLocation") not in (None, ""):
        along = float((np.array(position) - old) @ np.array(normal))
        dataset.SliceLocation = number_text(float(dataset.SliceLocation) + along)


def enlarge_position(dataset: Dataset, factor: int) -> None:
    """Move the centre of the first sample towards the corner; of one frame, or one of several."""
    # The spacing is that of the result already.
    finer_spacing = dataset.get("PixelSpacing")
    if finer_spacing:
        spacing = [float(v) * factor for v in finer_spacing]
        # Each detector of nuclear medicine has its own place (PS3.3, C.8.4.11).
        for item in (dataset, *(dataset.get("DetectorInformationSequence") or ())):
            turned = item.get("ImageOrientationPatient")
            if turned and item.get("ImagePositionPatient"):
                _move_corner(item, "ImagePositionPatient", turned, spacing, factor)
    if dataset.get("RTImagePosition") and dataset.get("ImagePlanePixelSpacing"):
        # On the plane of the receptor, whose y goes up (PS3.3, C.8.8.2).
        spacing = [float(v) * factor for v in dataset.ImagePlanePixelSpacing]
        turned = dataset.get("RTImageOrientation") or (1, 0, 0, 0, -1, 0)
        _move_corner(dataset, "RTImagePosition", turned, spacing, factor)


def _move_corner(
    item: Dataset, name: str, orientation: Sequence[Any], spacing: Sequence[float], factor: int
) -> None:
    turned = [float(v) for v in orientation]
    affine = np.eye(4)
    # A column further is along a row.
    affine[:3, 0] = np.array(turned[:3]) * spacing[1]
    affine[:3, 1] = np.array(turned[3:]) * spacing[0]
    place = [float(v) for v in item[name].value]
    affine[: len(place), 3] = place
    corner = finer(affine, (factor, factor, 1))[: len(place), 3]
    item[name].value = [number_text(v) if item[name].VR == "DS" else float(v) for v in corner]


def enlarge_positions_by_groups(dataset: Dataset, factor: int) -> None:
    """The same of frames whose place is told in groups, some of which are for all frames."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared: Dataset = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), Dataset())

    def found(frame: Dataset, group: str, name: str) -> tuple[Dataset | None, Any]:
        for place in (frame, shared):
            for item in place.get(group) or ():
                if item.get(name):
                    return item, item[name].value
        return None, None

    moved: set[int] = set()
    for frame in frames:
        _, spacing = found(frame, "PixelMeasuresSequence", "PixelSpacing")
        for kind, name in (("", "Patient"), ("Volume", "Volume")):
            item, _ = found(frame, f"PlanePosition{kind}Sequence", f"ImagePosition{name}")
            _, turned = found(frame, f"PlaneOrientation{kind}Sequence", f"ImageOrientation{name}")
            if item is None or turned is None or spacing is None or id(item) in moved:
                continue
            moved.add(id(item))
            old = [float(v) * factor for v in spacing]
            _move_corner(item, f"ImagePosition{name}", turned, old, factor)


def number_text(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5, 6.2)."""
    return format_number_as_ds(float(value))
