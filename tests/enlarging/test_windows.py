from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
import upres
from fakes import FakeBackend, FakeNetwork, enlarged, fake_model
from upres.card import Model, ModelCard
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.enlarging.windows import enlarge_windows
from upres.errors import ModelError
from upres.models import computed_in, open_model
from upres.raster.info import RasterInfo, bands_of, usual_roles
from upres.raster.resize import bicubic

Picture = NDArray[np.uint8]


def info_of(picture: NDArray[np.float32]) -> RasterInfo:
    height, width, count = picture.shape
    roles = usual_roles(count)
    assert roles is not None
    return RasterInfo(height, width, bands_of(roles), picture.dtype)


def held_at_borders(output: NDArray[np.float32], picture: NDArray[np.float32]) -> Any:
    """No sample within 8 pixels of the picture's border farther beyond those 3 x 3 pixels around
    than they are from each other; and of one colour throughout, as it is.
    """
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    low, high = around.min((-1, -2)), around.max((-1, -2))
    inner = np.zeros(picture.shape[:2], bool)
    inner[8:-8, 8:-8] = True
    bounds = low - (high - low), high + (high - low)
    low, high = (
        np.where(inner[:, :, None], end, b) for b, end in zip(bounds, (-9, 9), strict=True)
    )
    scale = len(output) // len(picture)
    low, high = (bound.repeat(scale, 0).repeat(scale, 1) for bound in (low, high))
    return np.clip(output, low, high)


def expected_of(model: Model, picture: NDArray[np.float32]) -> Any:
    """What the network makes of the whole, with the picture's border as it is to be."""
    return held_at_borders(enlarged(model, picture), picture)


def by_windows(
    model: upres.Model,
    picture: NDArray[np.float32],
    backend: Backend | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    height, width, channels = picture.shape
    blocks = (picture[top : top + 5] for top in range(0, height, 5))
    size = options.get("size", (height * model.card.scale, width * model.card.scale))
    result = np.full((*size, channels), np.nan, np.float32)
    for top, left, block in enlarge_windows(
        blocks, info_of(picture), model, backend or FakeBackend(), **options
    ):
        part = result[top : top + block.shape[0], left : left + block.shape[1]]
        assert np.isnan(part).all(), "windows overlap"
        part[:] = block
    assert not np.isnan(result).any(), "windows leave gaps"
    return result


MODEL = fake_model(halo=6)
"""Of windows of 20 x 20, 8 x 8 are kept."""


@pytest.mark.parametrize("window_pixels", [20 * 20, 17 * 31, 40 * 40])
@pytest.mark.parametrize(
    "size", [(45, 61), (64, 64), (13, 90), (100, 3), (21, 21), (1, 1), (1, 50)]
)
def test_tiled_equals_whole(size: tuple[int, int], window_pixels: int) -> None:
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(MODEL, picture, window_pixels=window_pixels)
    whole = by_windows(MODEL, picture)
    assert tiled.shape == (2 * size[0], 2 * size[1], 3)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    np.testing.assert_allclose(tiled, expected_of(MODEL, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(45, 61), (64, 64), (13, 90), (1, 50)])
def test_windows_of_fast_sizes_change_nothing(size: tuple[int, int]) -> None:
    backend = FakeBackend(40 * 40, multiples=(8, 16))
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(MODEL, picture, backend)
    np.testing.assert_allclose(tiled, expected_of(MODEL, picture), rtol=0, atol=2e-6)
    ((_, *window),) = backend.compiled
    for side, length, unit in zip(window, size, (8, 16), strict=True):
        assert side == length or side % unit == 0


def test_what_looks_at_the_whole_picture_gets_it_whole() -> None:
    model, backend = fake_model(halo=None), FakeBackend()
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    got = by_windows(model, picture, backend, window_pixels=20 * 20, strip_bytes=1)
    np.testing.assert_allclose(got, expected_of(model, picture), rtol=0, atol=2e-6)
    assert backend.compiled == [(model, 45, 61)]


def test_tiled_equals_whole_where_a_model_sees_less_far_than_neutral_colours() -> None:
    backend, model = FakeBackend(1, tint=(1.1, 1, 0.9)), fake_model(scale=1, halo=0)
    picture = np.full((45, 61, 3), 0.5, np.float32)
    picture[::7, ::7, 0] = 0.51
    whole = by_windows(model, picture, backend, window_pixels=45 * 61)
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) > 2
    tiled = by_windows(model, picture, backend)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    assert backend.compiled[1] != backend.compiled[0]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole_with_the_shipped_models(scale: int) -> None:
    model = open_model(scale=scale)
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, default_backend(), window_pixels=45 * 45)
    np.testing.assert_allclose(
        tiled, by_windows(model, picture, default_backend()), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole_in_int8(scale: int) -> None:
    model = open_model("fast-int8", scale=scale)
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, default_backend(), window_pixels=45 * 45)
    whole = by_windows(model, picture, default_backend())
    # Where float32 rounds differently, a value may be quantised to the one beside it.
    assert np.abs(tiled - whole).mean() < 2e-6


needs_bfloat16 = pytest.mark.skipif(
    not default_backend().can_compute("bf16"), reason="needs a processor that computes in bfloat16"
)


@needs_bfloat16
def test_bfloat16_leaves_the_picture_itself_in_float32(tmp_path: Path) -> None:
    from upres.training.export import export_onnx
    from upres.training.networks import Plain

    # A network that is not trained adds nothing to the picture, repeated.
    network = Plain(scale=2, features=8, blocks=1)
    export_onnx(network, ModelCard(name="new", scale=2, halo=network.halo), tmp_path / "new.onnx")
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    result = upres.enlarge(picture, model=tmp_path / "new.onnx", precision="bf16")
    np.testing.assert_array_equal(result, picture.repeat(2, 0).repeat(2, 1))


@needs_bfloat16
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bfloat16_is_near_float32(scale: int, picture: Picture) -> None:
    exact, near = (
        upres.enlarge(picture / np.float32(255), scale=scale, precision=precision)
        for precision in ("fp32", "bf16")
    )
    added = exact - picture.repeat(scale, 0).repeat(scale, 1) / np.float32(255)
    # Of what the network adds, each of its 16 convolutions rounds values and weights, by 2**-9 at
    # most; that this adds up is the worst that can be.
    assert np.abs(near - exact).max() < 16 * 2 * 2**-9 * np.abs(added).max()
    assert np.square(near - exact).mean() < (0.2 / 255) ** 2


def test_a_model_of_one_precision_has_no_other(picture: Picture) -> None:
    int8 = fake_model(precision="int8")
    with pytest.raises(ModelError, match=r"fake-x2.onnx' is fp32, and there is no int8 of it"):
        fakes.enlarge_array(picture, precision="int8")
    with pytest.raises(ModelError, match=r"fake-x2.onnx' is int8, and there is no fp32 of it"):
        fakes.enlarge_array(picture, model=int8, precision="fp32")


@pytest.mark.parametrize("loaded", [False, True])
def test_precisions_that_there_are_not(picture: Picture, loaded: bool) -> None:
    model = fake_model() if loaded else "fast"
    wrong: Any = "fp8"
    with pytest.raises(ModelError, match="no precision is called 'fp8': there are auto, fp32, bf"):
        fakes.enlarge_array(picture, model=model, precision=wrong)


@needs_bfloat16
def test_tiled_equals_whole_in_bfloat16() -> None:
    model = computed_in(open_model(scale=2), "bf16", default_backend())
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_windows(model, picture, default_backend(), window_pixels=45 * 45)
    np.testing.assert_allclose(
        tiled, by_windows(model, picture, default_backend()), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_tiled_equals_whole_with_grey_and_alpha(channels: int) -> None:
    random = np.random.default_rng(4)
    picture = random.random((45, 61, channels), np.float32)
    if channels > 1:
        picture[:, :, -1] *= random.random((45, 61)) > 0.6
    tiled = by_windows(MODEL, picture, window_pixels=35 * 35)
    np.testing.assert_allclose(tiled, by_windows(MODEL, picture), rtol=0, atol=2e-6)


# Wide and low, as what is kept of a strip is; the halo of 6 needs 13 rows at least.
@pytest.mark.parametrize("size", [(60, 90), (1, 200), (200, 1)])
def test_strips_bound_what_is_kept_and_change_nothing(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_windows(MODEL, picture, strip_bytes=12 * size[1] * 20)
    np.testing.assert_allclose(tiled, by_windows(MODEL, picture), rtol=0, atol=2e-6)


def test_windows_are_as_large_as_the_engine_says() -> None:
    picture = np.random.default_rng(3).random((120, 150, 3), np.float32)
    large, small = FakeBackend(512 * 512), FakeBackend(60 * 60)
    results = [by_windows(MODEL, picture, backend) for backend in (large, small)]
    np.testing.assert_allclose(*results, rtol=0, atol=2e-6)
    assert large.compiled == [(MODEL, 120, 150)]
    assert [height * width <= 60 * 60 for _, height, width in small.compiled] == [True]


def test_of_the_input_only_what_windows_need_is_taken_ahead() -> None:
    taken = 0

    def rows() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield np.zeros((1, 50, 3), np.float32)

    info = RasterInfo(1000, 50, bands_of(("red", "green", "blue")), np.dtype(np.float32))
    windows = enlarge_windows(rows(), info, MODEL, FakeBackend(), strip_bytes=12 * 50 * 40)
    for top, _, block in windows:
        assert taken <= (top + block.shape[0]) / 2 + 2 * 6
        assert block.shape[0] <= 2 * 40
    assert taken == 1000


@pytest.mark.parametrize("size", [(79, 97), (90, 61), (45, 122), (46, 62), (89, 121)])
def test_a_reduced_result_equals_the_whole_reduced(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(6).random((45, 61, 3), np.float32)
    whole = by_windows(MODEL, picture)
    # Another implementation, tap by tap, of the same published filter.
    expected = np.clip(bicubic(whole, size=size), 0, 1)
    for window_pixels in (25 * 25, 40 * 31, 512 * 512):
        reduced = by_windows(MODEL, picture, size=size, window_pixels=window_pixels)
        np.testing.assert_allclose(reduced, expected, rtol=0, atol=5e-6)


def test_a_halo_too_small_would_show() -> None:
    class Further(FakeBackend):
        """Opens a network that looks further than the card says."""

        def open(self, model: Model) -> FakeNetwork:
            return FakeNetwork(self, MODEL)

    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    tiled = by_windows(fake_model(halo=4), picture, Further(20 * 20))
    assert np.abs(tiled - by_windows(MODEL, picture)).max() > 1e-4


@pytest.mark.parametrize(("scale", "shapes"), [(3, "90,122.*135, 183"), (1, "90,122.*45, 61")])
def test_a_card_that_says_another_size_is_refused(
    model_file: Path, picture: Picture, scale: int, shapes: str
) -> None:
    """Else what lay in memory would be taken for a part of the picture."""
    model = open_model(model_file)
    wrong = replace(model, card=replace(model.card, scale=scale))
    with pytest.raises(ModelError, match=rf"random-x2.onnx: of 61x45 pixels .* makes .*{shapes}"):
        upres.enlarge(picture, model=wrong)


def test_a_model_that_needs_multiples_gets_them() -> None:
    strict = fake_model(halo=6, multiple_of=4)
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    backend = FakeBackend()
    tiled = by_windows(strict, picture, backend, window_pixels=30 * 30)
    assert tiled.shape == (90, 122, 3)
    ((_, *window),) = backend.compiled
    assert [side % 4 for side in window] == [0, 0]
    # Away from the padded border, padding makes no difference.
    inner = np.s_[: 2 * (45 - 6), : 2 * (61 - 6)]
    np.testing.assert_allclose(tiled[inner], enlarged(MODEL, picture)[inner], rtol=0, atol=2e-6)


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


FORK = """
import os, signal, sys
import numpy as np
import upres

def child():
    number = os.fork()
    if number == 0:
        signal.alarm(60)  # or it would wait for ever
        try:
            print(upres.enlarge(grey, model=model).shape, flush=True)
        except upres.UpresError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(number, 0)

model, grey = upres.open_model(sys.argv[1]), np.zeros((8, 9), np.uint8)
child()
upres.enlarge(grey, model=model)
child()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_of_a_process_that_used_the_engine_is_told_instead_of_waiting(
    model_file: Path,
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(model_file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    before, after = result.stdout.splitlines()
    assert before == "(16, 18)"
    assert str(model_file) in after
    assert "forked" in after
    assert "spawn" in after
