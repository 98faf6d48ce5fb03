from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
import upres
from fakes import FakeBackend, enlarged, fake_model
from upres.enlarging.api import enlarge_array
from upres.enlarging.consistency import SHARES, make_agree
from upres.errors import InputError, UsageError
from upres.raster.arrays import ArraySource
from upres.raster.light import encode
from upres.raster.metrics import lr_consistency
from upres.raster.resize import bicubic

RNG = np.random.default_rng(7)


def smooth(height: int, width: int, bands: int = 3) -> NDArray[np.float64]:
    """A picture with little beyond its resolution, from 0.2 to 0.8."""
    seed = RNG.uniform(0.25, 0.75, (height // 4 + 1, width // 4 + 1, bands))
    return np.asarray(np.clip(bicubic(seed, size=(height, width)), 0.2, 0.8))


def contrasting(height: int, width: int, bands: int = 3) -> NDArray[np.float64]:
    """One that is black or white in half of its places, as text is."""
    return np.asarray(np.clip(RNG.normal(0.5, 0.7, (height, width, bands)), 0, 1))


def consistent(
    picture: NDArray[Any], by: int, backend: FakeBackend | None = None, **asked: Any
) -> NDArray[Any]:
    """``picture`` as a model of the scale ``by`` enlarges it, unless options say otherwise."""
    options = {"model": fake_model(scale=by, halo=3), "consistent": True} | asked
    source = ArraySource(picture)
    return enlarge_array(source, fakes.asking(**options), backend=backend or FakeBackend())


def by_least_squares(result: NDArray[Any], given: NDArray[Any], scale: int) -> NDArray[Any]:
    """The nearest that is reduced to ``given``, by LAPACK and matrices that ``bicubic`` makes."""
    rows, columns = (
        np.asarray(bicubic(np.eye(length * scale), size=(length, length * scale)))
        for length in given.shape
    )
    both = np.kron(rows, columns)
    step, *_ = np.linalg.lstsq(both, given.ravel() - both @ result.ravel(), rcond=None)
    return np.asarray(result + step.reshape(result.shape))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_the_projection_where_nothing_is_clipped(scale: int) -> None:
    given = smooth(11, 14, 1)[:, :, 0]
    plane = given.repeat(scale, 0).repeat(scale, 1) + RNG.uniform(
        -0.05, 0.05, (11 * scale, 14 * scale)
    )
    expected = by_least_squares(plane, given, scale)
    assert 0 < expected.min() < expected.max() < 1
    result = plane.astype(np.float32)
    make_agree(result, given.astype(np.float32), scale)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("spots", [[(9, 10)], [(3, 3), (58, 70)], [(30, 5), (31, 60), (50, 40)]])
def test_repeating_it_beside_clipped_samples_is_repeating_it_everywhere(
    scale: int, spots: list[tuple[int, int]]
) -> None:
    given = smooth(70, 80, 1)[:, :, 0]
    for row, column in spots:  # so dark and bright that their neighbours are clipped
        given[row : row + 2, column : column + 2] = 0.01
        given[row + 2, column] = 0.99
    plane = given.repeat(scale, 0).repeat(scale, 1)
    down, across = (
        np.asarray(bicubic(np.eye(length * scale), size=(length, length * scale)))
        for length in given.shape
    )
    expected = plane
    for share in SHARES:
        difference = given - np.clip(down @ expected @ across.T, 0, 1)
        step = np.linalg.pinv(down) @ difference @ np.linalg.pinv(across).T
        expected = np.clip(expected + share * step, 0, 1)
    assert 0 < ((expected == 0) | (expected == 1)).mean() < 0.1
    result = plane.astype(np.float32)
    make_agree(result, given.astype(np.float32), scale)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("make", [smooth, contrasting])
@pytest.mark.parametrize("size", [(61, 45), (64, 64), (9, 90), (100, 3), (1, 1), (1, 50)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole(scale: int, size: tuple[int, int], make: Any) -> None:
    picture = make(*size).astype(np.float32)
    whole = consistent(picture, scale)
    tiled = consistent(picture, scale, FakeBackend(20 * 20))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    if size != (1, 1):  # which is flat, and stays so without it
        assert not np.allclose(whole, consistent(picture, scale, consistent=False), atol=1e-3)


def test_windows_may_have_to_be_padded() -> None:
    picture = smooth(37, 46).astype(np.float32)
    model = fake_model(scale=2, halo=3, multiple_of=8)
    whole = consistent(picture, 2, model=model)
    tiled = consistent(picture, 2, FakeBackend(24 * 24), model=model)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    assert upres.agreement(whole, picture) > 115


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("dtype", "least"), [("uint8", 64), ("uint16", 105), ("float16", 64), ("float32", 115)]
)
def test_how_far_it_goes_is_for_the_type_to_say(scale: int, dtype: str, least: float) -> None:
    most = 1.0 if dtype.startswith("float") else float(np.iinfo(dtype).max)
    picture = (smooth(40, 50) * most).astype(dtype)
    plain, made = (consistent(picture, scale, consistent=flag) for flag in (False, True))
    assert made.dtype == picture.dtype
    assert upres.agreement(plain, picture) < 50
    assert upres.agreement(made, picture) > least
    if dtype == "uint8":
        assert lr_consistency(made, picture) > 65


@pytest.mark.parametrize("scale", [8, 6, 9])
def test_several_models_after_another_agree_with_the_first_s_input(scale: int) -> None:
    picture = smooth(30, 33).astype(np.float32)
    model = fake_model(scale=3 if scale == 9 else 2, halo=3)
    for backend in (FakeBackend(), FakeBackend(20 * 20)):
        made = consistent(picture, 2, backend, model=model, scale=scale)
        assert made.shape == (30 * scale, 33 * scale, 3)
        assert upres.agreement(made, picture) > 100


def test_grey_pictures_stay_grey() -> None:
    picture = contrasting(30, 40, 1).repeat(3, axis=2).astype(np.float32)
    made = consistent(picture, 2)
    np.testing.assert_allclose(made, made[:, :, :1].repeat(3, axis=2), rtol=0, atol=1e-6)


def test_alpha_and_classes_are_left_alone() -> None:
    picture = contrasting(30, 40, 3).astype(np.float32)
    bands = ("grey", "alpha", "index")
    options = {"model": fake_model(scale=2, halo=3)}
    plain, made = (
        fakes.enlarge_array(picture, bands=bands, consistent=flag, **options)
        for flag in (False, True)
    )
    np.testing.assert_array_equal(made[:, :, 1:], plain[:, :, 1:])
    assert not np.allclose(made[:, :, 0], plain[:, :, 0], atol=1e-2)


def test_what_lies_under_transparency_is_no_input() -> None:
    """Red, with black under what is transparent: the edge must not darken."""
    picture = np.zeros((30, 40, 4), np.float32)
    picture[:, :20] = (0.8, 0.3, 0.2, 1)
    made = consistent(picture, 4)
    # Within the borders, which the fake darkens.
    inner = made[20:-20, 20:80]
    np.testing.assert_allclose(inner[:, :, 3].min(), 1, atol=0.1)
    expected = np.broadcast_to(np.float32([0.8, 0.3, 0.2]), inner[:, :, :3].shape)
    np.testing.assert_allclose(inner[:, :, :3], expected, rtol=0, atol=0.005)
    assert upres.agreement(made, picture) > 60


def test_refused_where_it_makes_no_sense() -> None:
    picture = contrasting(30, 40).astype(np.float32)
    for size in ({"scale": 2.5}, {"width": 81}, {"scale": 1}):
        with pytest.raises(InputError, match="whole number of times 40x30"):
            consistent(picture, 4, **size)
    assert consistent(picture, 4, width=80).shape == (60, 80, 3)
    with pytest.raises(UsageError, match="'always'"):
        consistent(picture, 4, consistent="always")


def test_a_perfect_result_stays() -> None:
    """One of which the input is the reduction: there is nothing to correct."""
    large = smooth(60, 80, 1)[:, :, 0]
    given = bicubic(large, size=(30, 40)).astype(np.float32)
    result = large.astype(np.float32)
    make_agree(result, given, 2)
    np.testing.assert_allclose(result, large, rtol=0, atol=1e-6)


def test_what_is_white_may_have_been_whiter() -> None:
    """A reduction overshoots beside an edge, and is clipped: that must not be put into the edge."""
    large = np.zeros((64, 64), np.float32)
    large[:, 31:] = 1
    given = np.clip(bicubic(large, size=(16, 16)), 0, 1)
    assert bicubic(large, size=(16, 16)).max() > 1.01
    result = large.copy()
    make_agree(result, given, 4)
    np.testing.assert_allclose(result, large, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(60, 80), (65, 83), (30, 40), (240, 320)])
def test_the_check_is_what_the_result_says(size: tuple[int, int], tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    picture = (contrasting(30, 40) * 255).astype(np.uint8)
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    pyvips.Image.new_from_array(picture).pngsave(str(source))
    options = fakes.asking(check=True, fit=size[::-1])
    opened = fakes.files.open_file(source, options, backend=FakeBackend(12 * 12))
    told = opened.write(target).agreement
    assert told is not None
    result = pyvips.Image.new_from_file(str(target)).numpy()
    assert result.shape[:2] == (size[1] * 30 // 40, size[1]) or result.shape[:2] == size
    reduced = np.clip(bicubic(result.astype(np.float64), size=(30, 40)), 0, 255)
    mse = np.square((reduced - picture) / 255).mean()
    expected = math.inf if mse < 1e-15 else -10 * math.log10(mse)
    assert told.decibels == pytest.approx(expected, abs=0.01) or told.decibels > 130
    assert upres.agreement(result, picture) == pytest.approx(expected, abs=0.01)


def test_the_check_is_of_all_pages_together(tmp_path: Path) -> None:
    pyvips = pytest.importorskip("pyvips")
    pages = [(contrasting(30, 40) * 255).astype(np.uint8), (smooth(30, 40) * 255).astype(np.uint8)]
    both = pyvips.Image.new_from_array(np.concatenate(pages))
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    both.copy(interpretation="srgb").tiffsave(str(source), page_height=30)
    asked = fakes.asking(check=True)
    told = fakes.files.enlarge_to(source, target, asked, backend=FakeBackend()).agreement
    assert told is not None
    assert told.samples == 2 * 30 * 40 * 3
    singly = []
    for number, page in enumerate(pages):
        made = pyvips.Image.new_from_file(str(target), page=number).numpy()
        singly.append(10 ** (-upres.agreement(made, page) / 10))
    assert told.decibels == pytest.approx(-10 * math.log10(np.mean(singly)), abs=0.01)


def test_linear_light_agrees_as_the_network_sees_it(tmp_path: Path) -> None:
    light = (smooth(30, 40) ** 2 * 5).astype(np.float32)
    source, target = tmp_path / "a.pfm", tmp_path / "b.pfm"
    source.write_bytes(b"PF\n40 30\n-1.0\n" + light[::-1].astype("<f4").tobytes())
    told = [
        fakes.files.enlarge_to(source, target, asked, backend=FakeBackend())
        for asked in (fakes.asking(check=True), fakes.asking(check=True, consistent=True))
    ]
    plain, made_to = (each.agreement.decibels for each in told if each.agreement)
    # The range is measured, so some samples lie at its ends, and are clipped.
    assert plain < 60
    assert made_to > 85
    made = np.frombuffer(target.read_bytes()[-60 * 80 * 12 :], "<f4").reshape(60, 80, 3)[::-1]
    assert upres.agreement(encode(made), encode(light), value_range=(0, 2)) > 85


def test_agreement_of_what_does_not_belong_together() -> None:
    small, large = np.zeros((4, 5, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)
    assert upres.agreement(large, small) == math.inf
    with pytest.raises(InputError, match="give the picture last"):
        upres.agreement(small, large)
    with pytest.raises(InputError, match="uint16 of 3 bands"):
        upres.agreement(large.astype(np.uint16), small)
    with pytest.raises(InputError, match="uint8 of 1 bands"):
        upres.agreement(large[:, :, 0], small)


def test_it_is_of_use_with_a_network() -> None:
    """By the fake the picture becomes darker at its borders, and is shifted."""
    picture = smooth(40, 50).astype(np.float32)
    plain = enlarged(fake_model(scale=2, halo=3), picture)
    made = consistent(picture, 2)
    assert upres.agreement(made, picture) - upres.agreement(plain, picture) > 60
