"""``upres.enlarge``: which arrays it takes, and what becomes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import fakes
import upres
from upres.raster.resize import bicubic

Picture = NDArray[np.uint8]

DTYPES = ["u1", "u2", ">u2", "u4", "i2", "i4", "f2", "f4", ">f4", "f8"]


def as_type(picture: Picture, dtype: str) -> NDArray[Any]:
    """The same picture in another type, over all of [0, 1] or of the type's whole numbers."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (picture / 255).astype(kind)
    least, most = np.iinfo(kind).min, np.iinfo(kind).max
    return (least + picture / 255 * (most - least)).round().astype(kind)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_axes_channels_and_type_come_out_as_they_went_in(
    picture: Picture, dtype: str, channels: int | None
) -> None:
    image = as_type(picture, dtype)
    image = image[:, :, 0] if channels is None else np.resize(image, (45, 61, channels))
    result = fakes.enlarge_array(image)
    assert result.dtype == image.dtype
    assert result.shape == (90, 122, *image.shape[2:])


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "u1"])
def test_a_picture_is_the_same_in_every_type(picture: Picture, dtype: str) -> None:
    picture[-1, :2] = [[0], [255]]  # so that ranges that are measured are whole ones
    exact = fakes.enlarge_array(picture / np.float32(255))
    result = fakes.enlarge_array(as_type(picture, dtype)).astype(float)
    if np.dtype(dtype).kind != "f":
        least, most = np.iinfo(np.dtype(dtype)).min, np.iinfo(np.dtype(dtype)).max
        result = (result - least) / (most - least)
    # float16 has 11 bits, and the picture's own levels are rounded to it first.
    assert np.abs(result - exact).max() < (2e-2 if dtype == "f2" else 1e-3)


def test_whole_numbers_that_are_no_photograph_s_are_measured(picture: Picture) -> None:
    heights = picture[:, :, 0].astype(np.int16) * 7 - 300
    result = upres.enlarge(heights, scale=2)
    assert heights.min() <= result.min()
    assert result.max() <= heights.max()
    near = bicubic(heights.astype(float), scale=2)
    assert np.abs(result - near).mean() < 20


def test_a_value_range_says_what_is_black_and_white(picture: Picture) -> None:
    picture[-1, :2, 0] = [0, 255]  # so that the range that is measured is the whole one
    kelvin = 270 + picture[:, :, 0].astype(np.float64) / 255 * 40
    result = fakes.enlarge_array(kelvin, value_range=(270, 310))
    exact = fakes.enlarge_array(picture[:, :, 0] / np.float32(255))
    np.testing.assert_allclose((result - 270) / 40, exact, atol=1e-4)


def test_bands_say_what_each_is(picture: Picture) -> None:
    """Red, green and blue together in whatever order, and each other band by itself."""
    near_infrared = picture[:, :, :1] // 2
    scene = np.dstack([near_infrared, picture[:, :, 2], picture[:, :, 1], picture[:, :, 0]])
    result = fakes.enlarge_array(scene, bands=["other", "blue", "green", "red"])
    np.testing.assert_array_equal(result[:, :, :0:-1], fakes.enlarge_array(picture))
    np.testing.assert_array_equal(result[:, :, 0], fakes.enlarge_array(near_infrared[:, :, 0]))


def test_many_bands_are_each_enlarged(picture: Picture) -> None:
    scene = np.dstack([picture, picture[:, ::-1], picture[::-1]])
    result = fakes.enlarge_array(scene, bands=["other"] * 9)
    for band in range(9):
        alone = fakes.enlarge_array(np.ascontiguousarray(scene[:, :, band]))
        np.testing.assert_array_equal(result[:, :, band], alone)


def test_four_bands_may_be_colours_that_are_not_transparent(picture: Picture) -> None:
    scene = np.dstack([picture, picture[:, :, 0]])
    scene[:20, :20, 3] = 0
    kept = fakes.enlarge_array(scene, bands=["red", "green", "blue", "other"])
    np.testing.assert_array_equal(kept[:, :, :3], fakes.enlarge_array(picture))


@pytest.mark.parametrize("scale", [2, 2.5])
def test_classes_have_nothing_in_between(picture: Picture, scale: float) -> None:
    classes = np.array([3, 7, 200], np.uint8)[picture[:, :, 0] % 3]
    result = fakes.enlarge_array(classes[:, :, None], scale=scale, bands=["index"])
    assert set(np.unique(result)) == {3, 7, 200}
    rows, columns = (
        ((np.arange(size) + 0.5) * length / size).astype(int)
        for size, length in zip(result.shape, classes.shape, strict=False)
    )
    np.testing.assert_array_equal(result[:, :, 0], classes[rows][:, columns])


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (180, 244)),
        ({"scale": 1}, (45, 61)),
        ({"scale": 2.5}, (113, 153)),
        ({"scale": 8}, (360, 488)),
        ({"width": 100}, (74, 100)),
        ({"height": 100}, (100, 136)),
        ({"fit": (200, 100)}, (100, 136)),
    ],
)
def test_any_size(picture: Picture, asked: dict[str, Any], size: tuple[int, int]) -> None:
    result = upres.enlarge(picture, **asked)
    assert result.shape == (*size, 3)
    near = bicubic(picture, size=size).astype(float)
    assert np.abs(result - near).mean() < 8


def test_arrays_by_other_names(picture: Picture) -> None:
    torch = pytest.importorskip("torch")
    expected = fakes.enlarge_array(picture)
    for other in (PIL.Image.fromarray(picture), torch.from_numpy(picture)):
        result = fakes.enlarge_array(other)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)
    with pytest.raises(upres.InputError, match=r"this Tensor cannot be seen as an array: .*grad"):
        upres.enlarge(torch.zeros(4, 4, requires_grad=True))


def test_subclasses_of_arrays_are_taken_for_arrays(picture: Picture) -> None:
    grey = picture[:, :, 0]
    expected = fakes.enlarge_array(grey)
    matrix = grey.view(np.matrix)  # whose every slice has two axes
    masked = np.ma.masked_array(grey)  # that can be masked, and is nowhere
    for subclass in (matrix, masked):
        result = fakes.enlarge_array(subclass)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)


def test_progress_ends_at_one(picture: Picture) -> None:
    for enlarge, scale in ((upres.enlarge, 2), (fakes.enlarge_array, 7)):
        parts: list[float] = []
        enlarge(picture, scale=scale, progress=parts.append)
        assert parts[-1] == pytest.approx(1)
        assert parts == sorted(parts)


@pytest.mark.parametrize("mode", ["CMYK", "P", "PA", "RGBa", "YCbCr", "LAB", "HSV"])
def test_pil_images_of_other_colours_are_refused(picture: Picture, mode: str) -> None:
    rgb = PIL.Image.fromarray(picture)
    image = rgb.convert("RGBA").convert(mode) if mode == "RGBa" else rgb.convert(mode)
    with pytest.raises(upres.InputError, match=rf"mode {mode}, .*convert\("):
        upres.enlarge(image, scale=2)


def test_pil_images_of_inks_are_taken_if_bands_say_so(picture: Picture) -> None:
    image = PIL.Image.fromarray(picture).convert("CMYK")
    result = fakes.enlarge_array(image, bands=["ink"] * 4)
    assert np.abs(result.mean((0, 1)) - np.asarray(image).mean((0, 1))).max() < 3


GREY = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "a picture of 5 bands may be anything: bands names"),
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\): .* numpy.moveaxis\(picture, 0"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"a batch of shape \(2, 4, 4, 3\): take them one by on"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((4, 4), np.int64), "samples of uint8, .* got int64"),
        (np.zeros((4, 4), bool), "got bool"),
        (np.full((4, 4), 2.0), r"must lie in \[0, 1\], got 2 to 2: value_range says"),
        (np.full((4, 4), np.inf), "some samples are infinite"),
        (np.ma.masked_equal(GREY, 0), "some samples of this array are masked"),
        (np.ma.masked_invalid(np.full((4, 4), np.nan)), r"picture.filled\(value\) says"),
        (np.float32([[-0.25, 1]]), r"got -0.25 to 1: value_range says .*, as \(-1, 1\) would"),
        (np.float32([[0, 254]]), r"got 0 to 254: value_range says .*, as \(0, 255\) would"),
        (np.float32([[270, 310]]), r"\(270.0, 310.0\) would"),
        (np.float32([[0.5, 1.0001]]), r"got 0.5 to 1.00010002"),
        ([[0, 1], [2, 3]], r"expected an array, got list: numpy\.asarray"),
    ],
)
def test_objects_that_are_no_picture_are_refused_in_one_line(image: Any, message: str) -> None:
    with pytest.raises(upres.InputError, match=message) as caught:
        upres.enlarge(image, scale=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bands": ["gray"]}, r"bands=\['gray'\]: expected a sequence of red, green"),
        ({"bands": "grey"}, "bands='grey': expected a sequence of red, green"),
        ({"bands": ["grey", "alpha"]}, "the picture has 1 bands, not 2"),
        ({"value_range": (5, 5)}, r"value_range=\(5, 5\): expected two finite numbers"),
        ({"max_pixels": 63}, "8x8 pixels, more than the 63 pixels .*: max_pixels allows more"),
        ({"scale": True}, "scale must be a number, not True"),
        ({"scale": "2"}, "scale must be a number, not '2'"),
        ({"width": 50.5, "scale": None}, "width must be a whole number, not 50.5"),
        ({"fit": (100,), "scale": None}, r"fit must be a width and a height, .* not \(100,\)"),
        ({"max_pixels": None}, "max_pixels must be a whole number, not None"),
        ({"value_range": 5}, "value_range=5: expected two finite numbers"),
        ({"value_range": (-1e308, 1e308)}, "expected two finite numbers"),
        ({"scale": 0.5}, "scale must be a factor of at least 1, not 0.5"),
        ({"width": 9}, "give one of scale, width, height and fit"),
    ],
)
def test_options_that_are_wrong_are_refused_in_one_line(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(upres.UpresError, match=message):
        upres.enlarge(GREY, **({"scale": 2} | asked))


def test_a_model_is_repeated_for_a_factor_that_it_has_not(picture: Picture) -> None:
    twice = fakes.enlarge_array(fakes.enlarge_array(picture / np.float32(255)))
    result = fakes.enlarge_array(picture / np.float32(255), scale=4)
    np.testing.assert_allclose(result, twice, atol=1e-5)


@pytest.mark.parametrize("kind", ["u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("bands", [None, 3])
def test_a_result_has_the_byte_order_of_its_picture(kind: str, bands: int | None) -> None:
    ramp = np.linspace(0, 1 if kind[0] == "f" else 60000, 12 * 10 * (bands or 1))
    native = ramp.reshape((12, 10) if bands is None else (12, 10, bands)).astype(kind)
    results = [fakes.enlarge_array(native.astype(order + kind)) for order in "<>"]
    assert [result.dtype.str for result in results] == ["<" + kind, ">" + kind]
    np.testing.assert_array_equal(*results)
    given = native.astype(">" + kind)
    assert upres.agreement(fakes.enlarge_array(given), given) == pytest.approx(
        upres.agreement(fakes.enlarge_array(native), native)
    )
