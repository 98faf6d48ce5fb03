"""A flat colour stays flat, up to the picture's border, where a network sees nothing outside."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import fakes
import upres
from upres.enlarging.api import enlarge_array
from upres.enlarging.options import Options
from upres.raster.arrays import ArraySource

Array = NDArray[Any]

COLOURS = [
    *((255, 255, 0), (0, 0, 255), (255, 0, 0), (255, 0, 255), (0, 255, 0), (0, 255, 255)),
    *((255, 255, 255), (0, 0, 0), (200, 30, 90), (128, 128, 128), (1, 2, 3)),
]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("scale", [2, 3, 4, 2.5, 8])
def test_flat_colours_stay_flat(scale: float, precision: Any) -> None:
    for colour in COLOURS:
        flat = np.full((40, 48, 3), colour, np.uint8)
        result = upres.enlarge(flat, scale=scale, precision=precision).astype(int)
        assert np.abs(result - colour).max() <= 2, colour


@pytest.mark.parametrize("model", ["fast", "photo", "best"])
def test_flat_colours_stay_flat_by_every_model(model: str) -> None:
    flat = np.full((40, 48, 3), (255, 255, 0), np.uint8)
    result = upres.enlarge(flat, scale=2, model=model).astype(int)
    assert np.abs(result - (255, 255, 0)).max() <= 2


@pytest.mark.parametrize(
    "bands", [["grey"], ["other"], ["grey", "alpha"], ["blue", "green", "red"]]
)
def test_flat_bands_of_all_kinds_stay_flat(bands: Any) -> None:
    flat = np.full((40, 48, len(bands)), [250, 255, 3][: len(bands)], np.uint8)
    result = upres.enlarge(flat, scale=4, bands=bands).astype(int)
    assert np.abs(result - flat[0, 0]).max() <= 2


def test_a_flat_that_is_not_quite_gets_no_frame() -> None:
    noise = np.random.default_rng(3).integers(-1, 2, (40, 48, 3))
    picture = np.clip(np.array([254, 254, 1]) + noise, 0, 255).astype(np.uint8)
    result = upres.enlarge(picture, scale=4).astype(int)
    assert np.abs(result - (254, 254, 1)).max() <= 4


def test_two_flats_meet_at_the_border() -> None:
    picture = np.full((40, 48, 3), (255, 255, 0), np.uint8)
    picture[:, 24:] = (0, 0, 255)
    result = upres.enlarge(picture, scale=4).astype(int)
    assert np.abs(result[:, : 21 * 4] - (255, 255, 0)).max() <= 2
    assert np.abs(result[:, 27 * 4 :] - (0, 0, 255)).max() <= 2
    # The edge itself is alike at the border and in the middle.
    assert np.abs(result[1, 84:108] - result[80, 84:108]).mean() < 12


@pytest.mark.parametrize("halo", [0, 1, 3])
@pytest.mark.parametrize("size", [(45, 61), (7, 90), (1, 1), (30, 1)])
def test_windows_change_nothing(halo: int, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    picture[size[0] // 3 :, size[1] // 2 :] = (255, 255, 0)
    results = [
        enlarge_array(
            ArraySource(picture),
            Options(model=fakes.fake_model(halo=halo)),
            backend=fakes.FakeBackend(window_pixels=pixels),
        )
        for pixels in (100, 2**20)
    ]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_outermost_pixels_are_no_worse_for_it(bench: Any, scale: int) -> None:
    """By PSNR over RGB of the two outermost pixels of Set5, what it was without."""
    before = {2: 34.793, 4: 28.578}[scale]
    ratios = []
    whole = bench / "Set5" / f"HR_x{scale}"
    for path in sorted((bench / "Set5" / f"LR_x{scale}").iterdir()):
        small = np.asarray(PIL.Image.open(path).convert("RGB"))
        large = np.asarray(PIL.Image.open(whole / path.name).convert("RGB"))
        result = upres.enlarge(small, scale=scale, precision="int8").astype(float)
        frame = np.ones(result.shape[:2], bool)
        frame[2:-2, 2:-2] = False
        error = (result - large[: len(result), : result.shape[1]]) ** 2
        ratios.append(10 * np.log10(255**2 / error[frame].mean()))
    assert np.mean(ratios) > before - 0.001
