"""GIF: frames, wherever in the picture, and whatever becomes of them; ImageMagick judges."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from contract import taken
from numpy.typing import NDArray

import fakes
from upres.errors import InputError
from upres.formats.registry import open_pages

Array = NDArray[np.uint8]

PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0])


def frame(
    number: int,
    left: int,
    top: int,
    width: int,
    height: int,
    *,
    dispose: int = 0,
    transparent: int | None = None,
    hundredths: int = 10,
    own: bool = False,
) -> bytes:
    """A frame of stripes of four colours, with the blocks that tell of it."""
    y, x = np.mgrid[:height, :width]
    picture = PIL.Image.fromarray(((x // 3 + y // 5 + number) % 4).astype(np.uint8), "P")
    picture.putpalette(PALETTE)
    file = io.BytesIO()
    picture.save(file, "GIF", optimize=False)
    content = file.getvalue()
    table = 13 + 3 * 2 ** (content[10] % 8 + 1)
    start = content.index(b",", table)
    pixels = content[start + 10 : -1]
    flags, colours = (0x81, PALETTE[::-1]) if own else (0, b"")
    packed = dispose << 2 | (transparent is not None)
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", packed, hundredths, transparent or 0, 0)
    return (
        control + b"," + struct.pack("<HHHHB", left, top, width, height, flags) + colours + pixels
    )


LOOPS = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"


def header(width: int, height: int, background: int = 2) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xA1, background, 0) + PALETTE


def written(path: Path, *frames: bytes, size: tuple[int, int] = (40, 30)) -> Path:
    path.write_bytes(header(*size) + LOOPS + b"".join(frames) + b";")
    return path


def visible(samples: Any) -> NDArray[np.int_]:
    """RGBA, frames x height x width x 4; what does not show has no colour."""
    samples = np.asarray(samples, int)
    if samples.shape[-1] == 3:
        samples = np.concatenate([samples, np.full((*samples.shape[:-1], 1), 255)], -1)
    return np.where(samples[..., 3:] > 0, samples, 0)


def by_imagemagick(path: Path, folder: Path) -> NDArray[np.int_]:
    """The frames as ImageMagick composes them."""
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    folder.mkdir(exist_ok=True)
    command = ["convert", str(path), "-coalesce", f"PNG32:{folder}/%03d.png"]
    subprocess.run(command, check=True, capture_output=True)
    pictures = [PIL.Image.open(each).convert("RGBA") for each in sorted(folder.glob("*.png"))]
    return visible(np.stack([np.asarray(picture) for picture in pictures]))


def ours(path: Path) -> NDArray[np.int_]:
    (source,) = open_pages(path)
    return visible(taken(source, path.parent / "beside"))


WHOLE = frame(0, 0, 0, 40, 30)
CASES = {
    "background": [WHOLE, frame(1, 5, 6, 9, 8, dispose=2), frame(2, 20, 10, 9, 8, dispose=2)],
    "background, first": [frame(0, 0, 0, 40, 30, dispose=2), frame(1, 5, 6, 9, 8)],
    "previous": [WHOLE, frame(1, 5, 6, 9, 8, dispose=3), frame(2, 9, 9, 9, 8)],
    "previous after background": [
        frame(0, 0, 0, 40, 30, dispose=1),
        frame(1, 2, 2, 20, 20, dispose=2),
        frame(2, 8, 8, 20, 20, dispose=3, transparent=1),
        frame(3, 30, 3, 9, 20),
    ],
    "parts": [frame(0, 0, 7, 40, 15), frame(1, 10, 0, 20, 30)],
    "a still of a part": [frame(0, 3, 4, 20, 20)],
    "transparent": [
        frame(0, 0, 0, 40, 30, transparent=3),
        frame(1, 0, 0, 40, 30, transparent=0, dispose=2),
        frame(2, 4, 4, 30, 20, transparent=2),
    ],
    "own colours": [WHOLE, frame(1, 1, 2, 30, 20, own=True), frame(2, 3, 3, 9, 9)],
    "beyond the picture": [WHOLE, frame(1, 30, 20, 40, 30, dispose=2), frame(2, 35, 1, 9, 9)],
    "outside of the picture": [WHOLE, frame(1, 50, 40, 9, 9), frame(2, 3, 3, 9, 9)],
}


@pytest.mark.parametrize("name", CASES)
def test_frames_are_composed_as_imagemagick_does(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "in.gif", *CASES[name])
    expected = by_imagemagick(path, tmp_path / "frames")
    np.testing.assert_array_equal(ours(path), expected)


def test_random_frames_are_composed_as_imagemagick_does(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frames = [WHOLE]
    for number in range(30):
        left, top = random.integers(0, 30), random.integers(0, 20)
        width, height = random.integers(1, 12, 2)
        transparent = int(random.integers(0, 4)) if random.random() < 0.5 else None
        dispose = int(random.integers(0, 4))
        frames.append(
            frame(number, left, top, width, height, dispose=dispose, transparent=transparent)
        )
    path = written(tmp_path / "in.gif", *frames)
    np.testing.assert_array_equal(ours(path), by_imagemagick(path, tmp_path / "frames"))


@pytest.mark.parametrize("junk", [b"\0", b"\0\0\0", b"junk between", header(40, 30)])
def test_bytes_between_frames_are_passed_over_and_no_frame_is_lost(
    tmp_path: Path, junk: bytes
) -> None:
    path = tmp_path / "in.gif"
    frames = [WHOLE, frame(1, 5, 6, 9, 8, dispose=2), frame(2, 20, 10, 9, 8)]
    path.write_bytes(header(40, 30) + LOOPS + junk.join(frames) + b";")
    expected = by_imagemagick(path, tmp_path / "frames")
    assert len(expected) == 3
    np.testing.assert_array_equal(ours(path), expected)


def test_a_header_between_frames_brings_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "in.gif"
    other = b"GIF89a" + struct.pack("<HHBBB", 40, 30, 0xA1, 0, 0) + PALETTE[::-1]
    path.write_bytes(header(40, 30) + LOOPS + WHOLE + other + frame(1, 0, 0, 40, 30) + b";")
    plain = written(tmp_path / "own.gif", WHOLE, frame(1, 0, 0, 40, 30, own=True))
    np.testing.assert_array_equal(ours(path), ours(plain))


def test_the_first_frame_enlarges_a_header_that_is_too_small(tmp_path: Path) -> None:
    path = written(tmp_path / "in.gif", frame(0, 2, 3, 40, 30), size=(10, 0))
    (source,) = open_pages(path)
    assert (source.info.width, source.info.height) == (42, 33)  # as browsers have it


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
def test_an_animation_that_lacks_its_end_is_refused(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "in.gif", WHOLE, frame(1, 5, 6, 9, 8), frame(2, 20, 10, 9, 8))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="damaged or truncated"):
        open_pages(path)


def test_frames_of_no_size_are_none(tmp_path: Path) -> None:
    path = written(tmp_path / "in.gif", size=(0, 0))
    with pytest.raises(InputError, match="damaged or truncated"):
        open_pages(path)


def test_timing_is_the_file_s_own(tmp_path: Path) -> None:
    frames = [frame(n, 0, 0, 40, 30, hundredths=each) for n, each in enumerate((0, 1, 7, 65535))]
    path = written(tmp_path / "in.gif", *frames)
    (source,) = open_pages(path)
    assert [each * 100 for each in source.carried.timing] == [0, 1, 7, 65535]


@pytest.mark.parametrize("name", ["background", "parts", "transparent", "a still of a part"])
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_what_shows_through_shows_through_in_the_result(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = written(tmp_path / "in.gif", *CASES[name])
    target = tmp_path / f"out.{suffix}"
    fakes.enlarge_file(path, target)
    before = ours(path)[..., 3].repeat(2, 1).repeat(2, 2)
    after = np.stack([frame[..., 3] for frame in _frames(target, tmp_path)])
    assert after.shape == before.shape
    # The fake blurs, and so may edges, but nothing else.
    inside = _eroded(before == 255)
    outside = _eroded(before == 0)
    assert inside.any()
    assert after[inside].min() > 200
    assert not outside.any() or after[outside].max() < 50


def _frames(path: Path, folder: Path) -> list[NDArray[np.int_]]:
    """The frames of a result, by another program than wrote it."""
    if path.suffix == ".gif":
        return list(by_imagemagick(path, folder / "after"))
    with PIL.Image.open(path) as opened:
        count = getattr(opened, "n_frames", 1)
        found = []
        for number in range(count):
            opened.seek(number)
            found.append(np.asarray(opened.convert("RGBA"), int))
    return found


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where all pixels as near as four are in the mask, too."""
    for axis in (1, 2):
        for _ in range(4):
            up, down = np.roll(mask, 1, axis), np.roll(mask, -1, axis)
            mask = mask & up & down
    return mask


def test_the_shared_files_that_were_wrong_are_right(tmp_path: Path, shared_data: Path) -> None:
    faults = shared_data / "inputs" / "faults"
    for name in ("dispose_bgnd_rgba", "border_touching_layers", "test_extents_transparency"):
        expected = by_imagemagick(faults / f"{name}.gif", tmp_path / name)
        np.testing.assert_array_equal(ours(faults / f"{name}.gif"), expected)
    with pytest.raises(InputError, match="damaged or truncated"):
        open_pages(faults / "truncated_40_percent_of_cogs.gif")
