"""Bounds on an enlarged window: no colour where there was none, inks and alpha in their range."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.enlarging.planes import (
    NEUTRAL_RADIUS,
    NEUTRAL_RANGE,
    RANGE_RADIUS,
    keep_in_place,
    keep_in_range,
    keep_neutral,
)
from upres.raster.pixels import luma

Planes = NDArray[np.float32]

# Neutral pixels


def coloured(colour: Planes) -> Planes:
    """What a network makes that gives everything a colour, twice as large."""
    tint = np.array([0.1, -0.02, -0.05], np.float32).reshape(3, 1, 1)
    return (colour + tint).repeat(2, 1).repeat(2, 2)


def saturation(planes: Planes) -> Planes:
    return np.ptp(planes, axis=0)


def test_what_is_neutral_stays_so_and_luma_is_the_networks() -> None:
    grey = np.random.default_rng(1).random((1, 20, 30), np.float32).repeat(3, 0)
    made = coloured(grey)
    result = keep_neutral(made.copy(), grey)
    assert saturation(result).max() < 1e-6
    np.testing.assert_allclose(luma(result), luma(made), atol=1e-6)


def test_colour_lets_those_around_it_have_colour_so_far_and_no_further() -> None:
    colour = np.full((3, 11, 11), 0.5, np.float32)
    colour[0, 5, 5] = 0.9
    made = coloured(colour)
    result = keep_neutral(made.copy(), colour)
    near = np.s_[2 * (5 - NEUTRAL_RADIUS) : 2 * (6 + NEUTRAL_RADIUS)]
    np.testing.assert_allclose(result[:, near, near], made[:, near, near], atol=1e-6)
    rest = np.ones((22, 22), bool)
    rest[near, near] = False
    assert saturation(result)[rest].max() < 1e-6


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75, 1, 2])
def test_a_faint_colour_is_in_part_its_own(part: float) -> None:
    colour = np.full((3, 6, 6), 0.5, np.float32)
    colour[2] += np.float32(part * NEUTRAL_RANGE)
    made = coloured(colour)
    weight = min(1, part)
    own = (colour - luma(colour)).repeat(2, 1).repeat(2, 2)
    expected = luma(made) + weight * (made - luma(made)) + (1 - weight) * own
    np.testing.assert_allclose(keep_neutral(made.copy(), colour), expected, atol=2e-6)


def test_large_windows_are_done_in_blocks_to_the_same_result() -> None:
    # Rows of 2400 pixels: few of them fit into a processor's cache.
    colour = np.full((3, 30, 1200), 0.5, np.float32)
    colour[1] += np.random.default_rng(1).random((30, 1200), np.float32) * np.float32(0.02)
    wide = keep_neutral(coloured(colour), colour)
    for left in (0, 600, 1100):
        start = max(0, left - 2)
        part = np.ascontiguousarray(colour[:, :, start : left + 100])
        narrow = keep_neutral(coloured(part), part)
        kept = 2 * (left - start)
        np.testing.assert_allclose(
            wide[:, :, 2 * left : 2 * left + 190], narrow[:, :, kept : kept + 190], atol=1e-6
        )


# Inks


def test_an_ink_stays_within_what_is_beside_it() -> None:
    plane = np.full((7, 7), 0.4, np.float32)
    plane[3, 3] = 0.9
    result = keep_in_range(np.full((14, 14), 0.7, np.float32), plane)
    near = np.s_[2 * (3 - RANGE_RADIUS) : 2 * (4 + RANGE_RADIUS)]
    expected = np.full((14, 14), 0.4, np.float32)
    expected[near, near] = 0.7
    np.testing.assert_array_equal(result, expected)
    low = keep_in_range(np.zeros((14, 14), np.float32), plane)
    np.testing.assert_array_equal(low, np.full((14, 14), 0.4, np.float32))


# Alpha


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        # Enlarged twofold, each sample lies beside one neighbour; threefold, one has none there.
        (2, [0.2, 0.2, 0.2, 0.9, 0.9, 0.9]),
        (3, [0.2, 0.2, 0.2, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9]),
    ],
)
def test_alpha_reaches_half_of_a_pixel_at_most(scale: int, expected: list[float]) -> None:
    row = np.array([[0.2, 0.2, 0.9]], np.float32)
    for plane in (row, np.ascontiguousarray(row.T)):
        shape = (plane.shape[0] * scale, plane.shape[1] * scale)
        highest = keep_in_place(np.ones(shape, np.float32), plane)
        long = highest[0] if plane is row else highest[:, 0]
        np.testing.assert_array_equal(long, np.float32(expected))
        assert (highest == (long if plane is row else long[:, None])).all()
        lowest = keep_in_place(np.zeros(shape, np.float32), plane)
        # From below it is the same, the other way round.
        turned = keep_in_place(np.ones(shape, np.float32), 1 - plane)
        np.testing.assert_allclose(1 - lowest, turned, atol=1e-6)
