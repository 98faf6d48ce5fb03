"""Folders of DICOM slices: one input each, and a folder as a result, judged by SimpleITK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dicoms
import numpy as np
import pytest
from dicoms import ct, faults, oblique, save, series, waves
from numpy.typing import NDArray

from fakes import FakeBackend, fake_model
from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.errors import ExistsError, InputError
from upres.formats.slices import in_series
from upres.runs.jobs import destinations, find

pydicom = dicoms.pydicom

import SimpleITK  # noqa: E402


def enlarged(files: list[Path], target: Path, *, scale: int = 2, **options: Any) -> list[str]:
    """Enlarge a series into a folder; the names of the items that it does not keep."""
    asked = Options(model=fake_model(scale=scale, halo=2), **options)
    picture = open_file(files[0], asked, backend=FakeBackend(ripple=0.1), members=tuple(files))
    return list(picture.write(target, replace=False).not_kept)


def volume(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def corners(image: SimpleITK.Image, slices: bool) -> NDArray[Any]:
    """Of the ground that it covers, or of that between the centres of the outermost slices."""
    width, height, depth = image.GetSize()
    ends = (-0.5, depth - 0.5) if slices else (0, depth - 1)
    places = [(x, y, z) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5) for z in ends]
    return np.array([image.TransformContinuousIndexToPhysicalPoint(place) for place in places])


@pytest.mark.parametrize("through_plane", [False, True])
@pytest.mark.parametrize("orientation", [dicoms.AXIAL, oblique()])
def test_the_volume_covers_the_same_ground(
    tmp_path: Path, orientation: tuple[float, ...], through_plane: bool
) -> None:
    files = series(tmp_path / "in", [2.5 * i for i in range(4)], orientation=orientation)
    enlarged(files[::-1], tmp_path / "out", through_plane=through_plane)
    before, after = volume(tmp_path / "in"), volume(tmp_path / "out")
    assert after.GetSize() == (56, 48, 8 if through_plane else 4)
    np.testing.assert_allclose(
        corners(after, through_plane), corners(before, through_plane), rtol=0, atol=1e-6
    )
    given, made = (SimpleITK.GetArrayFromImage(each).astype(float) for each in (before, after))
    count = 2 if through_plane else 1
    reduced = made.reshape(4, count, 24, 2, 28, 2).mean((1, 3, 5))
    assert np.abs(reduced - given).max() <= 0.5


def test_slices_of_a_tilted_gantry_stay_where_they_were(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [2.5 * i for i in range(4)], tilt=0.2)
    enlarged(files, tmp_path / "out", through_plane=True)
    found = [pydicom.dcmread(path) for path in (tmp_path / "out").iterdir()]
    found.sort(key=lambda each: int(each.InstanceNumber))
    places = np.array([each.ImagePositionPatient for each in found], float)
    first = pydicom.dcmread(files[0])
    corner = np.array(first.ImagePositionPatient, float) - [0.6 / 4, 0.7 / 4, 0]
    step = np.array([0, 0.5, 2.5]) / 2
    expected = [corner + (i - 0.5) * step for i in range(8)]
    np.testing.assert_allclose(places, expected, rtol=0, atol=1e-6)
    assert {float(each.SliceThickness) for each in found} == {1}


def test_a_series_stays_one_and_has_no_fault(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [0, 2, 4, 6], SpacingBetweenSlices="3", SliceLocation="9")
    enlarged(files, tmp_path / "out")
    made = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in made] == [path.name for path in files]
    found = [pydicom.dcmread(path) for path in made]
    (uid,) = {each.SeriesInstanceUID for each in found}
    assert uid != "1.2.826.0.1.12"
    assert len({each.SOPInstanceUID for each in found}) == 4
    for path, each in zip(files, found, strict=True):
        given = pydicom.dcmread(path)
        assert each.SourceImageSequence[0].ReferencedSOPInstanceUID == given.SOPInstanceUID
        assert each.InstanceNumber == given.InstanceNumber
        np.testing.assert_array_equal(dicoms.means(each.pixel_array, 2), given.pixel_array)
    assert faults(made[0]) <= faults(files[0])
    # That entities agree in what files say of them.
    judged = subprocess.run(
        [dicoms.tool("dcentvfy"), *map(str, made)], capture_output=True, text=True
    )
    assert judged.stdout + judged.stderr == ""
    enlarged(files, tmp_path / "deep", through_plane=True)
    deep = sorted((tmp_path / "deep").iterdir())
    assert [path.name for path in deep][:3] == ["IM001_1.dcm", "IM001_2.dcm", "IM002_1.dcm"]
    assert faults(deep[0]) <= faults(files[0])
    # By the positions, which are 2 mm apart, and not by what the input says of itself.
    assert {float(pydicom.dcmread(path).SpacingBetweenSlices) for path in deep} == {1}
    assert pydicom.dcmread(deep[0]).SliceLocation == 8.5


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([0, 2, 6, 8], ["1 slice is missing", "IM002.dcm and IM003.dcm"]),
        ([0, 2, 4, 12, 14], ["3 slices are missing", "IM003.dcm and IM004.dcm"]),
        ([0, 2, 4, 4], ["the same place", "IM003.dcm and IM004.dcm"]),
        ([0, 2, 4, 5.2, 7.2], ["unevenly", "1.200 mm", "IM003.dcm and IM004.dcm"]),
    ],
)
def test_slices_that_are_missing_twice_there_or_uneven_are_named(
    tmp_path: Path, places: list[float], words: list[str]
) -> None:
    files = series(tmp_path / "in", places)
    with pytest.raises(InputError) as caught:
        enlarged(files, tmp_path / "out")
    text = str(caught.value)
    assert all(word in text for word in [*words, str(tmp_path / "in")])
    assert not (tmp_path / "out").exists()


def test_slices_that_are_shifted_are_named(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [0, 2, 4, 6, 8])
    moved = pydicom.dcmread(files[2])
    moved.ImagePositionPatient[0] += 3
    moved.save_as(files[2])
    with pytest.raises(InputError, match="sideways"):
        enlarged(files, tmp_path / "out")


def test_between_slices_of_several_scales_of_values_there_is_nothing(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [0, 2, 4])
    scaled = pydicom.dcmread(files[1])
    scaled.RescaleSlope = "0.5"
    scaled.save_as(files[1])
    enlarged(files, tmp_path / "out")
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [each.RescaleSlope for each in made] == [1, 0.5, 1]
    with pytest.raises(InputError, match="one scale of values"):
        enlarged(files, tmp_path / "deep", through_plane=True)


def test_positions_may_be_rounded(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [round(i * 5 / 3, 2) for i in range(9)])
    enlarged(files, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 9


def test_stacks_of_several_directions_are_enlarged_each(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [0, 2, 4])
    files += series(tmp_path / "in", [7], orientation=oblique(), names="SCOUT{}.dcm")
    enlarged(files, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("larger", ["refuse", "copy", "reduce"])
def test_a_series_that_is_large_enough_is_refused(tmp_path: Path, larger: Any) -> None:
    files = series(tmp_path / "in", [0, 2, 4])
    model = fake_model(scale=2, halo=2)
    with pytest.raises(InputError):
        open_file(
            files[0],
            Options(model=model, width=14, larger=larger),
            backend=FakeBackend(),
            members=tuple(files),
        )


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    files = series(tmp_path / "in", [0, 2, 4])
    files[2].write_bytes(files[2].read_bytes()[:-300])
    with pytest.raises(InputError, match="IM003"):
        enlarged(files, tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]
    files = series(tmp_path / "in", [0, 2, 4])
    enlarged(files, tmp_path / "out")
    with pytest.raises(ExistsError):
        enlarged(files, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_each_series_of_a_folder_is_one_picture(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    series(folder / "head", [0, 2, 4], names="A{}")
    series(folder / "head", [0, 3], uid="1.2.3", number=4, names="B{}")
    series(folder / "one", [0])
    report = ct(waves(), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", SeriesInstanceUID="1.9")
    del report.Rows, report.Columns, report.PixelData
    save(report, folder / "head" / "REPORT.dcm")
    gathered: Any = {}
    found, _ = find([folder], recursive=True, series=gathered)
    jobs = destinations(
        found, tmp_path / "out", Options(), folder=True, default_scale=2, series=gathered
    )
    made = {str(job.target.relative_to(tmp_path)): [p.name for p in job.files] for job in jobs}
    assert made == {
        "out/head_3_x2": ["A1", "A2", "A3"],
        "out/head_4_x2": ["B1", "B2"],
        "out/head/REPORT_x2.dcm": ["REPORT.dcm"],
        "out/one/IM001_x2.dcm": ["IM001.dcm"],
    }


def test_files_without_a_suffix_become_some_with_one(tmp_path: Path) -> None:
    names = ["IM1", "1.2.840.1", "1.2.840.2", "a.IMA"]
    for number, name in enumerate(names):
        series(tmp_path / "in", [0], names=name, uid=f"1.2.3.{number}")
    (tmp_path / "in" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    passed_over: list[Path] = []
    found, _ = find([tmp_path / "in"], passed_over=passed_over)
    for folder in (None, tmp_path / "out"):
        jobs = destinations(found, folder, Options(), folder=True, default_scale=2)
        assert {job.target.name for job in jobs} == {f"{name}_x2.dcm" for name in names}
    assert not passed_over  # that lists the others is no picture


def test_a_folder_s_files_are_grouped_whatever_is_wrong_with_some(tmp_path: Path) -> None:
    files = series(tmp_path, [0, 2])
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(files[0].read_bytes()[:200])
    groups = in_series([*files, damaged])
    assert groups == {files[0]: (tuple(files), "3"), damaged: ((damaged,), "")}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "upres", "enlarge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_takes_a_folder_and_goes_on(tmp_path: Path) -> None:
    series(tmp_path / "head", [0, 2, 4])
    series(tmp_path / "uneven", [0, 2, 4, 9])
    asked = ("-r", tmp_path, "-o", tmp_path / "out", "-s", 2)
    done = run(*asked)
    assert done.returncode == 1
    assert "uneven" in done.stderr
    assert f"wrote {tmp_path}/out/head_x2" in done.stderr
    assert "Traceback" not in done.stderr
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "head_x2").iterdir()}
    assert len(before) == 3
    assert os.listdir(tmp_path / "out") == ["head_x2"]
    again = run(*asked, "--resume")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "head_x2").iterdir()} == before
    assert "uneven" in again.stderr
    assert run(tmp_path / "head", "-o", tmp_path / "out", "-s", 2).returncode == 1
    assert run(tmp_path / "head", "-o", tmp_path / "out", "-s", 2, "--force").returncode == 0
    assert len(os.listdir(tmp_path / "out" / "head_x2")) == 3
    (tmp_path / "out" / "head_x2" / "notes.txt").write_text("mine")
    refused = run(tmp_path / "head", "-o", tmp_path / "out", "-s", 2, "--force")
    assert refused.returncode == 1
    assert "notes.txt" in refused.stderr
    assert len(os.listdir(tmp_path / "out" / "head_x2")) == 4


@pytest.mark.parametrize("last", ["in.dcm", "out/x.png"])
def test_a_series_becomes_a_folder_of_dicom(tmp_path: Path, last: str) -> None:
    series(tmp_path / "head", [0, 2, 4])
    more = ("--format", "png", "-o", tmp_path / "out") if "png" in last else ("-o", tmp_path / last)
    done = run(tmp_path / "head", "-s", 2, *more)
    assert done.returncode != 0
    assert "series" in done.stderr
    assert "Traceback" not in done.stderr
