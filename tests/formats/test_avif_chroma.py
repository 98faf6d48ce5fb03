"""Chroma of AVIF that has fewer samples than luma; avifdec and Pillow, by libavif, judge."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pyvips
from contract import taken
from numpy.typing import NDArray

from upres.formats.image import avif_chroma
from upres.formats.registry import open_pages

Array = NDArray[Any]

by_avifenc = pytest.mark.skipif(
    shutil.which("avifenc") is None or shutil.which("avifdec") is None,
    reason="needs avifenc and avifdec",
)


def coloured(width: int, height: int, *, alpha: bool = False) -> Array:
    """Waves of colour, and shapes with hard edges of saturated colours."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 3), np.sin((x + y) / 4), np.cos(y / 3), np.sin(x / 20)]
    samples = (127 + 100 * np.stack(waves, 2)).astype(np.uint8)
    samples[20:40, 30:50, :3] = (255, 0, 0)
    samples[41:50, 10:21, :3] = (0, 0, 255)
    return samples if alpha else samples[:, :, :3]


def encoded(folder: Path, samples: Array, *options: str) -> Path:
    PIL.Image.fromarray(samples).save(folder / "in.png")
    command = ["avifenc", "-j", "1", "-s", "8", "--min", "0", "--max", "4", *options]
    command += [str(folder / "in.png"), str(folder / "in.avif")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "in.avif"


def by_avifdec(path: Path) -> Array:
    """Samples in [0, 255]; in 16 bits, as its way to 8 bits is up to 17 levels off itself."""
    target = path.with_suffix(".decoded.png")
    command = ["avifdec", "-j", "1", "--depth", "16", str(path), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    image = pyvips.Image.pngload(str(target), revalidate=True)
    return image.numpy().reshape(image.height, image.width, -1) / 257


def by_upres(path: Path) -> Array:
    """Samples in [0, 255]."""
    (source,) = open_pages(path)
    samples = taken(source, path)[0].astype(float)
    if source.info.dtype == np.uint8:
        return samples
    bits = source.carried.find("bits-per-sample")  # type: ignore[attr-defined]
    return samples / (((1 << bits) - 1) << (16 - bits)) * 255


@by_avifenc
@pytest.mark.parametrize("yuv", ["420", "422", "444"])
@pytest.mark.parametrize("depth", ["8", "10", "12"])
@pytest.mark.parametrize("value_range", ["full", "limited"])
@pytest.mark.parametrize("colours", ["1/13/6", "1/13/1", "9/13/9", "1/13/2"])
def test_chroma_is_interpolated(
    tmp_path: Path, yuv: str, depth: str, value_range: str, colours: str
) -> None:
    path = encoded(
        tmp_path,
        coloured(81, 63),
        *("--yuv", yuv, "--depth", depth, "--range", value_range, "--cicp", colours),
    )
    difference = np.abs(by_upres(path) - by_avifdec(path))
    assert difference.max() < 0.6
    assert np.abs((by_upres(path) - by_avifdec(path)).mean((0, 1))).max() < 0.05


@by_avifenc
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (3, 3), (64, 64), (301, 17)])
@pytest.mark.parametrize("yuv", ["420", "422"])
def test_any_size_with_alpha(tmp_path: Path, yuv: str, size: tuple[int, int]) -> None:
    path = encoded(tmp_path, coloured(*size, alpha=True), "--yuv", yuv)
    ours, theirs = by_upres(path), by_avifdec(path)
    assert ours.shape == theirs.shape == (size[1], size[0], 4)
    assert np.abs(ours - theirs).max() < 0.6


@by_avifenc
@pytest.mark.parametrize(
    ("yuv", "options"),
    [
        ("420", ("--irot", "1")),
        ("420", ("--irot", "2")),
        ("420", ("--irot", "3", "--imir", "1")),
        *[(yuv, ("--imir", axis)) for yuv in ("420", "422") for axis in "01"],
        *[(yuv, ("--grid", "2x2")) for yuv in ("420", "422")],
    ],
)
def test_turned_pictures_and_grids(tmp_path: Path, yuv: str, options: tuple[str, ...]) -> None:
    size = (256, 128) if "--grid" in options else (80, 64)
    path = encoded(tmp_path, coloured(*size), "--yuv", yuv, *options)
    ours, theirs = by_upres(path), by_avifdec(path)
    if "--irot" in options or "--imir" in options:  # which avifdec leaves to be done
        turns = int(options[options.index("--irot") + 1]) if "--irot" in options else 0
        theirs = np.rot90(theirs, turns)
        if "--imir" in options:
            theirs = np.flip(theirs, int(options[options.index("--imir") + 1]))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.6


def test_an_animation_s_frames(tmp_path: Path) -> None:
    path = tmp_path / "in.avif"
    frames = [PIL.Image.fromarray(coloured(80, 64)[:: 1 - 2 * i].copy()) for i in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:], subsampling="4:2:0", quality=90)
    (source,) = open_pages(path)
    ours = taken(source, path)
    with PIL.Image.open(path) as image:
        for number, frame in enumerate(ours):
            image.seek(number)
            assert np.abs(frame - np.asarray(image.convert("RGB")).astype(int)).max() <= 3


def colr(matrix: int, full_range: int = 0x80) -> tuple[bytes, bytes]:
    return b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, matrix, full_range)


QUARTER, HALF, WHOLE, GREY = (
    (b"av1C", b"\x81\0\x0c\0"),
    (b"av1C", b"\x81\0\x08\0"),
    *(
        (b"av1C", b"\x81\0\0\0"),
        (b"av1C", b"\x81\0\x1c\0"),
    ),
)


@pytest.mark.parametrize(
    ("described", "down"),
    [
        ([QUARTER, colr(6)], True),
        ([HALF, colr(6)], False),
        ([WHOLE, colr(6)], None),
        ([WHOLE, colr(6, 0)], False),
        ([WHOLE, colr(0, 0)], None),
        ([GREY, colr(6, 0)], None),
        ([QUARTER], None),
        ([colr(6)], None),
        ([QUARTER, colr(0)], None),
        ([QUARTER, colr(8)], None),
        ([QUARTER, (b"colr", b"prof1234")], None),
        ([QUARTER, (b"colr", b"nclx")], None),
        ([(b"av1C", b""), colr(6)], None),
        ([HALF, colr(6), (b"irot", b"\1")], None),
        ([QUARTER, colr(6), (b"irot", b"\1")], True),
    ],
)
def test_pictures_that_are_left_to_the_library(
    described: list[tuple[bytes, bytes]], down: bool | None
) -> None:
    found = avif_chroma.of_properties(described)
    assert (None if found is None else found.down) is down
