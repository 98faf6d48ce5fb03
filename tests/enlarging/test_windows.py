from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

import upres
from fakes import FakeBackend, enlarged, fake_model
from upres.card import ModelCard
from upres.engine.openvino import OpenVINO
from upres.enlarging.windows import enlarge_windows, stages
from upres.errors import InputError, ModelError
from upres.models import computed_in, open_model
from upres.raster.pixels import from_float, to_float
from upres.raster.resize import bicubic
from upres.training.export import export_onnx
from upres.training.networks import Network, Plain, RcanConfig, build

Picture = NDArray[np.uint8]


def by_torch(network: Network, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        output = network(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])
    return output[0].clamp(0, 1).permute(1, 2, 0).numpy()


def by_windows(
    model: upres.Model, picture: NDArray[np.float32], **options: Any
) -> NDArray[np.float32]:
    height, width, channels = picture.shape
    blocks = (picture[top : top + 5] for top in range(0, height, 5))
    size = options.get("size", (height * model.card.scale, width * model.card.scale))
    result = np.full((*size, channels), np.nan, np.float32)
    for top, left, block in enlarge_windows(
        blocks, height=height, width=width, model=model, **options
    ):
        part = result[top : top + block.shape[0], left : left + block.shape[1]]
        assert np.isnan(part).all(), "windows overlap"
        part[:] = block
    assert not np.isnan(result).any(), "windows leave gaps"
    return result


# The network's halo is 6: windows of 20 x 20 keep 8 x 8.
@pytest.mark.parametrize("window_pixels", [20 * 20, 17 * 31, 40 * 40])
@pytest.mark.parametrize(
    "size", [(45, 61), (64, 64), (13, 90), (100, 3), (21, 21), (1, 1), (1, 50)]
)
def test_tiled_equals_whole(
    model_file: Path, random_network: Plain, size: tuple[int, int], window_pixels: int
) -> None:
    model = open_model(model_file)
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(model, picture, window_pixels=window_pixels)
    whole = by_windows(model, picture)
    assert tiled.shape == (2 * size[0], 2 * size[1], 3)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    np.testing.assert_allclose(tiled, by_torch(random_network, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(45, 61), (64, 64), (13, 90), (1, 50)])
def test_windows_of_fast_sizes_change_nothing(size: tuple[int, int]) -> None:
    backend, model = FakeBackend(multiples=(8, 16)), fake_model(halo=6)
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(model, picture, window_pixels=40 * 40, backend=backend)
    np.testing.assert_allclose(tiled, enlarged(model, picture), rtol=0, atol=2e-6)
    ((_, height, width),) = backend.compiled
    for side, window, unit in zip(size, (height, width), (8, 16), strict=True):
        assert window == side or window % unit == 0


def test_what_looks_at_the_whole_picture_gets_it_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(RcanConfig(features=4, groups=1, blocks=1, reduction=2), 2).eval()
    export_onnx(network, ModelCard(name="rcan", scale=2, halo=None), tmp_path / "rcan.onnx")
    model = open_model(tmp_path / "rcan.onnx")
    assert model.card.halo is None
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    got = by_windows(model, picture, window_pixels=20 * 20, strip_bytes=1)
    np.testing.assert_allclose(got, by_torch(network, picture), rtol=0, atol=2e-6)


def test_tiled_equals_whole_where_a_model_sees_less_far_than_neutral_colours() -> None:
    model, backend = fake_model(scale=1, halo=0), FakeBackend(tint=(1.1, 1, 0.9))
    picture = np.full((45, 61, 3), 0.5, np.float32)
    picture[::7, ::7, 0] = 0.51
    whole = by_windows(model, picture, backend=backend)
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) > 2
    tiled = by_windows(model, picture, window_pixels=1, backend=backend)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole_with_the_shipped_models(scale: int) -> None:
    model = open_model(scale=scale)
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, window_pixels=45 * 45)
    np.testing.assert_allclose(tiled, by_windows(model, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole_in_int8(scale: int) -> None:
    model = open_model("fast-int8", scale=scale)
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, window_pixels=45 * 45)
    whole = by_windows(model, picture)
    # Where float32 rounds differently, a value may be quantised to the one beside it.
    assert np.abs(tiled - whole).mean() < 2e-6


needs_bfloat16 = pytest.mark.skipif(
    not OpenVINO().can_compute("bf16"), reason="needs a processor that computes in bfloat16"
)


def test_a_loaded_model_is_of_one_precision(model_file: Path, picture: Picture) -> None:
    model = open_model(model_file)
    int8 = replace(model, card=replace(model.card, precision="int8"))
    with pytest.raises(ModelError, match=r"random-x2.onnx' is fp32, and there is no int8 of it"):
        upres.enlarge(picture, model=model, precision="int8")
    with pytest.raises(ModelError, match=r"random-x2.onnx' is int8, and there is no fp32 of it"):
        upres.enlarge(picture, model=int8, precision="fp32")


@pytest.mark.parametrize("loaded", [False, True])
def test_precisions_that_there_are_not(model_file: Path, picture: Picture, loaded: bool) -> None:
    model = open_model(model_file) if loaded else model_file
    wrong: Any = "fp8"
    with pytest.raises(ModelError, match="no precision is called 'fp8': there are auto, fp32, bf"):
        upres.enlarge(picture, model=model, precision=wrong)


@needs_bfloat16
def test_tiled_equals_whole_in_bfloat16() -> None:
    model = computed_in(open_model(scale=2), "bf16", OpenVINO())
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, window_pixels=45 * 45)
    np.testing.assert_allclose(tiled, by_windows(model, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_tiled_equals_whole_with_grey_and_alpha(model_file: Path, channels: int) -> None:
    model = open_model(model_file)
    random = np.random.default_rng(4)
    picture = random.random((45, 61, channels), np.float32)
    if channels > 1:
        picture[:, :, -1] *= random.random((45, 61)) > 0.6
    alpha = channels != 1
    tiled = by_windows(model, picture, window_pixels=35 * 35, alpha=alpha)
    np.testing.assert_allclose(tiled, by_windows(model, picture, alpha=alpha), rtol=0, atol=2e-6)


# Wide and low, as what is kept of a strip is; the halo of 6 needs 13 rows at least.
@pytest.mark.parametrize("size", [(60, 90), (1, 200), (200, 1)])
def test_strips_bound_what_is_kept_and_change_nothing(
    model_file: Path, size: tuple[int, int]
) -> None:
    model = open_model(model_file)
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(model, picture, strip_bytes=12 * size[1] * 20)
    np.testing.assert_allclose(tiled, by_windows(model, picture), rtol=0, atol=2e-6)


def test_windows_are_no_larger_than_the_backend_and_the_caller_say() -> None:
    picture = np.random.default_rng(3).random((120, 150, 3), np.float32)
    model, results = fake_model(), []
    for backend_s, caller_s, most in ((1000, None, 1000), (1000, 10**6, 1000), (10**6, 900, 900)):
        backend = FakeBackend(window_pixels=backend_s)
        results.append(by_windows(model, picture, window_pixels=caller_s, backend=backend))
        ((_, height, width),) = backend.compiled
        assert most / 2 < height * width <= most
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-6)


def test_of_the_input_only_what_windows_need_is_taken_ahead(model_file: Path) -> None:
    taken = 0

    def rows() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield np.zeros((1, 50, 3), np.float32)

    windows = enlarge_windows(
        rows(), height=1000, width=50, model=open_model(model_file), strip_bytes=12 * 50 * 40
    )
    for top, _, block in windows:
        assert taken <= (top + block.shape[0]) / 2 + 2 * 6
        assert block.shape[0] <= 2 * 40
    assert taken == 1000


@pytest.mark.parametrize("size", [(79, 97), (90, 61), (45, 122), (46, 62), (89, 121)])
def test_a_reduced_result_equals_the_whole_reduced(model_file: Path, size: tuple[int, int]) -> None:
    model = open_model(model_file)
    picture = np.random.default_rng(6).random((45, 61, 3), np.float32)
    whole = by_windows(model, picture)
    # Another implementation, tap by tap, of the same published filter.
    expected = np.clip(bicubic(whole, size=size), 0, 1)
    for window_pixels in (25 * 25, 40 * 31, 512 * 512):
        reduced = by_windows(model, picture, size=size, window_pixels=window_pixels)
        np.testing.assert_allclose(reduced, expected, rtol=0, atol=5e-6)


def test_stages_are_few_and_no_larger_than_needed() -> None:
    def scales(factor: float | None) -> list[int]:
        return [model.card.scale for model in stages("fast", factor)]

    assert scales(None) == [4]
    assert scales(1) == scales(1.2) == scales(2) == [2]
    assert scales(2.5) == scales(3) == [3]
    assert scales(3.01) == [4]
    assert scales(4.5) == scales(6) == [2, 3]
    assert scales(7) == scales(8) == [2, 4]
    assert scales(9) == [3, 3]
    assert scales(16) == [4, 4]
    assert scales(17) == [2, 3, 3]


def test_a_model_by_path_is_repeated(model_file: Path) -> None:
    assert [m.path for m in stages(model_file, 5)] == [model_file] * 3
    assert [m.path for m in stages(model_file, 1.5)] == [model_file]


def test_a_halo_too_small_would_show(model_file: Path) -> None:
    model = open_model(model_file)
    narrow = replace(model, card=replace(model.card, halo=4))
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    tiled = by_windows(narrow, picture, window_pixels=400)
    assert np.abs(tiled - by_windows(model, picture)).max() > 1e-4


def test_a_card_that_says_another_size_is_refused(model_file: Path, picture: Picture) -> None:
    model = open_model(model_file)
    wrong = replace(model, card=replace(model.card, scale=3))
    with pytest.raises(ModelError, match=r"random-x2.onnx: of .* pixels .* makes .* not"):
        upres.enlarge(picture, model=wrong)


def test_a_model_that_needs_multiples_gets_them() -> None:
    backend, model = FakeBackend(), fake_model(halo=6)
    strict = fake_model(halo=6, multiple_of=4)
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    tiled = by_windows(strict, picture, window_pixels=30 * 30, backend=backend)
    assert tiled.shape == (90, 122, 3)
    # Away from the padded border, padding makes no difference.
    inner = np.s_[: 2 * (45 - 6), : 2 * (61 - 6)]
    np.testing.assert_allclose(tiled[inner], enlarged(model, picture)[inner], rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_axes_channels_and_dtype_come_out_as_they_went_in(
    model_file: Path, picture: Picture, dtype: str, channels: int | None
) -> None:
    image = from_float(to_float(picture), np.dtype(dtype))
    image = image[:, :, 0] if channels is None else np.resize(image, (45, 61, channels))
    result = upres.enlarge(image, model=model_file)
    assert result.dtype == image.dtype
    assert result.shape == (90, 122, *image.shape[2:])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_neutral_grey_stays_neutral(scale: int) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    random = np.random.default_rng(8)
    texture = np.repeat(np.repeat(random.integers(0, 256, (16, 32), np.uint8), 4, 0), 4, 1)
    for grey in (ramp, ramp.T, texture, np.full((32, 32), 93, np.uint8)):
        result = upres.enlarge(np.repeat(grey[:, :, None], 3, axis=2), scale=scale).astype(int)
        assert (result.max(axis=2) - result.min(axis=2)).max() <= 1, grey.shape


@pytest.mark.parametrize(
    "tint", [(128, 128, 130), (128, 128, 129), (255, 255, 253), (130, 128, 128), (2, 2, 0)]
)
def test_a_faint_tint_stays(tint: tuple[int, int, int]) -> None:
    flat = np.full((24, 24, 3), tint, np.float32) / np.float32(255)
    result = upres.enlarge(flat, scale=2, precision="fp32") * 255
    np.testing.assert_allclose(result.mean((0, 1)), tint, atol=0.5)


def test_16_bit_is_not_cut_to_8_on_the_way() -> None:
    ramp = np.linspace(20000, 22000, 64 * 64).astype(np.uint16).reshape(64, 64)
    result = upres.enlarge(ramp, scale=2)
    assert len(np.unique(result // 257)) < 20
    assert len(np.unique(result)) > 1000


def test_colour_under_transparency_does_not_bleed() -> None:
    image = np.zeros((32, 32, 4), np.uint8)
    image[:, :, :3] = (0, 255, 0)  # what lies under the transparent part
    image[:, :16] = (200, 60, 60, 255)
    result = upres.enlarge(image, scale=2)
    assert result[:, :24, 3].min() >= 250
    assert result[:, 40:, 3].max() <= 5
    visible = result[:, :, 3] > 64
    assert np.abs(result[visible][:, :3].astype(int) - (200, 60, 60)).max() <= 12


def test_opaque_alpha_stays_opaque_and_changes_no_colour(picture: Picture) -> None:
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    result = upres.enlarge(opaque, scale=2)
    assert (result[:, :, 3] == 255).all()
    np.testing.assert_array_equal(result[:, :, :3], upres.enlarge(picture, scale=2))


def test_grey_equals_the_luma_of_grey_as_rgb(picture: Picture) -> None:
    grey = picture[:, :, 0]
    result = upres.enlarge(grey, scale=2)
    as_rgb = upres.enlarge(np.repeat(grey[:, :, None], 3, axis=2), scale=2)
    assert np.abs(result - as_rgb.astype(np.float64).mean(axis=2)).max() <= 1  # which has no colour


def test_progress_ends_at_one(model_file: Path, picture: Picture) -> None:
    parts: list[float] = []
    upres.enlarge(picture, model=model_file, progress=parts.append)
    assert parts[-1] == 1
    assert parts == sorted(parts)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"got shape \(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((4, 4), np.int32), "got int32"),
        (np.full((4, 4), 2.0), "got 2 to 2"),
        (np.full((4, 4), np.nan), "got nan to nan"),
        (np.ma.masked_invalid(np.full((4, 4), np.nan)), "got nan to nan"),
        ([[0, 1], [2, 3]], r"expected a NumPy array, got list: numpy\.asarray"),
        (PIL.Image.new("RGB", (4, 4)), r"expected a NumPy array, got Image: numpy\.asarray"),
        (torch.zeros(4, 4), r"expected a NumPy array, got Tensor: numpy\.asarray"),
    ],
)
def test_what_is_no_picture(image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        upres.enlarge(image, scale=2)


def test_subclasses_of_arrays_are_taken_for_arrays(model_file: Path, picture: Picture) -> None:
    grey = picture[:, :, 0]
    expected = upres.enlarge(grey, model=model_file)
    matrix = grey.view(np.matrix)  # whose every slice has two axes
    masked = np.ma.masked_array(grey, mask=grey > 99)
    for subclass in (matrix, masked):
        result = upres.enlarge(subclass, model=model_file)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, expected)


def test_scale_that_the_model_has_not(model_file: Path, picture: Picture) -> None:
    with pytest.raises(ModelError, match="enlarges 2 times, not 3 times"):
        upres.enlarge(picture, scale=3, model=model_file)
    with pytest.raises(ModelError, match="enlarges 2 times, not 4 times"):
        upres.enlarge(picture, scale=4, model=open_model(model_file))
    with pytest.raises(ModelError, match="'fast' has no scale 5: it has 2, 3, 4"):
        upres.enlarge(picture, scale=5, precision="fp32")
