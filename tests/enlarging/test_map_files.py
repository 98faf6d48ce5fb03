"""The files of an error map: their names, their places, and none that is left half made."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

import fakes
import upres
from fakes import fake_model, write_fake_head
from upres.card import Model
from upres.enlarging.files import open_file
from upres.enlarging.map_files import lacks_map
from upres.enlarging.options import Options
from upres.enlarging.writing import Written
from upres.errors import ExistsError, InputError, OutputError, UsageError
from upres.runs.batch import Summary, enlarge_files
from upres.runs.jobs import Job

RNG = np.random.default_rng(31)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "models").mkdir()
    made = fake_model(halo=3, path=tmp_path / "models" / "fake-x2.onnx")
    write_fake_head(made)
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    pixels = RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    return path


def write(source: Path, target: Path, model: Model, *maps: Path, **how: Any) -> None:
    fakes.open_file(source, model=model, errors=True, error_map=maps).write(target, **how)


def test_a_map_needs_a_name_of_its_own(model: Model, source: Path) -> None:
    folder, kept = source.parent, source.read_bytes()
    (folder / "in").mkdir()
    (folder / "same").symlink_to(folder)
    names = ("a.png", "b.png", "in/../a.png", "in/../b.png", "same/a.png", "same/b.png")
    for name in names:
        with pytest.raises(UsageError, match="named twice"):
            write(source, folder / "b.png", model, folder / name)
    with pytest.raises(UsageError, match="named twice"):
        write(source, folder / "b.png", model, folder / "e.tif", folder / "same" / "e.tif")
    assert source.read_bytes() == kept
    assert not (folder / "b.png").exists()


@pytest.mark.parametrize("suffix", [".tif", ".png", ".json"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    model: Model, source: Path, suffix: str
) -> None:
    progress: list[float] = []
    path = source.parent / "missing" / f"e{suffix}"
    with pytest.raises(OutputError, match=rf"missing.e\{suffix}: cannot write here"):
        write(source, source.parent / "b.png", model, path, progress=progress.append)
    assert not progress
    assert not (source.parent / "b.png").exists()


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_frames_have_a_summary_only(model: Model, tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    source = tmp_path / "moving.png"
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9, 3)).astype(np.uint8)) for _ in range(2)]
    frames[0].save(source, save_all=True, append_images=frames[1:])
    with pytest.raises(OutputError, match=r"2 frames is a summary only: name it \.json"):
        write(source, tmp_path / "b.png", model, tmp_path / f"e{suffix}")
    write(source, tmp_path / "b.png", model, tmp_path / "e.json")
    assert (tmp_path / "e.json").exists()


def test_no_map_is_left_without_its_result(model: Model, source: Path) -> None:
    folder = source.parent
    maps = [folder / name for name in ("e.tif", "e.png", "e.json")]

    def taken(done: float) -> None:
        if done == 1:  # another process is faster by a moment
            (folder / "b.png").write_bytes(b"of another")

    with pytest.raises(ExistsError, match=r"b\.png"):
        write(source, folder / "b.png", model, *maps, replace=False, progress=taken)
    assert (folder / "b.png").read_bytes() == b"of another"
    assert sorted(os.listdir(folder)) == ["a.png", "b.png", "models"]


def test_a_map_of_another_that_came_meanwhile_stays(model: Model, source: Path) -> None:
    folder = source.parent

    def taken(done: float) -> None:
        if done == 1:
            (folder / "e.png").write_bytes(b"of another")

    maps = [folder / name for name in ("e.tif", "e.png", "e.json")]
    with pytest.raises(ExistsError, match=r"e\.png"):
        write(source, folder / "b.png", model, *maps, replace=False, progress=taken)
    assert (folder / "e.png").read_bytes() == b"of another"
    assert sorted(os.listdir(folder)) == ["a.png", "e.png", "models"]


def test_a_result_without_its_whole_map_is_made_again(
    model: Model, source: Path, tmp_path: Path
) -> None:
    target, *maps = (tmp_path / name for name in ("b.png", "e.tif", "e.json"))
    options = Options(model=model, errors=True, error_map=tuple(maps))

    def run() -> Summary:
        opened = partial(open_file, backend=fakes.FakeBackend())
        jobs = [Job(source, target)]
        return enlarge_files(jobs, options, open_picture=opened, existing="skip", workers=1)

    assert run().done == 1
    assert run() == Summary(skipped=1)
    made = {path: path.read_bytes() for path in (target, *maps)}
    for path in maps:
        path.unlink()
        assert run().done == 1
        assert {each: each.read_bytes() for each in made} == made
    # A map by itself may be that of another result.
    target.unlink()
    ((_, error),) = run().failed
    assert f"{maps[0]}: exists already, and {target} does not" in str(error)
    assert error.remedies[0].value == "replace"
    assert not target.exists()
    assert maps[0].read_bytes() == made[maps[0]]


def test_a_file_that_lacks_its_map_is_made_again_in_python(source: Path) -> None:
    target, map_ = source.with_name("b.png"), source.with_name("e.json")
    assert not lacks_map(target, [])
    how: dict[str, Any] = {"scale": 2, "model": "fast", "error_map": map_, "existing": "skip"}
    upres.enlarge_file(source, target, **how)
    assert upres.enlarge_file(source, target, **how) == Written()
    map_.unlink()
    assert upres.enlarge_file(source, target, **how).errors is not None
    assert map_.exists()
    target.unlink()
    with pytest.raises(OutputError, match="may be the map of another result"):
        upres.enlarge_file(source, target, **how)


def test_the_map_of_a_geotiff_lies_where_its_result_does(model: Model, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    source, target, map_ = (tmp_path / name for name in ("a.tif", "b.tif", "e.tif"))
    bands = RNG.integers(0, 200, (3, 10, 14)).astype(np.uint8)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": 10,
        "width": 14,
        "count": 3,
        "dtype": "uint8",
        "nodata": 255,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -20, 4_600_000),
    }
    with rasterio.open(source, "w", **profile) as file:
        file.write(bands)
        file.scales, file.offsets = (0.5, 1, 2), (7, 0, 0)
        file.units = ("kelvin", "", "")
        file.descriptions = ("heat", "", "")
        file.update_tags(AREA_OR_POINT="Point", AUTHOR="somebody")
    opened = fakes.open_file(source, model=model, errors="force", error_map=(map_,))
    opened.write(target)
    with rasterio.open(target) as result, rasterio.open(map_) as made:
        assert (made.crs, made.transform, made.shape) == (
            result.crs,
            rasterio.Affine(5, 0, 500_000, 0, -10, 4_600_000),
            (20, 28),
        )
        assert made.transform == result.transform
        assert made.tags()["AREA_OR_POINT"] == "Point"
        assert "AUTHOR" not in made.tags()
        # A difference has the unit and the scale, and no offset.
        assert (made.scales, made.offsets, made.units[0]) == ((0.5, 1, 2), (0, 0, 0), "kelvin")
        assert all("half-width" in words for words in made.descriptions)
        assert (made.dtypes, made.nodata) == (("float32",) * 3, None)
        widths = made.read()
    assert (widths >= 0.5).all()


def test_the_map_of_a_picture_has_its_resolution(model: Model, tmp_path: Path) -> None:
    from PIL import Image

    source, target, map_ = (tmp_path / name for name in ("a.png", "b.tif", "e.tif"))
    pixels = RNG.integers(0, 256, (8, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(source, dpi=(300, 200))
    write(source, target, model, map_)
    with Image.open(target) as result, Image.open(map_) as made:
        told = [tuple(map(float, each.info["dpi"])) for each in (result, made)]
    assert told[0] == pytest.approx((300, 200), rel=1e-3)
    assert told[1] == pytest.approx(told[0])


def test_a_shipped_name_without_a_head_names_the_scales_that_have_one(tmp_path: Path) -> None:
    from upres.enlarging.plan import plan
    from upres.errors import ModelError
    from upres.head import head_path
    from upres.models import shipped_models
    from upres.raster.arrays import ArraySource

    bare = fake_model(path=tmp_path / "bare-x2.onnx")
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ModelError, match="has no head") as caught:
        plan(ArraySource(image).info, Options(model=bare, errors=True), fakes.FakeBackend())
    for name in ("fast", "balanced", "best"):
        for scale, path in shipped_models()[name].items():
            told = str(caught.value).partition(f"{name} at ")[2].partition(",")[0]
            assert (f"x{scale}" in told) == head_path(path).is_file()


def test_a_disk_that_is_too_small_is_told_before_the_work(model: Model, source: Path) -> None:
    from upres.enlarging.writing import check_disk

    with pytest.raises(OutputError, match="make room") as caught:
        check_disk(source, 2**62, named_by="error_map")
    assert caught.value.remedies[0].option == "error_map"


@pytest.mark.parametrize(("compression", "lossy"), [("jpeg", True), ("lzw", False)])
def test_a_tiff_that_jpeg_compresses_is_refused_unless_forced(
    model: Model, tmp_path: Path, compression: str, lossy: bool
) -> None:
    from PIL import Image

    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    pixels = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(source, compression=compression)
    if lossy:
        with pytest.raises(InputError, match="JPEG may have changed its samples"):
            write(source, target, model)
    else:
        write(source, target, model)
    opened = fakes.open_file(source, model=model, errors="force")
    assert ("not promised" in str(opened.write(target).errors)) == lossy
    assert fakes.open_file(source, model=model).write(target).errors is None


@pytest.mark.parametrize(
    ("name", "mode", "why"),
    [
        ("a.png", "P", "a palette"),
        ("a.tif", "P", "a palette"),
        ("a.bmp", "P", "a palette"),
        ("a.png", "1", "having 1 bits a sample"),
        ("a.tif", "1", "having 1 bits a sample"),
        ("a.bmp", "1", "having 1 bits a sample"),
        ("a.pbm", "1", "having 1 bits a sample"),
        ("a.png", "L", ""),
        ("a.tif", "L", ""),
        ("a.bmp", "L", ""),
        ("a.pgm", "L", ""),
    ],
)
def test_few_levels_are_refused_unless_forced(
    model: Model, tmp_path: Path, name: str, mode: str, why: str
) -> None:
    from PIL import Image

    source = tmp_path / name
    pixels = Image.fromarray(RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8))
    (pixels.quantize(64) if mode == "P" else pixels.convert(mode)).save(source)
    if why:
        with pytest.raises(InputError, match=f"{why} may have changed its samples"):
            write(source, tmp_path / "b.tif", model)
    else:
        write(source, tmp_path / "b.tif", model)
    opened = fakes.open_file(source, model=model, errors="force")
    assert ("not promised" in str(opened.write(tmp_path / "b.tif").errors)) == bool(why)
    # Without bounds there is nothing to promise, and nothing to refuse.
    assert fakes.open_file(source, model=model).write(tmp_path / "b.tif").errors is None


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif"])
def test_a_format_that_changes_samples_again_is_refused_unless_forced(
    model: Model, source: Path, suffix: str
) -> None:
    target = source.parent / f"b{suffix}"
    with pytest.raises(OutputError, match="may change the samples again") as caught:
        write(source, target, model)
    assert caught.value.remedies[0].option == "errors"
    assert not target.exists()
    opened = fakes.open_file(source, model=model, errors="force")
    assert f"not promised: {suffix} may change" in str(opened.write(target).errors)


def test_a_refusal_leaves_nothing(model: Model, tmp_path: Path) -> None:
    import tifffile

    source = tmp_path / "flat.tif"
    tifffile.imwrite(source, np.full((9, 9), 700, np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match="no part of their range"):
        write(source, tmp_path / "b.tif", model, tmp_path / "e.tif", tmp_path / "e.json")
    assert sorted(os.listdir(tmp_path)) == ["flat.tif", "models"]
