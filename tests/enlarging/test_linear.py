"""Linear light on its way through a network and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

import upres
from upres.card import Compute, Model, ModelCard
from upres.engine.protocol import Choice, Limits
from upres.enlarging import pipeline
from upres.enlarging.measuring import measured
from upres.enlarging.options import Options
from upres.enlarging.plan import plan
from upres.errors import InputError, OutputError
from upres.raster.info import Cover, RasterInfo, Role, bands_of
from upres.raster.light import encode
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows

Array = NDArray[Any]

REPEATER = Model(Path("repeater.onnx"), ModelCard(name="repeater", scale=2, halo=3))


@dataclass
class Repeating:
    """A backend whose network repeats pixels, and keeps what it was given."""

    name: str = "repeating"
    device: str = "cpu"
    given: list[Float32Array] = field(default_factory=list)

    def open(self, model: Model) -> Self:
        return self

    def compile(self, height: int, width: int) -> Self:
        return self

    def __call__(self, window: Float32Array, /) -> Float32Array:
        self.given.append(window.copy())
        return window.repeat(2, 2).repeat(2, 3)

    def limits(self, model: Model) -> Limits:
        return Limits(30 * 30)

    def choose(self, variants: Sequence[Model]) -> Choice:
        return Choice(variants[0], "the first")

    def best_compute(self, card: ModelCard) -> Compute:
        return "fp32"

    def can_compute(self, compute: Compute) -> bool:
        return True


class Light:
    """A source of linear light, in memory."""

    def __init__(self, pixels: Array, *roles: Role, cover: Cover = "straight") -> None:
        self.pixels = pixels
        self.info = RasterInfo(
            *pixels.shape[:2],
            bands=bands_of(roles, None, None),
            dtype=pixels.dtype,
            colours="linear",
            cover=cover,
        )
        self.carried: object = None

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        yield iter([self.pixels[:7], self.pixels[7:]])


class Kept:
    """A sink that puts windows together, just as they come."""

    def begin(self, info: RasterInfo, carried: object) -> None:
        self.info = info
        shape = (info.height, info.width, len(info.varying))
        self.pixels = np.full(shape, np.nan, np.float32)

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        self.pixels[top : top + block.shape[0], left : left + block.shape[1]] = block

    def commit(self, *, replace: bool = True) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...


def enlarged(
    pixels: Array, *roles: Role, cover: Cover = "straight"
) -> tuple[Float32Array, list[Float32Array]]:
    """The samples that a sink gets, and what the network was given."""
    backend, sink = Repeating(), Kept()
    source = Light(pixels, *roles, cover=cover)
    made = plan(source.info, Options(model=REPEATER), backend)
    pipeline.enlarge_into(source, made, sink, beside=Path("beside"), backend=backend)
    return sink.pixels, backend.given


def doubled(pixels: Array) -> Array:
    return pixels.repeat(2, 0).repeat(2, 1)


RGB: tuple[Role, ...] = ("red", "green", "blue")
RGBA: tuple[Role, ...] = (*RGB, "alpha")


def ramp(most: float, dtype: Any = np.float16) -> Array:
    """From 0 to ``most``, 40 x 50 x 3."""
    y, x = np.mgrid[:40, :50]
    return np.stack([x / 49, y / 39, (x + y) / 88], 2).astype(dtype) * dtype(most)


@pytest.mark.parametrize("most", [0.01, 1, 37, 1000, 60000])
def test_of_half_precision_every_sample_comes_out_exact(most: float) -> None:
    light = ramp(most)
    result, _ = enlarged(light, *RGB)
    np.testing.assert_array_equal(result.astype(np.float16), doubled(light))


def test_of_single_precision_samples_come_out_to_a_few_millionths() -> None:
    light = ramp(1000, np.float32) + np.float32(1e-4)
    result, _ = enlarged(light, *RGB)
    np.testing.assert_allclose(result, doubled(light), rtol=4e-6)


def test_dark_tones_beside_light_below_zero_keep_their_digits() -> None:
    light = np.full((20, 20, 3), 1e-3, np.float32)
    light[:10] = 1000
    light[:, :5] = -0.01
    result, _ = enlarged(light, *RGB)
    np.testing.assert_allclose(result, doubled(light), rtol=1e-3)


def test_a_network_is_given_the_tones_of_a_photograph() -> None:
    light = ramp(1, np.float32)
    _, given = enlarged(light, *RGB)
    np.testing.assert_allclose(given[0][0, 1, 0, 0], encode(light)[0, 0, 1], atol=1e-6)
    middle = encode(np.float32([0.18]))[0]
    assert middle == pytest.approx(0.46, abs=0.01)  # of sRGB, middle grey
    assert all(window.min() >= 0 and window.max() <= 1 for window in given)


def with_edge(colour: tuple[float, float, float]) -> Array:
    """One colour that alpha, a ramp over columns, covers with: premultiplied."""
    alpha = np.clip((np.arange(40, dtype=np.float32) - 9) / 20, 0, 1)
    pixels = np.empty((30, 40, 4), np.float32)
    pixels[:, :, 3] = alpha
    pixels[:, :, :3] = np.float32(colour) * alpha[:, None]
    return pixels


def test_colours_are_divided_by_alpha_for_the_network_and_multiplied_again() -> None:
    pixels = with_edge((0.5, 0.25, 4.0))
    result, given = enlarged(pixels, *RGBA, cover="associated")
    np.testing.assert_allclose(result, doubled(pixels), rtol=4e-6, atol=1e-7)
    # Where it is seen, and beside, all of the network's input is of the one colour.
    high = encode(np.float32([4]))[0]
    colour = encode(np.float32([0.5, 0.25, 4.0])) / high
    colours = next(window for window in given if np.ptp(window[0], axis=0).max() > 0.1)
    np.testing.assert_allclose(colours[0][:, :, 14], np.tile(colour, (30, 1)).T, rtol=1e-5)


def test_light_that_covers_nothing_is_kept() -> None:
    pixels = with_edge((0.5, 0.25, 0.125))
    pixels[5:15, :6, :3] = (3.0, 2.0, 0.5)  # a glow, where alpha is 0
    result, _ = enlarged(pixels, *RGBA, cover="associated")
    np.testing.assert_allclose(result, doubled(pixels), rtol=4e-6, atol=1e-7)


def test_a_glow_with_next_to_no_alpha_is_taken_for_light_without_cover(tmp_path: Path) -> None:
    pixels = with_edge((0.5, 0.25, 0.125))
    pixels[5:15, :6] = (3.0, 2.0, 0.5, 1e-6)
    source = Light(pixels, *RGBA, cover="associated")
    assert measured(source, tmp_path).cover == "emission"
    result, _ = enlarged(pixels, *RGBA, cover="associated")
    # Alpha of a millionth is beside 1 no more than a network's rounding.
    np.testing.assert_allclose(result, doubled(pixels), rtol=4e-6, atol=1e-6)
    half = with_edge((0.5, 0.25, 0.125)).astype(np.float16)
    assert measured(Light(half, *RGBA, cover="associated"), tmp_path).cover == "associated"


def test_bands_of_no_colour_are_no_light_and_are_not_filled_where_alpha_is_zero() -> None:
    pixels = np.concatenate([with_edge((0.5, 0.5, 0.5)), np.zeros((30, 40, 1), np.float32)], 2)
    pixels[:, :, 4] = np.arange(40) * 2.5e8 - 1e9  # a depth
    result, _ = enlarged(pixels, *RGBA, "other", cover="associated")
    np.testing.assert_allclose(result[:, :, 4], doubled(pixels)[:, :, 4], atol=1e10 * 2e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value: float) -> None:
    light = ramp(1)
    light[3, 4, 1] = value
    with pytest.raises(InputError, match="infinite or not numbers"):
        enlarged(light, *RGB)


# The shipped model, and files.

OpenEXR = pytest.importorskip("OpenEXR")


def put(path: Path, pixels: Array, names: str = "RGB") -> None:
    planes = {n: np.ascontiguousarray(pixels[:, :, i]) for i, n in enumerate(names)}
    OpenEXR.File({}, planes).write(str(path))


def got(path: Path, names: str = "RGB") -> Array:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return np.stack([file.channels()[name].pixels for name in names], 2).copy()


def enlarge(source: Path, target: Path) -> None:
    upres.enlarge_file(source, target, scale=2, model="fast", precision="fp32")


def test_linear_exr_and_gamma_encoded_png_give_the_same_picture(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :80]
    encoded = np.stack([0.5 + 0.4 * np.sin(x / 9 + i) * np.cos(y / 7) for i in range(3)], 2)
    encoded[20:40, 30:50] = (0.9, 0.02, 0.2)
    stored = np.round(encoded * 65535).astype(np.uint16)
    png = pyvips.Image.new_from_array(stored).copy(interpretation="rgb16")
    png.pngsave(str(tmp_path / "in.png"))
    light = np.where(
        stored / 65535 <= 0.04045, stored / 65535 / 12.92, ((stored / 65535 + 0.055) / 1.055) ** 2.4
    )
    put(tmp_path / "in.exr", light.astype(np.float32))
    enlarge(tmp_path / "in.png", tmp_path / "out.png")
    enlarge(tmp_path / "in.exr", tmp_path / "out.exr")
    of_png = pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy() / 65535
    of_exr = encode(got(tmp_path / "out.exr"))
    # The result in PNG is rounded to 16 bits: by half a 65535th, and float32 adds little.
    assert np.abs(of_exr - of_png).max() < 1 / 65535


def test_a_highlight_changes_nothing_beyond_the_networks_reach(tmp_path: Path) -> None:
    places = {"a": (slice(20, 24), slice(20, 24)), "b": (slice(20, 24), slice(100, 104))}
    results = {}
    for name, place in places.items():
        light = np.full((44, 124, 3), 0.01, np.float32)
        light[place] = 1000
        put(tmp_path / f"{name}.exr", light)
        enlarge(tmp_path / f"{name}.exr", tmp_path / f"{name}2.exr")
        results[name] = got(tmp_path / f"{name}2.exr")
    assert all(result.min() >= 0 and result.max() <= 1000 for result in results.values())
    assert all(result.max() > 700 for result in results.values())
    halo = upres.open_model("fast", scale=2).card.halo or 0
    # Of a place that neither light reaches, both pictures are the same dark.
    clear = slice(2 * (24 + halo), 2 * (100 - halo))
    assert clear.stop - clear.start > 60
    middle = [result[:, clear] for result in results.values()]
    np.testing.assert_allclose(*middle, rtol=1e-4)
    # Away from the borders, too, on which a network has half a level of its own.
    inside = results["a"][2 * halo : -2 * halo, clear]
    np.testing.assert_allclose(inside, 0.01, rtol=0.03)


def test_a_gamma_encoded_format_is_refused_before_the_work(tmp_path: Path) -> None:
    put(tmp_path / "in.exr", ramp(4))
    for suffix in (".png", ".jpg", ".tif", ".webp", ".ppm"):
        with pytest.raises(OutputError, match=r"cannot hold linear light: choose .*\.exr"):
            enlarge(tmp_path / "in.exr", tmp_path / f"out{suffix}")
