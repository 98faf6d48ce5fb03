"""Samples that take a part of their type's range, or lie far from [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray

import fakes
import upres
from upres.enlarging.api import enlarge_array
from upres.enlarging.measuring import measured
from upres.enlarging.options import Options
from upres.raster.arrays import ArraySource
from upres.raster.resize import bicubic

Array = NDArray[Any]

RANGES = [
    ("u2", 0, 300),
    ("u2", 118, 400),
    ("u2", 0, 4095),
    ("u2", 20000, 60000),
    ("u2", 65000, 65535),
    ("u4", 0, 1000),
    ("u4", 3_000_000_000, 3_000_005_000),
    ("i2", 118, 400),
    ("i2", -3000, -2700),
    ("i4", -100_000, -98_000),
    ("f4", 0, 0.001),
    ("f4", 0.4, 0.41),
    ("f4", 98_000, 102_000),
    ("f4", 270, 310),
    ("f4", -0.5, 0.5),
]


def drawing(height: int = 96, width: int = 128) -> Array:
    """Edges and waves from 0 to 1, which a network enlarges better than bicubic."""
    y, x = np.mgrid[:height, :width] / 2
    values = 0.5 + 0.35 * np.sin(x / 4 + y / 9) + 0.15 * ((x // 11 + y // 7) % 2)
    values = values.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    values -= values.min()
    result: Array = values / values.max()
    return result


def within(values: Array, dtype: str, low: float, high: float) -> Array:
    scaled = low + values * (high - low)
    return (scaled.round() if np.dtype(dtype).kind != "f" else scaled).astype(dtype)


def psnr(result: Array, truth: Array, low: float, high: float) -> float:
    error = (result.astype(float) - truth)[4:-4, 4:-4] / (high - low)
    return float(-10 * np.log10((error**2).mean()))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("dtype", "low", "high"), RANGES)
def test_a_part_of_a_type_s_range_is_enlarged_as_well_as_all_of_it(
    tmp_path: Path, dtype: str, low: float, high: float, precision: Any
) -> None:
    truth, small = drawing(192, 256), bicubic(drawing(192, 256), size=(48, 64))
    small = np.clip(small, 0, 1)
    small[0, :2] = 0, 1
    whole = upres.enlarge(small.astype("f4"), scale=2, precision=precision)
    samples = within(small, dtype, low, high)
    path, target = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(path, samples)
    upres.enlarge_file(path, target, scale=2, precision=precision)
    result = tifffile.imread(target)
    assert result.dtype == samples.dtype
    assert samples.min() <= result.min()
    assert result.max() <= samples.max()
    # Integers of few values are rounded to them, and float32 has 24 bits.
    expected = psnr(within(whole, dtype, low, high), within(truth, "f8", low, high), low, high)
    assert psnr(result, within(truth, "f8", low, high), low, high) > expected - 0.1


@pytest.mark.parametrize(("dtype", "low", "high"), [*RANGES, ("f8", 270, 310), ("f2", 0, 0.01)])
def test_an_array_s_range_is_measured_or_given(dtype: str, low: float, high: float) -> None:
    samples = within(drawing(), dtype, low, high)
    expected = upres.enlarge(drawing().astype("f4"), scale=2, precision="fp32")
    refused = samples.dtype.kind == "f" and (low < 0 or high > 1)
    given = (low, high) if refused else None
    result = upres.enlarge(samples, scale=2, precision="fp32", value_range=given)
    assert result.dtype == samples.dtype
    digits = max(abs(low), abs(high)) * np.finfo(dtype).eps if samples.dtype.kind == "f" else 1
    step = digits / (high - low)
    difference = np.abs((result.astype(float) - low) / (high - low) - expected)
    assert difference.max() < 6 * step + 1e-4


@pytest.mark.parametrize("dtype", ["u2", "u4", "i2", "i4", "f4"])
@pytest.mark.parametrize("value", [0, 1, 300])
def test_a_flat_raster_stays_flat(tmp_path: Path, dtype: str, value: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((40, 50), value, dtype))
    upres.enlarge_file(tmp_path / "a.tif", tmp_path / "b.tif", scale=2)
    result = tifffile.imread(tmp_path / "b.tif")
    assert (result.shape, set(np.unique(result))) == ((80, 100), {value})


def test_a_photograph_that_fills_its_range_is_scaled_by_that(tmp_path: Path) -> None:
    photograph = within(drawing(), "u2", 0, 65535)
    info = measured(ArraySource(photograph), tmp_path)
    assert [(b.low, b.high, b.least, b.most) for b in info.bands] == [(0, 65535, 0, 65535)]


def test_few_values_of_16_bits_stay_so_dark_in_png(tmp_path: Path) -> None:
    samples = within(drawing(), "u2", 118, 400)
    PIL.Image.fromarray(samples).save(tmp_path / "a.png")
    upres.enlarge_file(tmp_path / "a.png", tmp_path / "b.png", scale=2)
    result = np.asarray(PIL.Image.open(tmp_path / "b.png"))
    assert samples.min() <= result.min()
    assert result.max() <= samples.max()
    assert np.abs(result - bicubic(samples.astype(float), scale=2)).mean() < 0.03 * 282


def test_floats_of_a_thousandth_become_as_dark_in_png(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", within(drawing(), "f4", 0, 0.001))
    upres.enlarge_file(tmp_path / "a.tif", tmp_path / "b.png", scale=2)
    result = np.asarray(PIL.Image.open(tmp_path / "b.png"))
    assert result.max() == 66  # a thousandth of 65535


def test_colours_share_a_range_and_other_bands_have_their_own(tmp_path: Path) -> None:
    scene = np.dstack([within(drawing(), "u2", 10 * n, 100 * n) for n in (1, 2, 3, 40)])
    info = measured(ArraySource(scene, bands=["red", "green", "blue", "other"]), tmp_path)
    assert [(b.least, b.most) for b in info.bands] == [(10, 300)] * 3 + [(400, 4000)]


def test_alpha_is_not_measured(tmp_path: Path) -> None:
    picture = np.dstack([within(drawing(), "u2", 0, 300), within(drawing(), "u2", 20000, 50000)])
    grey, alpha = measured(ArraySource(picture), tmp_path).bands
    assert (grey.least, grey.most) == (0, 300)
    assert (alpha.low, alpha.high, alpha.least, alpha.most) == (0, 65535, None, None)


def test_a_value_range_that_is_given_is_not_measured() -> None:
    given: list[Array] = []
    samples = within(drawing(), "u2", 100, 200)
    enlarge_array(
        ArraySource(samples, value_range=(0, 1000)),
        Options(model=fakes.fake_model()),
        backend=fakes.FakeBackend(before_window=lambda window: given.append(window.copy())),
    )
    np.testing.assert_allclose(given[0][0, 1], samples / 1000, atol=1e-6)


@pytest.mark.parametrize(("dtype", "value"), [("f4", 1.0000001), ("f2", 1.001), ("f8", 1 + 1e-9)])
def test_what_rounding_leaves_beyond_one_is_clipped(dtype: str, value: float) -> None:
    picture = drawing().astype(dtype)
    picture[3, 4], picture[5, 6] = value, -(value - 1)
    result = upres.enlarge(picture, scale=2)
    assert result.min() >= 0
    assert result.max() <= 1
