"""Alpha stays where it is, and so do the colours that a picture hides."""

from __future__ import annotations

from pathlib import Path
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
from upres.raster.resize import bicubic

Array = NDArray[Any]


def shapes(kind: str) -> Array:
    """A mask of 0 and 1, 48 x 56."""
    y, x = np.mgrid[:48, :56]
    masks = {
        "disc": (y - 23) ** 2 + (x - 30) ** 2 < 15**2,
        "square": (abs(y - 20) < 9) & (abs(x - 20) < 9),
        "points": (y % 12 == 5) & (x % 12 == 5),
        "lines": (x + 2 * y) % 17 < 2,
        "hole": (y - 23) ** 2 + (x - 30) ** 2 >= 12**2,
        "border": (y < 3) | (x >= 50),
    }
    return masks[kind].astype(np.uint8)


def sprite(kind: str, dtype: Any = np.uint8) -> Array:
    y, x = np.mgrid[:48, :56]
    colour = np.stack([(x * 5) % 256, (y * 5) % 256, (x * y) % 256], 2)
    picture = np.dstack([colour, 255 * shapes(kind)]).astype(np.uint16)
    return (picture * (257 if dtype == np.uint16 else 1)).astype(dtype)


def grown(mask: Array, by: int) -> Array:
    """A mask and all that lies at most so far from it, by steps (city blocks)."""
    result = mask.astype(bool)
    for _ in range(by):
        padded = np.pad(result, 1)
        sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
        result = np.logical_or.reduce([result, *sides])
    return result


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["disc", "square", "points", "lines", "hole", "border"])
def test_a_mask_s_edge_stays_within_two_pixels(kind: str, scale: int, precision: Any) -> None:
    alpha = upres.enlarge(sprite(kind), scale=scale, precision=precision)[:, :, 3]
    mask = shapes(kind).repeat(scale, 0).repeat(scale, 1)
    assert alpha[~grown(mask, 2)].max(initial=0) == 0
    assert alpha[~grown(1 - mask, 2)].min(initial=255) == 255
    # Half of a pixel's cover is where the edge is; single points become the roundest.
    assert np.abs((alpha > 127).mean() - mask.mean()) < 0.4 * mask.mean()


@pytest.mark.parametrize("scale", [2.5, 3.7])
def test_a_mask_s_edge_stays_where_a_result_is_reduced(scale: float) -> None:
    alpha = upres.enlarge(sprite("disc"), scale=scale)[:, :, 3]
    mask = np.asarray(PIL.Image.fromarray(shapes("disc")).resize(alpha.shape[::-1], 0))
    assert alpha[~grown(mask, 4)].max(initial=0) == 0
    assert alpha[~grown(1 - mask, 4)].min(initial=255) == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 4, 2.5, 8])
@pytest.mark.parametrize("kind", ["disc", "square", "hole"])
def test_hidden_colour_is_kept(kind: str, scale: float, dtype: Any) -> None:
    picture = sprite(kind, dtype)
    y, x = np.mgrid[:48, :56]
    waves = 0.5 + 0.4 * np.sin(np.stack([x / 5, y / 6, (x + y) / 7], 2))
    whole = np.iinfo(dtype).max
    picture[:, :, :3] = waves * whole
    result = upres.enlarge(picture, scale=scale)
    expected = bicubic(picture[:, :, :3], size=result.shape[:2]).astype(float)
    hidden = result[:, :, 3] == 0
    if scale > 4:  # beside the edge, the second model saw the first one's colours
        hidden &= ~grown(shapes(kind).repeat(8, 0).repeat(8, 1), 12)
    assert hidden.any()
    error = np.abs(result[:, :, :3][hidden] - expected[hidden]) / whole
    assert error.max() < 0.03


def test_black_under_nothing_stays_black_and_leaves_no_fringe() -> None:
    picture = sprite("disc")
    picture[:, :, :3] = np.where(shapes("disc")[:, :, None], (200, 60, 60), 0)
    result = upres.enlarge(picture, scale=4)
    far = ~grown(shapes("disc").repeat(4, 0).repeat(4, 1), 12)
    assert result[far].max() == 0
    shown = result[:, :, 3] > 0
    on_white, cover = result.astype(float), result[:, :, 3:].astype(float) / 255
    # Over any ground it is as the colour alone would be, by the cover.
    for ground in (0, 255):
        composed = on_white[:, :, :3] * cover + ground * (1 - cover)
        ideal = np.array([200, 60, 60]) * cover + ground * (1 - cover)
        assert np.abs(composed - ideal)[shown].max() <= 12


@pytest.mark.parametrize("channels", ["rgba", "la"])
@pytest.mark.parametrize("scale", [2, 1.5, 4])
def test_windows_change_nothing(channels: str, scale: float) -> None:
    picture = sprite("lines") if channels == "rgba" else sprite("lines")[:, :, 2:]
    results = [
        enlarge_array(
            ArraySource(picture),
            Options(model=fakes.fake_model(halo=1), scale=scale),
            backend=fakes.FakeBackend(window_pixels=pixels),
        )
        for pixels in (100, 2**20)
    ]
    # A sum that is rounded otherwise may be a level off.
    np.testing.assert_allclose(*[each.astype(int) for each in results], rtol=0, atol=1)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_cover_that_is_alike_all_over_stays_so(value: int) -> None:
    picture = sprite("disc")
    picture[:, :, 3] = value
    result = upres.enlarge(picture, scale=2)
    assert set(np.unique(result[:, :, 3])) == {value}


def test_the_files_that_were_reported(tmp_path: Path, shared_data: Path) -> None:
    for name in ("sprite.png", "gloss.png"):
        small = np.asarray(PIL.Image.open(shared_data / "inputs" / "faults" / name))
        upres.enlarge_file(shared_data / "inputs" / "faults" / name, tmp_path / name, scale=2)
        result = np.asarray(PIL.Image.open(tmp_path / name))
        mask = small[:, :, 3].repeat(2, 0).repeat(2, 1) > 0
        assert result[:, :, 3][~grown(mask, 2)].max() == 0
        hidden = result[:, :, 3] == 0
        # In floats, as of integers each of the two passes would be rounded and clipped.
        expected = np.clip(bicubic(small[:, :, :3].astype(float), scale=2), 0, 255)
        assert np.abs(result[:, :, :3][hidden] - expected[hidden]).max() <= 2
