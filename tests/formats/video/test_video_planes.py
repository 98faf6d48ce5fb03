"""Planes to colours and back, against the standards' own formulas in double precision."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.formats.video.colours import LUMA_WEIGHTS, RGB, SITINGS
from upres.formats.video.planes import YCGCO, Coding, to_colours, to_planes

SHAPES = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 4)]


def levels(coding: Coding) -> tuple[float, float, float, float]:
    """Black, white less black, no colour, and all of chroma (H.273, 8.3)."""
    unit = 2.0 ** (coding.bits - 8)
    if coding.full:
        return 0, 2**coding.bits - 1, 2.0 ** (coding.bits - 1), 2**coding.bits - 1
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def expected(rgb: NDArray[np.float64], coding: Coding) -> NDArray[np.float64]:
    """Y, Cb and Cr of colours by H.273, equations 38 to 40 and 29 to 31, not rounded."""
    black, white, none, all_of_it = levels(coding)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    if coding.matrix == YCGCO:
        y = 0.5 * green + 0.25 * (red + blue)
        first, second = 0.5 * green - 0.25 * (red + blue), 0.5 * (red - blue)
    else:
        kr, kb = LUMA_WEIGHTS[coding.matrix]
        y = kr * red + (1 - kr - kb) * green + kb * blue
        first, second = 0.5 * (blue - y) / (1 - kb), 0.5 * (red - y) / (1 - kr)
    return np.stack([black + white * y, none + all_of_it * first, none + all_of_it * second])


PATCHES = np.array(list(itertools.product((0, 0.13, 0.5, 0.77, 1), repeat=3)))


@pytest.mark.parametrize("matrix", [*LUMA_WEIGHTS, YCGCO])
@pytest.mark.parametrize(("bits", "full"), [(8, False), (8, True), (10, False), (12, True)])
def test_a_patch_becomes_the_nearest_samples(matrix: int, bits: int, full: bool) -> None:
    coding = Coding(bits, matrix, full)
    planes = to_planes(PATCHES[None].astype(np.float32), coding)
    assert all(plane.dtype == coding.dtype for plane in planes)
    exact = expected(PATCHES[None], coding)
    most = 2**bits - 1  # of chroma in full range, the highest is half a level more
    np.testing.assert_allclose(np.stack(planes), np.clip(exact, 0, most), rtol=0, atol=0.5 + 1e-3)
    # And back: as near as rounding leaves it. A level of chroma counts up to 1.9 times.
    back = to_colours(planes, coding)
    np.testing.assert_allclose(back[0], PATCHES, rtol=0, atol=1.5 / levels(coding)[1])


@pytest.mark.parametrize(("across", "down"), SHAPES)
@pytest.mark.parametrize("siting", SITINGS)
def test_patches_stay_whatever_the_chroma(across: int, down: int, siting: str) -> None:
    for colour in ((0.2, 0.4, 0.9), (1, 0, 0), (0, 1, 1)):
        coding = Coding(8, 6, False, across, down, siting)
        picture = np.broadcast_to(np.float32(colour), (13, 19, 3))
        planes = to_planes(picture, coding)
        assert planes[1].shape == (-(-13 // down), -(-19 // across))
        exact = expected(np.array(colour), coding)
        for plane, value in zip(planes, exact, strict=True):
            assert np.abs(plane - value).max() <= 0.501
        assert np.abs(to_colours(planes, coding) - picture).max() < 1.5 / 219


@pytest.mark.parametrize(("across", "down"), SHAPES)
@pytest.mark.parametrize("siting", SITINGS)
def test_chroma_lies_where_its_siting_says(across: int, down: int, siting: str) -> None:
    # On a slope of colour, a sample of chroma tells where it was taken, and a pixel gets that of
    # its own place.
    coding = Coding(16, 1, True, across, down, siting)
    height, width = 8 * down, 8 * across
    y, x = np.mgrid[:height, :width].astype(np.float32)
    slope = 0.2 + 0.5 * x / width + 0.1 * y / height
    picture = np.stack([slope, slope * 0 + 0.4, 0.9 - slope], axis=2).astype(np.float32)
    right, below = SITINGS[siting]
    rows = np.arange(8) * down + below * (down - 1)
    columns = np.arange(8) * across + right * (across - 1)
    place_y, place_x = np.meshgrid(rows, columns, indexing="ij")
    there = 0.2 + 0.5 * place_x / width + 0.1 * place_y / height
    exact = expected(np.stack([there, there * 0 + 0.4, 0.9 - there], axis=2), coding)
    planes = to_planes(picture, coding)
    inner = (slice(1, -1), slice(1, -1))
    for plane, value in zip(planes[1:], exact[1:], strict=True):
        np.testing.assert_allclose(plane[inner], value[inner], rtol=0, atol=1)
    edge = (slice(3 * down, -3 * down), slice(3 * across, -3 * across))
    assert np.abs(to_colours(planes, coding) - picture)[edge].max() < 1e-4


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_green_blue_and_red_are_exact(bits: int) -> None:
    coding = Coding(bits, RGB, True)
    samples = np.random.default_rng(0).integers(0, 2**bits, (3, 9, 11)).astype(coding.dtype)
    back = to_planes(to_colours(list(samples), coding), coding)
    np.testing.assert_array_equal(np.stack(back), samples)
    green, blue, red = samples / (2**bits - 1)
    np.testing.assert_allclose(to_colours(list(samples), coding)[:, :, 0], red, atol=1e-6)
    np.testing.assert_allclose(to_colours(list(samples), coding)[:, :, 1], green, atol=1e-6)
    np.testing.assert_allclose(to_colours(list(samples), coding)[:, :, 2], blue, atol=1e-6)


@pytest.mark.parametrize(("bits", "full"), [(8, False), (10, False), (8, True)])
def test_grey_is_exact_within_its_range(bits: int, full: bool) -> None:
    coding = Coding(bits, 1, full, grey=True)
    low, high = coding.luma_range
    samples: NDArray[Any] = np.arange(low, high + 1).astype(coding.dtype)[None]
    values = to_colours([samples], coding)
    assert values.shape == (*samples.shape, 1)
    assert (values.min(), values.max()) == (0, 1)
    np.testing.assert_array_equal(to_planes(values, coding)[0], samples)


def test_beyond_black_and_white_is_clipped() -> None:
    coding = Coding(8, 6, False)
    planes = [np.array([[1, 254]], np.uint8), *[np.full((1, 2), 128, np.uint8)] * 2]
    np.testing.assert_array_equal(to_colours(planes, coding)[0], [[0, 0, 0], [1, 1, 1]])
