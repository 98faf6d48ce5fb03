from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.formats.image.vips import read_rgb8
from upres.raster.resize import bicubic, bicubic_taps, cubic


def noise(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).random(shape)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dataset", ["Set5", "Set14"])
def test_shrinks_as_matlab_did(bench: Path, dataset: str, scale: int) -> None:
    files = sorted((bench / dataset / f"HR_x{scale}").iterdir())
    assert files
    differences = []
    for file in files:
        ours = bicubic(read_rgb8(file), scale=1 / scale)
        matlab = read_rgb8(bench / dataset / f"LR_x{scale}" / file.name)
        difference = np.abs(ours.astype(int) - matlab)
        differences.append(difference.mean())
        # The kernel of the outermost two pixels reaches beyond the picture, where MATLAB's
        # releases differ: the older, which made these files, repeat the last pixel, the
        # newer mirror.
        assert difference[2:-2, 2:-2].max() == 0, file.name
    assert np.mean(differences) <= 0.05


def test_kernel_interpolates() -> None:
    # One at its own sample, zero at every other: enlarging keeps what it can.
    np.testing.assert_allclose(cubic(np.arange(-3.0, 4.0)), [0, 0, 0, 1, 0, 0, 0], atol=1e-15)


def test_taps_of_doubling() -> None:
    # Keys' kernel with a = -0.5 at distances 1.25, 0.25, 0.75 and 1.75, by hand. Output 9
    # lies at (9 + 0.5) / 2 - 0.5 = 4.25 of the input.
    weights, indices = bicubic_taps(10, 20)
    row = dict(zip(indices[9].tolist(), (weights[9] * 128).tolist(), strict=True))
    expected = {3: -9, 4: 111, 5: 29, 6: -3}
    assert {index: weight for index, weight in row.items() if weight} == pytest.approx(expected)


@pytest.mark.parametrize("size", [(24, 30), (48, 15), (7, 5), (1, 1), (13, 40)])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_constant_stays_constant(value: int, size: tuple[int, int]) -> None:
    image = np.full((12, 15, 3), value, np.uint8)
    np.testing.assert_array_equal(bicubic(image, size=size), np.full((*size, 3), value))
    np.testing.assert_allclose(bicubic(image / 1.0, size=size), value, rtol=1e-12)


@pytest.mark.parametrize("size", [(40, 34), (5, 6), (30, 7)])
@pytest.mark.parametrize("flip", [np.flipud, np.fliplr])
def test_commutes_with_flips(flip: Any, size: tuple[int, int]) -> None:
    image = noise(20, 17)
    expected = flip(bicubic(image, size=size))
    np.testing.assert_allclose(bicubic(flip(image), size=size), expected, rtol=0, atol=1e-12)


def test_commutes_with_transposition() -> None:
    image = noise(20, 17)
    expected = bicubic(image, size=(9, 51)).T
    np.testing.assert_allclose(bicubic(image.T, size=(51, 9)), expected, rtol=0, atol=1e-12)


def test_channels_are_apart() -> None:
    image = noise(9, 8, 3)
    result = bicubic(image, scale=2)
    assert result.shape == (18, 16, 3)
    for channel in range(3):
        np.testing.assert_array_equal(result[..., channel], bicubic(image[..., channel], scale=2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_keeps_overshoot(dtype: Any) -> None:
    step = np.zeros((8, 8), dtype)
    step[:, 4:] = 1
    result = bicubic(step, scale=4)
    assert result.dtype == dtype
    assert result.min() < -0.05
    assert result.max() > 1.05


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_rounded_and_clipped(dtype: Any) -> None:
    top = np.iinfo(dtype).max
    step = np.zeros((8, 8), dtype)
    step[:, 4:] = top
    result = bicubic(step, scale=3)
    # Every row is alike, so the pass over rows changes nothing and one rounding remains.
    exact = bicubic(step.astype(np.float64), scale=3)
    assert exact.min() < 0
    assert exact.max() > top
    assert result.dtype == dtype
    np.testing.assert_allclose(result, exact.clip(0, top), rtol=0, atol=0.5 + 1e-3)


def test_halves_are_rounded_up() -> None:
    # Where the means of neighbours end in a half: 0.5 becomes 1 and 2.5 becomes 3, as in
    # MATLAB, while NumPy would round both to even.
    for low in (0, 2):
        image = np.array([[low, low + 1]] * 2, np.uint8)
        assert bicubic(image, size=(2, 1)).tolist() == [[low + 1]] * 2


def test_halves_below_zero_are_rounded_down() -> None:
    assert bicubic(np.array([[-1, 0]] * 2, np.int16), size=(2, 1)).tolist() == [[-1]] * 2


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32])
def test_large_integers_are_computed_in_double(dtype: Any) -> None:
    """As in MATLAB: here by the same, one axis after the other, of doubles."""
    limits = np.iinfo(dtype)
    image = np.random.default_rng(0).integers(limits.min, limits.max, (60, 70), dtype)
    expected = image.astype(np.float64)
    for size in ((60, 47), (41, 47)):
        exact = bicubic(expected, size=size)
        rounded = np.copysign(np.floor(np.abs(exact) + 0.5), exact)
        expected = np.clip(rounded, limits.min, limits.max)
    np.testing.assert_array_equal(bicubic(image, size=(41, 47)), expected)


@pytest.mark.parametrize("dtype", [bool, complex, object, np.int64, np.uint64])
def test_refuses_what_no_picture_is_of(dtype: Any) -> None:
    with pytest.raises(ValueError, match="integers of at most 32 bits or of floats, got"):
        bicubic(np.zeros((4, 4), dtype), scale=2)


def test_sizes_are_rounded_up() -> None:
    assert bicubic(noise(10, 11), scale=1 / 3).shape == (4, 4)
    assert bicubic(noise(10, 12), scale=1 / 3).shape == (4, 4)
    assert bicubic(noise(10, 13), scale=1 / 3).shape == (4, 5)
    assert bicubic(noise(5, 4), scale=1.5).shape == (8, 6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_multiples_of_the_scale_shrink_exactly(scale: int) -> None:
    # 1 / 3 is no binary fraction: the product must not end above the integer.
    for length in [*range(1, 300), 4099, 16384]:
        assert bicubic(np.zeros((1, length * scale)), scale=1 / scale).shape == (1, length)


def test_one_pixel() -> None:
    image = np.array([[[10, 128, 250]]], np.uint8)
    np.testing.assert_array_equal(bicubic(image, scale=4), np.broadcast_to(image, (4, 4, 3)))
    np.testing.assert_array_equal(bicubic(image, scale=1 / 4), image)


@pytest.mark.parametrize("scale", [2, 3, 4, 1 / 2, 1 / 3, 1 / 4])
def test_ramps_stay_ramps(scale: float) -> None:
    image = np.tile(np.arange(48.0), (48, 1))
    result = bicubic(image, scale=scale)
    centres = (np.arange(result.shape[1]) + 0.5) / scale - 0.5
    # Inside means out of reach of the extended borders: two kernel units.
    inside = slice(*np.searchsorted(centres, [2 / min(scale, 1), 47 - 2 / min(scale, 1)]))
    assert len(centres[inside]) >= 6
    np.testing.assert_allclose(result[:, inside], np.tile(centres[inside], (len(result), 1)))


def test_enlarging_reproduces_parabolas() -> None:
    # Keys' paper: with a = -0.5 and no other a the error is of third order. This tells
    # the kernel from OpenCV's, whose a is -0.75.
    result = bicubic(np.tile((np.arange(20.0) - 10) ** 2, (4, 1)), scale=4)
    centres = (np.arange(80) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(result[0, 8:-8], (centres[8:-8] - 10) ** 2, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(), (4,), (0, 4), (4, 0), (4, 4, 0), (1, 4, 4, 3)])
def test_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or three axes"):
        bicubic(np.zeros(shape), scale=2)


def test_refuses_both_or_neither_of_scale_and_size() -> None:
    with pytest.raises(ValueError, match="either scale or size"):
        bicubic(noise(4, 4))
    with pytest.raises(ValueError, match="either scale or size"):
        bicubic(noise(4, 4), scale=2, size=(8, 8))


@pytest.mark.parametrize("lengths", [(0, 4), (4, 0), (4, -1)])
def test_refuses_empty_axes(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bicubic_taps(*lengths)
