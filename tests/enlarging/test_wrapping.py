"""Tiles, whose opposite edges continue each other."""

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


def tile(height: int = 48, width: int = 60, channels: int = 3) -> Array:
    """A texture that goes on beyond its edges, with edges of its own."""
    y, x = np.mgrid[:height, :width]
    turns = 2 * np.pi
    waves = [
        np.sin(turns * (2 * x / width + band * y / height)) * np.cos(turns * 3 * y / height)
        for band in range(1, channels + 1)
    ]
    picture = 127 + 90 * np.stack(waves, 2)
    picture[(x // 5 + y // 6) % 4 == 0] += 30
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("scale", "shift"), [(2, (24, 30)), (4, (7, 59)), (3, (1, 1)), (2.5, (8, 4))]
)
def test_a_shifted_tile_becomes_the_same_shifted(
    scale: float, shift: tuple[int, int], precision: Any
) -> None:
    picture = tile()
    result = upres.enlarge(picture, scale=scale, wrap=True, precision=precision)
    moved = np.roll(picture, shift, (0, 1))
    back = upres.enlarge(moved, scale=scale, wrap=True, precision=precision)
    back = np.roll(back, [-int(side * scale) for side in shift], (0, 1))
    difference = np.abs(result.astype(int) - back)
    # The same numbers at other places in a window may be rounded otherwise.
    assert difference.max() <= (1 if precision == "fp32" else 6)
    assert difference.mean() < (0.01 if precision == "fp32" else 0.4)


@pytest.mark.parametrize("scale", [2, 4, 2.5, 8])
def test_the_seam_is_like_the_interior(scale: float) -> None:
    picture = tile()
    middle = upres.enlarge(np.tile(picture, (3, 3, 1)), scale=scale, precision="fp32")
    height, width = len(middle) // 3, middle.shape[1] // 3
    expected = middle[height : 2 * height, width : 2 * width].astype(int)
    wrapped = upres.enlarge(picture, scale=scale, wrap=True, precision="fp32")
    assert np.abs(wrapped - expected).max() <= 1
    apart = upres.enlarge(picture, scale=scale, precision="fp32")
    assert np.abs(apart - expected).max() > 8, "else this sees nothing"


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 5)])
def test_a_tile_may_be_smaller_than_what_a_network_sees(size: tuple[int, int]) -> None:
    picture = tile(*size)
    result = upres.enlarge(picture, scale=2, wrap=True)
    assert result.shape == (2 * size[0], 2 * size[1], 3)


@pytest.mark.parametrize("asked", [{"scale": 2}, {"width": 101}, {"scale": 1.3}])
def test_windows_change_nothing(asked: dict[str, Any]) -> None:
    results = [
        enlarge_array(
            ArraySource(tile(channels=2)),
            Options(model=fakes.fake_model(halo=3), wrap=True, **asked),
            backend=fakes.FakeBackend(window_pixels=pixels),
        )
        for pixels in (900, 2**20)
    ]
    np.testing.assert_allclose(*[each.astype(int) for each in results], rtol=0, atol=1)


def agreement_of_floor(result: Array, picture: Array) -> float:
    """In dB, of a tile in the middle of a floor of such tiles, reduced again."""
    floor = np.clip(bicubic(np.tile(result / 255, (3, 3, 1)), size=(48 * 3, 60 * 3)), 0, 1)
    difference = floor[48:96, 60:120] - picture / 255
    return float(-10 * np.log10(np.square(difference).mean()))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_tile_agrees_with_its_input_on_the_floor(scale: int, tmp_path: Path) -> None:
    picture = tile()
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    told, found, results = {}, {}, {}
    for consistent in (False, True):
        done = upres.enlarge_file(
            *(tmp_path / "a.png", tmp_path / f"{consistent}.png"),
            **{"scale": scale, "wrap": True, "check": True, "consistent": consistent},
            precision="fp32",
        )
        assert done.agreement is not None
        results[consistent] = np.asarray(PIL.Image.open(tmp_path / f"{consistent}.png"))
        told[consistent] = done.agreement.decibels
        found[consistent] = agreement_of_floor(results[consistent], picture)
    assert told == pytest.approx(found, abs=0.02)
    assert found[True] > max(60, found[False] + 5)
    moved = np.roll(picture, (7, 59), (0, 1))
    options: Any = {"scale": scale, "wrap": True, "precision": "fp32", "consistent": True}
    back = np.roll(upres.enlarge(moved, **options), (-7 * scale, -59 * scale), (0, 1))
    assert np.abs(back.astype(int) - results[True]).max() <= 1


@pytest.mark.parametrize("asked", [{"scale": 2.5}, {"width": 101}])
def test_any_tile_s_agreement_is_told(asked: dict[str, Any], tmp_path: Path) -> None:
    PIL.Image.fromarray(tile()).save(tmp_path / "a.png")
    done = upres.enlarge_file(
        tmp_path / "a.png", tmp_path / "b.png", wrap=True, check=True, **asked
    )
    assert done.agreement is not None
    assert done.agreement.samples == 48 * 60 * 3
    expected = agreement_of_floor(np.asarray(PIL.Image.open(tmp_path / "b.png")), tile())
    # A height of other proportions moves the tiles of a floor by parts of a pixel.
    assert done.agreement.decibels == pytest.approx(expected, abs=0.02 if "scale" in asked else 3)


@pytest.mark.parametrize("window_pixels", [900, 2**20])
@pytest.mark.parametrize("size", [(1, 1), (5, 60), (48, 60)])
def test_windows_agree_alike(size: tuple[int, int], window_pixels: int) -> None:
    options: Any = {"model": fakes.fake_model(halo=3), "wrap": True, "consistent": True, "scale": 2}
    picture = tile(*size).astype(np.float32) / 510 + np.float32(0.25)  # nothing is clipped
    result = enlarge_array(
        ArraySource(picture),
        Options(**options),
        backend=fakes.FakeBackend(window_pixels=window_pixels),
    )
    floor = bicubic(np.tile(result, (3, 3, 1)), size=(size[0] * 3, size[1] * 3))
    inner = np.s_[size[0] : 2 * size[0], size[1] : 2 * size[1]]
    np.testing.assert_allclose(np.clip(floor[inner], 0, 1), picture, rtol=0, atol=1e-5)


def test_files_of_all_kinds_wrap(tmp_path: Path) -> None:
    picture = np.dstack([tile(), tile(channels=1)])
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.roll(picture, (11, 21), (0, 1))).save(tmp_path / "b.png")
    results = []
    for name in "ab":
        target = tmp_path / f"{name}_x2.png"
        upres.enlarge_file(tmp_path / f"{name}.png", target, scale=2, wrap=True, precision="fp32")
        results.append(np.asarray(PIL.Image.open(target)).astype(int))
    difference = np.abs(results[0] - np.roll(results[1], (-22, -42), (0, 1)))
    assert difference[:, :, 3].max() <= 1
    assert difference[results[0][:, :, 3] > 0].max() <= 1
