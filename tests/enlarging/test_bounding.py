"""Bounds of errors: by a fake head, whose half-widths are known, and refusals of all else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import fakes
import upres
from fakes import FakeBackend, fake_model, write_fake_head
from upres.card import Model
from upres.engine.openvino import OpenVINO
from upres.enlarging.api import enlarge_array, enlarge_bounded
from upres.enlarging.options import Options
from upres.enlarging.plan import plan
from upres.enlarging.windows import enlarge_windows
from upres.errors import ExistsError, InputError, ModelError, OutputError, UsageError
from upres.head import head_path
from upres.models import open_model, shipped_models
from upres.raster.arrays import ArraySource
from upres.raster.info import RasterInfo, bands_of, usual_roles

RNG = np.random.default_rng(30)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A fake with a head, whose half-widths are 0.02 and a tenth of the result, of values to 1."""
    made = fake_model(halo=3, path=tmp_path / "fake-x2.onnx")
    write_fake_head(made)
    return made


def picture(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    return RNG.integers(30, 220, (height, width, bands)).astype(np.uint8)


def bounded(
    image: NDArray[Any], model: Model, backend: FakeBackend | None = None, **asked: Any
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    options = Options(**{"model": model, "errors": True} | asked)
    return enlarge_bounded(ArraySource(image), options, backend=backend or FakeBackend())


def test_a_half_width_for_every_pixel_in_the_picture_s_own_unit(model: Model) -> None:
    image = picture(20, 30)
    result, widths = bounded(image, model)
    assert (result.shape, result.dtype) == ((40, 60, 3), np.uint8)
    assert (widths.shape, widths.dtype) == ((40, 60), np.float32)
    made = fakes.enlarged(model, (image / np.float32(255)).astype(np.float32))
    np.testing.assert_allclose(widths, 255 * (0.02 + 0.1 * made.mean(2)), rtol=1e-4)
    # The same picture in 16 bits has the same bounds, in its own unit.
    wide = image.astype(np.uint16) * 257
    wide[0, 0], wide[0, 1] = 0, 65535
    deep = bounded(wide, model)[1]
    small = bounded((wide // 257).astype(np.uint8), model)[1]
    np.testing.assert_allclose(deep, small * 257, rtol=1e-4)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_the_picture_is_the_same_with_and_without(model: Model, bands: int) -> None:
    image = picture(17, 23, bands)
    result, widths = bounded(image, model)
    without = enlarge_array(ArraySource(image), Options(model=model), backend=FakeBackend())
    np.testing.assert_array_equal(result, without)
    assert widths.shape == (34, 46)  # alpha has none


def test_the_factor_of_the_card_counts_and_half_a_level_is_the_least(model: Model) -> None:
    image = picture(12, 12)
    once = bounded(image, model)[1]
    write_fake_head(model, factor=1.5)
    np.testing.assert_allclose(bounded(image, model)[1], 1.5 * once, rtol=1e-5)
    write_fake_head(model, factor=1e-6)
    assert (bounded(image, model)[1] == 0.5).all()


def test_windows_make_the_same_map_as_the_whole(model: Model) -> None:
    image = picture(61, 47)
    whole = bounded(image, model)[1]
    backend = FakeBackend(window_pixels=20 * 20)
    np.testing.assert_allclose(bounded(image, model, backend)[1], whole, rtol=1e-5)
    assert all(height * width < 61 * 47 for _, height, width in backend.compiled)


def test_bands_that_go_alone_have_a_map_each(model: Model) -> None:
    source = ArraySource(picture(9, 9, 5), bands=["red", "green", "blue", "other", "other"])
    options = Options(model=model, errors="force")
    _, widths = enlarge_bounded(source, options, backend=FakeBackend())
    assert widths.shape == (18, 18, 3)


def test_three_inks_go_together_and_black_alone(model: Model) -> None:
    source = ArraySource(picture(9, 9, 4), bands=["ink"] * 4)
    result, widths = enlarge_bounded(
        source, Options(model=model, errors="force"), backend=FakeBackend()
    )
    assert (result.shape, widths.shape) == ((18, 18, 4), (18, 18, 2))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scale": 3}, "one model makes in one go"),
    ({"scale": 1.5}, "one model makes in one go"),
    ({"scale": 4}, "one model makes in one go"),
]


@pytest.mark.parametrize(("asked", "why"), REFUSED)
def test_other_factors_are_refused(model: Model, asked: dict[str, Any], why: str) -> None:
    for errors in (True, "force"):
        with pytest.raises(InputError, match=why):
            bounded(picture(8, 8), model, errors=errors, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"palette": "keep"},
        {"labels": True},
        {"larger": "reduce"},
        {"larger": "copy"},
        {"wrap": True},
        {"through_plane": True},
    ],
)
def test_options_without_bounds_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not both"):
        Options(errors=True, **asked)


def test_a_model_without_a_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no head"):
        bounded(picture(8, 8), fake_model(path=tmp_path / "bare-x2.onnx"))


def info(**facts: Any) -> RasterInfo:
    roles = usual_roles(3)
    assert roles is not None
    return RasterInfo(8, 8, bands_of(roles, 0, 255), np.dtype(np.uint8), **facts)


def planned(raster: RasterInfo, model: Model, errors: Any = True) -> str:
    return plan(raster, Options(model=model, errors=errors), FakeBackend()).not_promised


def test_compressed_files_are_refused_unless_forced(model: Model) -> None:
    assert not planned(info(), model)
    with pytest.raises(InputError, match="JPEG file of quality 98 has faults"):
        planned(info(jpeg_quality=98), model)
    with pytest.raises(InputError, match="JPEG file of quality 70 has faults") as caught:
        planned(info(jpeg_quality=70), model)
    assert caught.value.remedies[-1].option == "errors"
    assert "quality 70" in planned(info(jpeg_quality=70), model, "force")


def test_a_head_for_jpeg_files_is_for_those_alone(model: Model) -> None:
    write_fake_head(model, degradation="jpeg")
    assert not planned(info(jpeg_quality=70), model)
    for quality in (None, 10, 99):
        with pytest.raises(InputError, match="qualities of 30 to 95"):
            planned(info(jpeg_quality=quality), model)
    agreeing = Options(model=model, errors=True, consistent="force")
    with pytest.raises(InputError, match="consistent result keeps faults"):
        plan(info(jpeg_quality=70), agreeing, FakeBackend())


def test_what_the_calibration_had_none_of_is_refused_unless_forced(model: Model) -> None:
    dull = np.linspace(0.4, 0.6, 300, dtype=np.float32).reshape(10, 10, 3)
    with pytest.raises(InputError, match="of their range"):
        bounded(dull, model)
    _, widths = bounded(dull, model, errors="force")
    assert widths.max() < 0.03  # of a fifth of the range
    flat = np.full((10, 10), 700, np.uint16)
    with pytest.raises(InputError, match="no part of their range"):
        bounded(flat, model)
    _, widths = bounded(flat, model, errors="force")
    assert widths.min() >= 0.5 * 257  # nothing is exact
    gaps = np.ones((10, 10), np.float32)
    gaps[3, 3], gaps[0, 0] = np.nan, 0
    with pytest.raises(InputError, match="missing"):
        bounded(gaps, model)
    for role, why in (("other", "measurements, each enlarged by itself"), ("ink", "inks")):
        source = ArraySource(picture(8, 8, 1), bands=[role])  # type: ignore[list-item]
        with pytest.raises(InputError, match=why):
            enlarge_bounded(source, Options(model=model, errors=True), backend=FakeBackend())
    signed = picture(10, 10).astype(np.int16)
    with pytest.raises(InputError, match="only its samples tell their range"):
        bounded(signed, model)
    source = ArraySource(signed, value_range=(0, 255))
    enlarge_bounded(source, Options(model=model, errors=True), backend=FakeBackend())
    linear = dataclasses.replace(info(), colours="linear")
    with pytest.raises(InputError, match="gamma-encoded"):
        planned(linear, model, "force")
    with pytest.raises(InputError, match="keeps means"):
        planned(dataclasses.replace(info(), preserves="mean"), model)


def test_bad_values_are_refused() -> None:
    with pytest.raises(UsageError, match="errors must be"):
        Options(errors="maybe")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\.tif"):
        Options(errors=True, error_map=(Path("a.jpg"),))
    with pytest.raises(UsageError, match="give errors"):
        Options(error_map=(Path("a.tif"),))


def write_png(path: Path, image: NDArray[np.uint8]) -> Path:
    import pyvips

    pyvips.Image.new_from_array(image).write_to_file(str(path))
    return path


def test_the_map_as_files(model: Model, tmp_path: Path) -> None:
    image = picture(30, 40)
    source = write_png(tmp_path / "a.png", image)
    maps = tuple(tmp_path / name for name in ("e.tif", "e.png", "e.json"))
    opened = fakes.open_file(source, model=model, errors=True, error_map=maps)
    written = opened.write(tmp_path / "b.png")
    widths = bounded(image, model)[1]
    np.testing.assert_allclose(tifffile.imread(maps[0]), widths, rtol=1e-5)
    data = json.loads(maps[2].read_text("utf-8"))
    assert data["promised"]
    assert data["mean_half_width"] == pytest.approx(widths.mean(dtype=float), rel=1e-4)
    assert data["share_above"]["16"] == pytest.approx((widths > 16).mean())
    assert data["calibration"]["pictures"] == 200
    assert written.errors is not None
    assert f"within {widths.mean():.1f} grey levels" in str(written.errors)
    with pytest.raises(ExistsError, match=r"e\.tif"):
        opened.write(tmp_path / "c.png", replace=False)
    assert not (tmp_path / "c.png").exists()


def test_a_forced_map_says_that_nothing_is_promised(model: Model, tmp_path: Path) -> None:
    import pyvips

    source = tmp_path / "a.webp"
    pyvips.Image.new_from_array(picture(20, 20)).write_to_file(str(source))
    with pytest.raises(InputError, match="WEBP may have changed"):
        fakes.open_file(source, model=model, errors=True)
    opened = fakes.open_file(source, model=model, errors="force", error_map=(tmp_path / "e.json",))
    text = str(opened.write(tmp_path / "b.png").errors)
    assert "not promised: WEBP" in text
    assert not json.loads((tmp_path / "e.json").read_text("utf-8"))["promised"]


def test_pages_have_a_map_each(model: Model, tmp_path: Path) -> None:
    pages = [picture(10, 12, 1)[:, :, 0], picture(14, 9)]
    source, target = tmp_path / "a.tif", tmp_path / "e.tif"
    with tifffile.TiffWriter(source) as file:
        for page in pages:
            file.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
    fakes.open_file(source, model=model, errors=True, error_map=(target,)).write(tmp_path / "b.tif")
    with tifffile.TiffFile(target) as file:
        made = [page.asarray() for page in file.pages]
    assert [page.shape for page in made] == [(20, 24), (28, 18)]
    for page, image in zip(made, pages, strict=True):
        np.testing.assert_allclose(page, bounded(image, model)[1], rtol=1e-5)
    picture_of_it = tmp_path / "e.png"
    opened = fakes.open_file(source, model=model, errors=True, error_map=(picture_of_it,))
    with pytest.raises(OutputError, match="one page"):
        opened.write(tmp_path / "c.tif")
    assert not (tmp_path / "c.tif").exists()


def with_heads() -> list[str]:
    """Shipped model files that have a head."""
    paths = (path for scales in shipped_models().values() for path in scales.values())
    return sorted(path.stem for path in paths if head_path(path).is_file())


@pytest.mark.parametrize("stem", with_heads())
def test_a_shipped_head_changes_no_picture_and_sees_no_further(stem: str) -> None:
    name, _, scale = stem.rpartition("-x")
    model, backend = open_model(name, scale=int(scale)), OpenVINO(threads=1)
    options = Options(model=model, errors="force")
    grey = RNG.random((40, 44), np.float32)
    grey[0, 0], grey[0, 1] = 0, 1
    image = np.clip(np.repeat(grey[:, :, None], 3, 2) + RNG.normal(0, 0.05, 3), 0, 1)
    image = image.astype(np.float32)
    source = ArraySource(image)
    result, widths = enlarge_bounded(source, options, backend=backend)
    alone = enlarge_array(source, dataclasses.replace(options, errors=False), backend=backend)
    np.testing.assert_array_equal(result, alone)
    # The same in small windows, as the model's own halo is enough for the head, too.
    seen = plan(source.info, options, backend).models[0]
    made = np.zeros((1, *widths.shape), np.float32)

    def take(top: int, left: int, part: NDArray[np.float32]) -> None:
        made[:, top : top + part.shape[1], left : left + part.shape[2]] = part

    whole = np.zeros_like(made)
    for target, pixels in ((whole, 2**20), (made, 40 * 40)):
        made = target
        for _ in enlarge_windows(
            [image], source.info, seen, backend, window_pixels=pixels, widths=take
        ):
            pass
    np.testing.assert_allclose(made, whole, rtol=2e-3, atol=2e-5)


def test_heads_are_shipped_in_both_precisions() -> None:
    stems = with_heads()
    assert "fast-x4" in stems
    for stem in stems:
        name, _, scale = stem.rpartition("-x")
        other = name.removesuffix("-int8") if name.endswith("-int8") else f"{name}-int8"
        assert f"{other}-x{scale}" in stems


@pytest.mark.parametrize("name", ["fast", "fast-int8"])
def test_a_shipped_head_keeps_its_promise_on_pictures_that_it_never_saw(
    shared_data: Path, name: str
) -> None:
    from upres.formats.archives import read_tar
    from upres.formats.image.vips import read_rgb8
    from upres.raster.resize import bicubic

    covered = []
    for number, (_, content) in enumerate(read_tar(shared_data / "train" / "valid.tar")):
        if number % 2:
            continue
        truth = read_rgb8(content)[100:300, 100:300]
        low = bicubic(truth, scale=0.25)
        result, widths = upres.enlarge(low, model=open_model(name, scale=4), errors=True)
        covered.append((np.abs(result.astype(int) - truth) <= widths[:, :, None]).mean())
    assert 0.86 < np.mean(covered) < 0.95
