"""DICOM files for tests, made by pydicom, and the programs that judge them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

CT, MR, US, SC = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.7",
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def oblique() -> tuple[float, ...]:
    """Directions along rows and columns that are turned about two axes."""
    a, b = 0.3, 0.5
    along = np.array([np.cos(a), np.sin(a), 0])
    down = np.array([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])
    return tuple(float(v) for v in (*along, *down))


def waves(height: int = 24, width: int = 28, at: float = 0, most: int = 2000) -> NDArray[Any]:
    """Smooth samples with an edge, from 0 to ``most``."""
    y, x = np.mgrid[:height, :width]
    wave = np.sin(x / 5 + at) + np.cos(y / 4 - at) + 0.7 * (x + at > width / 2)
    return np.round((wave + 2) / 4.7 * most).astype(np.int64)


def ct(samples: NDArray[Any], **more: Any) -> Dataset:
    """A slice of computed tomography that ``dciodvfy`` has nothing against."""
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.11", "1.2.826.0.1.12"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = "1.2.826.0.1.13", ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for name in ("StudyDate", "ContentDate", "PatientBirthDate"):
        setattr(dataset, name, "20200101")
    for name in ("StudyTime", "ContentTime"):
        setattr(dataset, name, "120000")
    dataset.AccessionNumber, dataset.StudyID, dataset.Modality = "1", "1", "CT"
    dataset.Manufacturer, dataset.ReferringPhysicianName = "Maker", "Doe^J"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Doe^Jane", "1", "F"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = "3", "1", "1"
    dataset.PatientPosition, dataset.KVP, dataset.SliceThickness = "HFS", "120", "2"
    dataset.BodyPartExamined = "HEAD"
    dataset.SeriesDescription = "Head"
    dataset.ImagePositionPatient = [-10.5, 20.25, 30.125]
    dataset.ImageOrientationPatient = [format(v, ".12g") for v in AXIAL]
    dataset.PixelSpacing = ["0.7", "0.6"]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "-1024", "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    put(dataset, samples)
    for name, value in more.items():
        setattr(dataset, name, value)
    return dataset


def put(dataset: Dataset, samples: NDArray[Any], *, stored: int = 16, signed: bool = False) -> None:
    """Samples, [frames x] rows x columns, and all that tells how they are stored."""
    dataset.Rows, dataset.Columns = samples.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 8 if stored <= 8 else 16
    dataset.BitsStored, dataset.HighBit = stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    kind = f"<{'i' if signed else 'u'}{dataset.BitsAllocated // 8}"
    dataset.PixelData = samples.astype(kind).tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated == 16 else "OB"


def save(dataset: Dataset, path: Path) -> Path:
    """Write a data set to a file, as explicit little endian unless it is compressed."""
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def series(
    folder: Path,
    places: Sequence[float],
    *,
    orientation: Sequence[float] = AXIAL,
    tilt: float = 0,
    uid: str = "1.2.826.0.1.12",
    number: int = 3,
    names: str = "IM{:03}.dcm",
    **more: Any,
) -> list[Path]:
    """Write a slice for each place along the normal, in mm; ``tilt`` moves each along columns."""
    folder.mkdir(parents=True, exist_ok=True)
    turned = np.array(orientation)
    normal = np.cross(turned[:3], turned[3:])
    paths = []
    for count, place in enumerate(places, 1):
        dataset = ct(waves(at=count / 3), SeriesInstanceUID=uid, SeriesNumber=str(number))
        position = np.array([-10.5, 20.25, 30.125]) + normal * place + turned[3:] * place * tilt
        dataset.ImagePositionPatient = [format(v, ".12g")[:16] for v in position]
        dataset.ImageOrientationPatient = [format(v, ".12g")[:16] for v in turned]
        dataset.InstanceNumber = str(count)
        for name, value in more.items():
            setattr(dataset, name, value)
        paths.append(save(dataset, folder / names.format(count)))
    return paths


def tool(name: str) -> str:
    """A program that judges; skips without it, but in CI, where it must be there."""
    found = shutil.which(name)
    if found is None:
        message = f"needs {name}, which is not here"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def faults(path: Path) -> set[str]:
    """The errors that ``dciodvfy`` finds in a file."""
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines
    return {line for line in lines if line.startswith(("Error", "Abort"))}


def shown(path: Path, folder: Path) -> NDArray[Any]:
    """A picture as ``dcm2pnm`` shows it, in 8 bits: rows x columns [x 3]."""
    import PIL.Image

    target = folder / f"{path.stem}.shown.ppm"
    command = [tool("dcm2pnm"), "--min-max-window", str(path), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    with PIL.Image.open(target) as picture:
        return np.asarray(picture).astype(float)


def means(samples: NDArray[Any], scale: int) -> NDArray[Any]:
    """The mean of each ``scale`` x ``scale`` samples, of [frames x] rows x columns [x 3]."""
    return (
        samples.astype(float)
        .reshape(samples.shape[0] // scale, scale, samples.shape[1] // scale, scale, -1)
        .mean((1, 3))
        .squeeze()
    )
