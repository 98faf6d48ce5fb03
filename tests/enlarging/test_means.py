"""Means that are kept, by NumPy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
from fakes import FakeBackend, fake_model
from upres.enlarging import pipeline
from upres.enlarging.means import shared_out, with_means
from upres.enlarging.options import Options
from upres.enlarging.plan import plan
from upres.errors import InputError
from upres.raster.arrays import ArraySink
from upres.raster.info import Band, RasterInfo

RNG = np.random.default_rng(11)
LIMITS = (0.0, 100.0)


def means(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    height, width = plane.shape
    return np.asarray(plane.reshape(height // scale, scale, width // scale, scale).mean((1, 3)))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("whole", [False, True])
def test_means_are_kept_within_limits(scale: int, whole: bool) -> None:
    given = RNG.integers(0, 101, (9, 7)).astype(float)
    plane = given.repeat(scale, 0).repeat(scale, 1) + RNG.normal(0, 30, (9 * scale, 7 * scale))
    made = with_means(plane, given, scale, LIMITS, whole=whole)
    np.testing.assert_allclose(means(made, scale), given, rtol=0, atol=1e-9)
    assert 0 <= made.min() <= made.max() <= 100
    if whole:
        assert (made == np.rint(made)).all()


def test_it_is_the_nearest_where_nothing_meets_a_limit() -> None:
    given = RNG.uniform(40, 60, (6, 5))
    plane = given.repeat(2, 0).repeat(2, 1) + RNG.normal(0, 5, (12, 10))
    made = with_means(plane, given, 2, LIMITS, whole=False)
    down, across = (np.kron(np.eye(length), np.full(2, 0.5)) for length in given.shape)
    both = np.kron(down, across)
    step, *_ = np.linalg.lstsq(both, given.ravel() - both @ plane.ravel(), rcond=None)
    np.testing.assert_allclose(made, plane + step.reshape(plane.shape), rtol=0, atol=1e-9)


def test_rounding_moves_no_sample_by_one_or_more() -> None:
    given = RNG.integers(0, 101, (20, 30)).astype(float)
    plane = given.repeat(3, 0).repeat(3, 1) + RNG.normal(0, 20, (60, 90))
    exact = with_means(plane, given, 3, LIMITS, whole=False)
    made = with_means(plane, given, 3, LIMITS, whole=True)
    assert np.abs(made - exact).max() < 1


def test_missing_samples_stay_missing_and_change_no_other() -> None:
    given = RNG.uniform(40, 60, (6, 5))
    plane = given.repeat(2, 0).repeat(2, 1) + RNG.normal(0, 5, (12, 10))
    expected = with_means(plane, given, 2, LIMITS, whole=False)
    given[2, 3] = np.nan
    made = with_means(plane, given, 2, LIMITS, whole=False)
    gone = np.isnan(given).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(np.isnan(made), gone)
    np.testing.assert_array_equal(made[~gone], expected[~gone])


def test_a_mean_at_a_limit_leaves_nothing_to_share() -> None:
    made = shared_out(np.array([[3.0, 99, 50, 70]]), np.array([100.0]), LIMITS)
    np.testing.assert_array_equal(made, [[100, 100, 100, 100]])


class OfMeans:
    """An array as a source whose result keeps the means."""

    carried = None

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels = pixels[:, :, None]
        limits = np.iinfo(pixels.dtype)
        band = Band("other", float(limits.min), float(limits.max), unbounded=True)
        self.info = RasterInfo(*pixels.shape, (band,), pixels.dtype, preserves="mean")

    def frames(self, beside: Path) -> Any:
        yield iter([self.pixels])


def enlarged(pixels: NDArray[Any], backend: FakeBackend | None = None, **asked: Any) -> Any:
    source = OfMeans(pixels)
    backend = backend or FakeBackend(ripple=0.1)
    planned = plan(source.info, fakes.asking(**asked), backend)
    with ArraySink(flat=True) as sink:
        pipeline.enlarge_into(source, planned, sink, beside=Path("/tmp/array"), backend=backend)
        sink.commit()
        return sink.result


@pytest.mark.parametrize("scale", [2, 4, 5, 6])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_one_model_after_another_keeps_them_too(scale: int, dtype: Any) -> None:
    limits = np.iinfo(dtype)
    given = RNG.integers(limits.min, limits.max, (31, 26), dtype, endpoint=True)
    made = enlarged(given, model=fake_model(scale=2, halo=2), scale=scale)
    np.testing.assert_array_equal(means(made, scale), given)


@pytest.mark.parametrize("pixels", [200, 700])
def test_windows_do_not_show(pixels: int) -> None:
    given = RNG.integers(0, 3000, (31, 26), np.int16)
    asked = {"model": fake_model(scale=3, halo=2)}
    whole = enlarged(given, **asked)
    np.testing.assert_array_equal(enlarged(given, FakeBackend(pixels, ripple=0.1), **asked), whole)


def test_the_request_may_do_without() -> None:
    given = RNG.integers(0, 3000, (31, 26), np.int16)
    source = OfMeans(given)
    kept, free = (
        plan(source.info, fakes.asking(consistent=asked), FakeBackend()).preserves
        for asked in (None, False)
    )
    assert (kept, free) == ("mean", "nothing")
    assert (means(enlarged(given, consistent=False), 2) != given).any()
    assert (enlarged(given) != given.repeat(2, 0).repeat(2, 1)).any()
    with pytest.raises(InputError, match="whole number"):
        enlarged(given, scale=1.5)
    assert enlarged(given, scale=1.5, consistent=False).shape == (47, 39)
    assert Options().consistent is None


@pytest.mark.parametrize("nodata", [0.0, 3.0, 7.0])
@pytest.mark.parametrize("scale", [2, 3])
def test_none_becomes_the_value_of_no_data(scale: int, nodata: float) -> None:
    random = np.random.default_rng(8)
    given = random.integers(0, 8, (50, 40)).astype(float)
    given[given == nodata] = 4
    plane = random.normal(3, 3, (50 * scale, 40 * scale))
    made = with_means(plane, given, scale, (0, 7), whole=True, nodata=nodata)
    assert (made != nodata).all()
    assert ((made >= 0) & (made <= 7) & (made == np.rint(made))).all()
    parts = made.reshape(50, scale, 40, scale)
    np.testing.assert_allclose(parts.mean((1, 3)), given, atol=1e-12)
