"""The picture of an error map, judged by scikit-image and PIL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from upres.errors import OutputError
from upres.formats.image.error_picture import (
    LEGEND_HEIGHT,
    ErrorPictureSink,
    colour_table,
    round_up_to_digit,
    shown_to,
)
from upres.raster.info import RasterInfo, bands_of
from upres.raster.pixels import Float32Array


def write(path: Path, widths: Float32Array, **facts: int) -> None:
    """Half-widths as one window after another, rows x columns x bands."""
    height, width, bands = widths.shape
    roles = bands_of(["grey", "other"][:bands])
    info = RasterInfo(height, width, roles, np.dtype(np.float32), **facts)
    with ErrorPictureSink(path) as sink:
        sink.begin(info, None)
        for top in range(0, height, 16):
            sink.write(0, top, 0, widths[top : top + 16])
        sink.commit(replace=True)


def test_equal_steps_are_equally_lighter() -> None:
    lightness = rgb2lab(colour_table()[None] / 255)[0, :, 0]
    steps = np.diff(lightness.reshape(16, 16).mean(1))
    assert steps.min() > 0.7 * steps.mean()
    assert steps.max() < 1.3 * steps.mean()
    assert lightness[0] < 12
    assert lightness[-1] > 90


def test_colours_tell_the_half_widths(tmp_path: Path) -> None:
    ramp = np.linspace(0.5, 40, 200, dtype=np.float32)
    widths = np.repeat(ramp[None, :, None], 50, 0)
    write(tmp_path / "e.png", widths)
    image = np.asarray(Image.open(tmp_path / "e.png"))
    assert image.shape == (50 + LEGEND_HEIGHT, 200, 3)
    distances = np.abs(image[25, :, None].astype(int) - colour_table()[None]).sum(2)
    assert distances.min(1).max() == 0
    np.testing.assert_allclose(distances.argmin(1) / 255 * 40, ramp, atol=0.16)
    # Its text says it, too.
    with Image.open(tmp_path / "e.png") as opened:
        opened.load()
        assert opened.info["Half-width-of-the-last-colour"] == "40"
    assert shown_to(tmp_path / "e.png") == 40
    legend = image[50:]
    assert (legend == 0).all(2).sum() > 30  # its numbers
    assert (legend[4:18, 100] == colour_table()[128]).all(1).any() or legend[10, 100].any()


def test_the_largest_of_several_bands_is_shown(tmp_path: Path) -> None:
    widths = np.full((20, 140, 2), 1, np.float32)
    widths[:, 70:, 1] = 10
    write(tmp_path / "e.png", widths)
    image = np.asarray(Image.open(tmp_path / "e.png"))
    assert (image[5, 100] == colour_table()[255]).all()
    assert (image[5, 10] == colour_table()[26]).all()


def test_a_narrow_picture_gets_a_legend_that_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "e.png", np.full((6, 4, 1), 3, np.float32))
    with Image.open(tmp_path / "e.png") as image:
        assert image.size == (128, 6 + LEGEND_HEIGHT)


def test_pages_and_frames_are_refused(tmp_path: Path) -> None:
    for facts in ({"page": 2}, {"frames": 3}):
        with pytest.raises(OutputError, match=r"choose \.tif"):
            write(tmp_path / "e.png", np.ones((4, 4, 1), np.float32), **facts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.5, 0.5), (0.51, 0.8), (1, 1), (3, 4), (11, 20), (99, 100), (650, 800)]
)
def test_the_range_ends_at_a_round_number(value: float, rounded: float) -> None:
    assert round_up_to_digit(value) == pytest.approx(rounded)
