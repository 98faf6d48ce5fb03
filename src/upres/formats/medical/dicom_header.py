"""The header of a result: the source's, with everything in it that would no longer be true changed.

Sources: DICOM PS3.3, C.7.6 (images), C.8.5.5 (ultrasound regions), C.7.6.11 (shutters), C.9.2
(overlays), C.12.4 (derived pictures); PS3.16, CID 7203 (derivation codes).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from upres.formats.medical import dicom_places, dicom_texts

NOT_FOR_DIAGNOSIS = "not for diagnosis"

REMOVED = {
    "IconImageSequence": "icons",
    "HistogramSequence": "histograms",
    "DigitalSignaturesSequence": "digital signatures",
    "MACParametersSequence": "digital signatures",
    "OriginalAttributesSequence": "",
    "InstanceCreationDate": "",
    "InstanceCreationTime": "",
    "InstanceCreatorUID": "",
    "SmallestPixelValueInSeries": "",
    "LargestPixelValueInSeries": "",
    "SmallestImagePixelValueInPlane": "",
    "LargestImagePixelValueInPlane": "",
    "PixelDataProviderURL": "",
    "DataSetTrailingPadding": "",
}
"""Elements that a result does not have, and their names where users are told so."""

_DISTANCES = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("ObjectPixelSpacingInCenterOfBeam", "ImagePlanePixelSpacing"),
)
"""Down and across, of a sample."""

_FIRST = (
    *("ShutterLeftVerticalEdge", "ShutterUpperHorizontalEdge"),
    *("CollimatorLeftVerticalEdge", "CollimatorUpperHorizontalEdge"),
)
_LAST = (
    *("ShutterRightVerticalEdge", "ShutterLowerHorizontalEdge"),
    *("CollimatorRightVerticalEdge", "CollimatorLowerHorizontalEdge"),
)
"""Numbers of rows and columns, counted from 1, of samples that are the first or last shown."""

_PLACES = (
    *("CenterOfCircularShutter", "VerticesOfThePolygonalShutter"),
    *("CenterOfCircularCollimator", "VerticesOfThePolygonalCollimator"),
)
_LENGTHS = ("RadiusOfCircularShutter", "RadiusOfCircularCollimator")

_PRIMARY_ONLY = tuple(
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("20", "128", "77.1.5.1", "77.1.5.2")
)
"""Nuclear medicine, positron emission, and photographs of the eye: none is called secondary."""

_REGION_POINTS = (
    *("DopplerSampleVolumeXPosition", "DopplerSampleVolumeYPosition"),
    *("TMLinePositionX0", "TMLinePositionY0", "TMLinePositionX1", "TMLinePositionY1"),
)


def strip(dataset: Dataset) -> list[str]:
    """Take everything out that cannot be true of a result; names of the items that users miss."""
    names = [name for key, name in REMOVED.items() if key in dataset and name]
    for key in REMOVED:
        if key in dataset:
            del dataset[key]
    if _remove_private(dataset):
        names.append("private elements")
    for group in _overlay_groups(dataset):
        if (group, 0x3000) not in dataset:  # they were in the bits that samples do not need
            names.append("overlays in unused bits")
            for tag in [tag for tag in list(dataset.keys()) if tag.group == group]:
                del dataset[tag]
    return list(dict.fromkeys(names))


def rescale(dataset: Dataset, factor: int, *, thickness: int = 1) -> None:
    """Change all that is told in samples, or of a sample, to ``factor`` times as many a side.

    ``thickness`` is by how much slices become thinner.
    """
    for name in _DISTANCES:
        _change(dataset, name, lambda v: v / factor)
    for name in _FIRST:
        _change(dataset, name, lambda v: (v - 1) * factor + 1)
    for name in _LAST:
        _change(dataset, name, lambda v: v * factor)
    for name in _PLACES:
        _change(dataset, name, lambda v: (v - 0.5) * factor + 0.5)
    for name in _LENGTHS:
        _change(dataset, name, lambda v: v * factor)
    _change(dataset, "MaskSubPixelShift", lambda v: v * factor)
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        _change(dataset, name, lambda v: v / thickness)
    for region in dataset.get("SequenceOfUltrasoundRegions") or ():
        _enlarge_region(region, factor)
    dicom_places.enlarge_position(dataset, factor)
    for name in (
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        *("PixelMeasuresSequence", "PlanePositionSequence", "FrameDisplayShutterSequence"),
        *("MaskSubtractionSequence", "PlanePositionVolumeSequence"),
    ):
        if name not in dataset:
            continue
        for item in dataset[name].value:
            rescale(item, factor, thickness=thickness)
    dicom_places.enlarge_positions_by_groups(dataset, factor)


def describe(dataset: Dataset, factor: int, made_by: str, series_uid: str) -> list[str]:
    """Say that it is derived, from which picture, how, and that it is not for diagnosis.

    Gives the names of the texts whose old part cannot be written beside that.
    """
    grouped = (
        "SharedFunctionalGroupsSequence" in dataset or dataset.get("SOPClassUID") in _PRIMARY_ONLY
    )
    dataset.ImageType = _derived(dataset.get("ImageType"), grouped)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in dataset.get(groups) or ():
            for element in list(item.keys()):
                for inner in item[element].value if item[element].VR == "SQ" else ():
                    if "FrameType" in inner:
                        inner.FrameType = _derived(inner.FrameType, grouped)
    if dataset.get("SOPInstanceUID"):  # else there is nothing to refer to
        source = Dataset()
        source.ReferencedSOPClassUID = dataset.SOPClassUID
        source.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
        source.PurposeOfReferenceCodeSequence = Items(
            [_code("121322", "Source image for image processing operation")]
        )
        dataset.SourceImageSequence = Items([source])
    dataset.DerivationCodeSequence = Items([_code("113085", "Spatial resampling")])
    dataset.SeriesInstanceUID = series_uid
    lost = []
    derivation = f"{made_by}; {NOT_FOR_DIAGNOSIS}"
    if not dicom_texts.append(dataset, "DerivationDescription", "; ", derivation, 1024):
        lost.append("derivation")
    told = f"upres x{factor}, {NOT_FOR_DIAGNOSIS}"
    if not dicom_texts.append(dataset, "SeriesDescription", " ", told, 64):
        lost.append("series' description")
    return lost


def _derived(kinds: Any, grouped: bool) -> list[str]:
    """The type of a derived picture; where frames are ``grouped``, primary ones stay so.

    Of such, the standard knows no others (PS3.3, C.8.16.1.2, C.8.4.9, C.8.9.4, C.8.17.2).
    """
    before = [str(v) for v in _several(kinds)]
    second = before[1] if grouped and len(before) > 1 else "SECONDARY"
    return ["DERIVED", second, *before[2:]]


def uid(*parts: str) -> str:
    """A new identifier, the same each time for the same parts (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(0).join(parts)).int}"


def enlarge_overlays(dataset: Dataset, factor: int) -> None:
    """Repeat each bit of overlays, which are drawn over the samples."""
    for group in _overlay_groups(dataset):
        rows, columns = (int(dataset[group, e].value) for e in (0x0010, 0x0011))
        content = np.frombuffer(dataset[group, 0x3000].value, np.uint8)
        bits = np.unpackbits(content, bitorder="little")
        count = max(1, bits.size // (rows * columns))
        planes = bits[: count * rows * columns].reshape(count, rows, columns)
        planes = planes.repeat(factor, 1).repeat(factor, 2)
        packed = np.packbits(planes.reshape(-1), bitorder="little").tobytes()
        dataset[group, 0x3000].value = packed + b"\0" * (len(packed) % 2)
        dataset[group, 0x3000].VR = "OW"
        dataset[group, 0x0010].value = rows * factor
        dataset[group, 0x0011].value = columns * factor
        if (group, 0x0050) in dataset:
            origin = [int(v) for v in _several(dataset[group, 0x0050].value)]
            dataset[group, 0x0050].value = [(v - 1) * factor + 1 for v in origin]
        if (group, 0x1301) in dataset and dataset[group, 0x1301].value not in (None, ""):
            area = int(dataset[group, 0x1301].value) * factor * factor
            dataset[group, 0x1301].value = str(area)


def without_palette(dataset: Dataset) -> None:
    """Take the palette out of a picture whose colours are stored as such."""
    for tag in [
        t for t in list(dataset.keys()) if t.group == 0x0028 and 0x1101 <= t.element <= 0x1223
    ]:
        del dataset[tag]


def _enlarge_region(region: Dataset, factor: int) -> None:
    """A part of an ultrasound picture, its first and last samples counted from 0."""
    for name in ("RegionLocationMinX0", "RegionLocationMinY0"):
        _change(region, name, lambda v: v * factor)
    for name in ("RegionLocationMaxX1", "RegionLocationMaxY1"):
        _change(region, name, lambda v: (v + 1) * factor - 1)
    for axis in ("X", "Y"):
        name, value = f"ReferencePixel{axis}0", f"ReferencePixelPhysicalValue{axis}"
        delta = region.get(f"PhysicalDelta{axis}")
        old = region.get(name)
        _change(region, name, lambda v: v * factor + (factor - 1) // 2)
        if delta is not None:
            region[f"PhysicalDelta{axis}"].value = float(delta) / factor
            if old is not None and region.get(value) is not None:
                # The sample is whole, and lies up to half of one beside the place.
                beside = ((factor - 1) // 2 - (factor - 1) / 2) * float(delta) / factor
                region[value].value = float(region[value].value) + beside
    for name in _REGION_POINTS:
        _change(region, name, lambda v: (v + 0.5) * factor - 0.5)


def _change(dataset: Dataset, name: str, change: Callable[[float], float]) -> None:
    """Change the numbers of an element, if it is there, in the way that its kind is written."""
    if name not in dataset or dataset[name].value in (None, ""):
        return
    element = dataset[name]
    values = [change(float(v)) for v in _several(element.value)]
    if element.VR == "DS":
        told: list[Any] = [dicom_places.number_text(v) for v in values]
    elif element.VR in ("IS", "US", "UL", "SL", "SS"):
        told = [int(np.floor(v + 0.5)) for v in values]
    else:
        told = values
    element.value = told if len(told) > 1 else told[0]


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else [*value]


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _remove_private(dataset: Dataset) -> bool:
    """Take private elements out, those inside of sequences, too; whether there were any."""
    private = [tag for tag in list(dataset.keys()) if tag.is_private]
    for tag in private:
        del dataset[tag]
    found = bool(private)
    for item in _items(dataset):
        found |= _remove_private(item)
    return found


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for tag in list(dataset.keys()):
        if dataset.get_item(tag).VR == "SQ":  # texts stay the bytes that they are
            yield from dataset[tag].value


def _overlay_groups(dataset: Dataset) -> list[int]:
    return sorted({t.group for t in list(dataset.keys()) if 0x6000 <= t.group < 0x6020})
