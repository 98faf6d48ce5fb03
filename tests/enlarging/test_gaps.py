"""Samples that are missing: nothing bleeds out of them, and they are missing in the result."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
from fakes import FakeBackend, fake_model
from upres.enlarging.agreement import Agreement
from upres.enlarging.api import enlarge_array
from upres.enlarging.gaps import filled
from upres.enlarging.pipeline import enlarge_into
from upres.enlarging.plan import plan
from upres.errors import InputError
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.info import Band
from upres.raster.resize import bicubic

RNG = np.random.default_rng(5)

BESIDE: Any = None


def heights(height: int = 41, width: int = 57) -> NDArray[np.float64]:
    """A measurement from about 500 to 900."""
    seed = RNG.uniform(500, 900, (height // 4 + 1, width // 4 + 1))
    return np.asarray(bicubic(seed, size=(height, width)))


def holes(height: int = 41, width: int = 57) -> NDArray[np.bool_]:
    """A corner, a large hole, and single samples."""
    gone = RNG.random((height, width)) < 0.01
    gone[:7, :9] = True
    gone[15:36, 20:44] = True
    return gone


def source(
    samples: NDArray[Any], nodata: float | None = None, *, mask: NDArray[np.bool_] | None = None
) -> ArraySource:
    """Measurements that are unbounded, as those of a GeoTIFF are."""
    bands = [Band("other", None, None, unbounded=True)] * samples.shape[2]
    if mask is not None:
        hidden = np.where(mask, 0, 255).astype(samples.dtype)[:, :, None]
        samples, bands = np.concatenate([samples, hidden], axis=2), [*bands, Band("mask")]
    given = ArraySource(samples, bands=[band.role for band in bands], value_range=(0, 1))
    given.info = dataclasses.replace(
        given.info, bands=tuple(bands), nodata=nodata, preserves="bicubic", colours="none"
    )
    return given


def enlarged(
    given: ArraySource, backend: FakeBackend | None = None, **options: Any
) -> NDArray[Any]:
    asked = {"model": fake_model(halo=3)} | options
    return enlarge_array(given, fakes.asking(**asked), backend=backend or FakeBackend())


def nearest(samples: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Each of the result is the sample that its centre lies in."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(samples.shape[:2], size, strict=False)
    )
    return samples[rows][:, columns]


@pytest.mark.parametrize("asked", [{}, {"scale": 2.5}, {"scale": 4}, {"consistent": False}])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_the_result_has_gaps_where_the_input_has_them(dtype: str, asked: dict[str, Any]) -> None:
    """By the value, in each band by itself; nothing else becomes that value."""
    masks = np.stack([holes(), holes()], 2)
    nodata = 0 if dtype == "uint16" else -9999
    values = np.dstack([heights(), heights() / 3])
    values[:4, 20:30] -= 100 if dtype == "uint16" else 0
    given = np.where(masks, nodata, np.round(values)).astype(dtype)
    result = enlarged(source(given, nodata), **asked)
    for band in range(2):
        expected = nearest(masks[:, :, band], result.shape)
        np.testing.assert_array_equal(result[:, :, band] == nodata, expected)
        assert result[:, :, band][~expected].min() > 50


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"consistent": False},
        {"scale": 3},
        {"wrap": True},
        {"palette": "keep"},
        {"scale": None, "width": 12, "larger": "reduce"},
    ],
)
def test_nothing_of_what_stands_in_the_gaps_reaches_the_rest(options: dict[str, Any]) -> None:
    mask, values = holes(), np.round(heights())[:, :, None]
    results = []
    for nodata in (0.0, 1.0, 65535.0):
        given = np.where(mask[:, :, None], nodata, values).astype(np.uint16)
        results.append(enlarged(source(given, nodata), **options))
    for hidden in (values * 0, values * 70, RNG.uniform(0, 65535, values.shape)):
        given = np.where(mask[:, :, None], hidden, values).astype(np.uint16)
        results.append(enlarged(source(given, mask=mask), **options))
    gone = nearest(mask, results[0].shape)
    first = results[0][:, :, 0][~gone]
    for result in results[1:]:
        np.testing.assert_array_equal(result[:, :, 0][~gone], first)
    # Those of a mask are there still, and so is the mask.
    np.testing.assert_array_equal(results[-1][:, :, 1] == 0, gone)
    own = nearest(given[:, :, 0], results[0].shape)
    np.testing.assert_array_equal(results[-1][:, :, 0][gone], own[gone])


def test_a_value_that_would_be_that_of_no_data_is_moved_to_the_next() -> None:
    """Both rounded ones, of whole numbers, and exact ones, of floats."""
    given = np.full((12, 12, 1), 100, np.uint8)
    given[0, 0] = 7
    given[6:, 6:] = 101
    given[0, 1] = 90
    for nodata in (7, 100):
        result = enlarged(source(np.where(given == nodata, 101, given).astype(np.uint8), nodata))
        assert not (result == nodata).any()
    flat = np.full((12, 12, 1), 0.5, np.float32)
    flat[3, 3] = -1
    result = enlarged(source(flat, -1), consistent=False)
    assert (result == -1).sum() == 4
    close = np.where(flat == -1, flat, np.float32(0.5))
    close[8, 8] = 0
    result = enlarged(source(close, 0.25), consistent=False)
    assert not (result == 0.25).any()


def test_windows_are_as_the_whole_is() -> None:
    mask = np.stack([holes(), holes()], 2)
    given = np.where(mask, np.nan, np.dstack([heights(), heights()])).astype(np.float32)
    for options in ({}, {"scale": 3}, {"scale": 1.5}, {"consistent": False}):
        whole = enlarged(source(given), **options)
        parts = enlarged(source(given), FakeBackend(window_pixels=700), **options)
        np.testing.assert_array_equal(np.isnan(parts), np.isnan(whole))
        # Of values up to 900, by a float of 24 bits.
        np.testing.assert_allclose(parts, whole, rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", [2, 3])
def test_reduced_again_it_is_the_input_but_beside_gaps(scale: int) -> None:
    """To a hundredth of a count, for values as far apart as those of 16 bits are."""
    mask = holes()
    values = heights() * 80 - 4000
    values[38, 50], values[5, 40] = 65000, 100
    given = np.where(mask, np.nan, values).astype(np.float32)[:, :, None]
    result = enlarged(source(given), model=fake_model(scale=scale, halo=3))[:, :, 0]
    gone = np.isnan(result)
    np.testing.assert_array_equal(gone, mask.repeat(scale, 0).repeat(scale, 1))
    # Weights that a missing sample would have.
    touched = np.abs(bicubic(gone.astype(np.float64), size=mask.shape)) > 1e-9
    assert (~touched).sum() > 400
    back = np.asarray(bicubic(np.where(gone, 0, result).astype(np.float64), size=mask.shape))
    np.testing.assert_allclose(back[~touched], given[:, :, 0][~touched], rtol=0, atol=0.01)
    assert result[~gone].max() > 60000


def test_numbers_that_are_none_stay_none_in_arrays() -> None:
    picture = np.dstack([np.clip(heights() / 1000, 0, 1)] * 3).astype(np.float32)
    picture[10:14, 10:14, 1] = np.nan
    result = fakes.enlarge_array(picture, scale=2)
    expected = np.isnan(picture).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.isnan(result), expected)
    nothing = np.full((5, 6), np.nan, np.float32)
    assert np.isnan(fakes.enlarge_array(nothing, scale=2)).all()
    picture[0, 0, 0] = np.inf
    with pytest.raises(InputError, match="infinite"):
        fakes.enlarge_array(picture, scale=2)


def test_agreement_is_told_of_samples_that_are_there(tmp_path: Any) -> None:
    mask = holes()
    given = source(np.where(mask, -9999, heights())[:, :, None].astype(np.float32), -9999)
    found = []
    for consistent in (True, False):
        options = fakes.asking(check=True, consistent=consistent, model=fake_model(halo=3))
        with ArraySink() as sink:
            agreement = enlarge_into(
                given,
                plan(given.info, options, FakeBackend()),
                sink,
                beside=tmp_path / "x",
                backend=FakeBackend(),
            )
        assert isinstance(agreement, Agreement)
        found.append(agreement)
    assert found[0].samples == found[1].samples
    assert 0 < found[0].samples < (~mask).sum()
    assert found[0].decibels > found[1].decibels + 20 > 30


def test_classes_are_repeated_whatever_their_numbers_are() -> None:
    numbers = RNG.choice([0, 3, 70_001, 16_777_215], (20, 31, 1))
    for dtype in ("uint8", "uint16", "int32", "uint32", "float32", "float64"):
        given = source((numbers % 200 if dtype[-2:] in ("t8", "16") else numbers).astype(dtype), 3)
        for scale in (2, 2.5):
            result = enlarged(given, labels=True, scale=scale)
            np.testing.assert_array_equal(result, nearest(given.pixels, result.shape))
    negative = source(np.array([[[-5], [7]]], np.int16))
    assert set(np.unique(enlarged(negative, labels=True))) == {-5, 7}
    with pytest.raises(InputError, match="numbers that float32 cannot hold"):
        enlarged(source(np.array([[[2**24 + 1], [0]]], np.int32)), labels=True)


def test_a_plan_says_what_its_result_preserves() -> None:
    given = source(heights()[:, :, None].astype(np.float32))
    for options, preserves, why in (
        ({}, "bicubic", ""),
        ({"consistent": False}, "nothing", ""),
        ({"consistent": True}, "bicubic", ""),
        ({"scale": 2.5}, "nothing", "reduced again it differs"),
        ({"labels": True}, "nothing", ""),
    ):
        made = plan(given.info, fakes.asking(**options), FakeBackend())
        assert (made.preserves, made.consistent) == (preserves, preserves == "bicubic")
        assert why in made.why
        assert bool(why) == bool(made.why)
    plain = dataclasses.replace(given.info, preserves="nothing")
    assert plan(plain, fakes.asking(), FakeBackend()).preserves == "nothing"


def test_what_fills_a_gap_is_the_mean_of_what_is_near() -> None:
    given = np.arange(5, dtype=np.float32)[None, :, None].repeat(5, 0)
    given[:, 2] = np.nan
    expected = given.copy()
    expected[:, 2] = (0 + 1 + 3 + 4) / 4
    np.testing.assert_allclose(filled(given, (0,), None), expected, rtol=1e-6)
    assert filled(expected, (0,), None) is expected
