"""Pixel art, whose colours are to stay as they are."""

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

Array = NDArray[Any]


def art(channels: int, dtype: Any = np.uint8) -> Array:
    """A few colours in shapes of few pixels; of alpha, nothing or all."""
    generator = np.random.default_rng(5)
    colours = generator.integers(0, np.iinfo(dtype).max, (6, channels), endpoint=True).astype(dtype)
    if channels in (2, 4):
        colours[:, -1] = [0, *[np.iinfo(dtype).max] * 5]
    y, x = np.mgrid[:32, :40]
    shapes = ((x // 10) * 3 + (y // 8) * 5) % 6
    shapes[(x - 20) ** 2 + (y - 16) ** 2 < 100] = 0
    shapes[abs(2 * x - 3 * y + 5) < 6] = 5
    result: Array = colours[shapes]
    return result


def colours_of(picture: Array) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, picture.shape[-1]).tolist()}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 3, 4, 2.5, 8])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_there_are_no_colours_but_the_picture_s(channels: int, scale: float, dtype: Any) -> None:
    picture = art(channels, dtype)
    result = upres.enlarge(picture, scale=scale, palette="keep")
    assert colours_of(result) <= colours_of(picture)
    assert len(colours_of(result)) == len(colours_of(picture))
    if scale in (2, 4):  # most pixels are those that were there
        repeated = picture.repeat(int(scale), 0).repeat(int(scale), 1)
        assert (result != repeated).any(2).mean() < 0.05


def test_hard_alpha_stays_hard_and_in_its_place(tmp_path: Path) -> None:
    picture = art(4)
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    upres.enlarge_file(tmp_path / "a.png", tmp_path / "b.png", scale=4, palette="keep")
    result = np.asarray(PIL.Image.open(tmp_path / "b.png"))
    assert set(np.unique(result[:, :, 3])) == {0, 255}
    assert colours_of(result) <= colours_of(picture)
    cover = picture[:, :, 3].mean()
    assert abs(result[:, :, 3].mean() - cover) < 0.05 * cover


def test_palettes_of_files_are_kept(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(art(3)).quantize(6)
    for suffix in ("png", "gif", "bmp"):
        image.save(tmp_path / f"a.{suffix}")
        upres.enlarge_file(
            tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", scale=2, palette="keep"
        )
        with PIL.Image.open(tmp_path / f"b.{suffix}") as file:
            result = np.asarray(file.convert("RGB"))
        assert colours_of(result) == colours_of(np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_a_format_that_changes_colours_is_refused(tmp_path: Path, suffix: str) -> None:
    PIL.Image.fromarray(art(3)).save(tmp_path / "a.png")
    with pytest.raises(upres.OutputError, match="changes colours, which are to be kept: choose"):
        upres.enlarge_file(tmp_path / "a.png", tmp_path / f"b.{suffix}", palette="keep")
    assert not (tmp_path / f"b.{suffix}").exists()


@pytest.mark.parametrize("halo", [0, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_windows_change_nothing(channels: int, halo: int) -> None:
    results = [
        enlarge_array(
            ArraySource(art(channels)),
            Options(model=fakes.fake_model(halo=halo), palette="keep", scale=1.5),
            backend=fakes.FakeBackend(window_pixels=pixels),
        )
        for pixels in (100, 2**20)
    ]
    np.testing.assert_array_equal(*results)


def test_another_word_is_refused() -> None:
    wrong: Any = "kept"
    with pytest.raises(upres.UsageError, match="palette must be one of free, keep, not kept"):
        upres.enlarge(art(3), palette=wrong)


@pytest.mark.parametrize("consistent", [True, "force"])
def test_other_colours_cannot_be_asked_for_as_well(consistent: Any) -> None:
    with pytest.raises(upres.UsageError, match="give consistent or palette keep, not both"):
        upres.enlarge(art(3), palette="keep", consistent=consistent)


def test_how_well_it_agrees_is_told(tmp_path: Path) -> None:
    PIL.Image.fromarray(art(3)).save(tmp_path / "a.png")
    done = upres.enlarge_file(
        tmp_path / "a.png", tmp_path / "b.png", scale=2, palette="keep", check=True
    )
    assert done.agreement is not None
    with PIL.Image.open(tmp_path / "b.png") as file:
        expected = upres.agreement(np.asarray(file), art(3))
    assert done.agreement.decibels == pytest.approx(expected, abs=0.01)


def noise(channels: int) -> Array:
    generator = np.random.default_rng(5)
    result: Array = generator.integers(0, 256, (32, 40, channels)).astype(np.uint8)
    return result


def soft(channels: int) -> Array:
    """Few colours, but alpha of many values."""
    picture = art(channels)
    picture[:, :, -1] = np.linspace(0, 255, 40).astype(np.uint8) // 16 * 16
    return picture


@pytest.mark.parametrize(
    ("picture", "looks"),
    [
        (art(3), True),
        (art(4), True),
        (art(1)[:, :, 0], True),
        (noise(3), False),
        (soft(4), False),
        (np.full((32, 40, 3), 7, np.uint8), False),
        (np.full((1, 1, 3), 7, np.uint8), False),
        (np.tile(art(3), (10, 10, 1)), False),
        (art(1, np.uint16)[:, :, 0], False),
    ],
)
def test_what_looks_like_pixel_art_is_told(tmp_path: Path, picture: Array, looks: bool) -> None:
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    told = [fakes.open_file(tmp_path / "a.png", palette=word).why for word in ("free", "keep")]
    assert ["pixel art" in why for why in told] == [looks, False]
