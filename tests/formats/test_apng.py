"""Animated PNG: frames composed as the specification says, and nothing lost on the way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest
from contract import Array, FileSourceTests, SinkTests, info_of, taken, waves
from hypothesis import given
from hypothesis import strategies as st

from upres.errors import InputError, OutputError
from upres.formats.image.apng import ApngSource
from upres.formats.image.apng_sink import fraction
from upres.formats.metadata import timing
from upres.formats.metadata.carried import nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.source import Source

NONE, BACKGROUND, PREVIOUS = range(3)
SOURCE, OVER = range(2)


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def packed(samples: Array) -> bytes:
    """Rows without a filter, compressed."""
    rows = samples.astype(samples.dtype.newbyteorder(">"))
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))


def made(
    size: tuple[int, int],
    frames: Sequence[tuple[Array, tuple[int, int], int, int, tuple[int, int]]],
    *,
    plays: int = 0,
    default: Array | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A file of frames: samples, left and top, disposal, blending, delay; height x width ``size``.

    ``default`` is an image that is no frame.
    """
    first = frames[0][0]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[first.shape[2]]
    head = struct.pack(">IIBBBBB", size[1], size[0], first.itemsize * 8, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), before]
    parts.append(chunk(b"acTL", struct.pack(">II", len(frames), plays)))
    if default is not None:
        parts.append(chunk(b"IDAT", packed(default)))
    number = 0
    for index, (samples, (left, top), dispose, blend, delay) in enumerate(frames):
        height, width = samples.shape[:2]
        control = struct.pack(
            ">IIIIIHHBB", number, width, height, left, top, *delay, dispose, blend
        )
        parts.append(chunk(b"fcTL", control))
        number += 1
        content = packed(samples)
        if index == 0 and default is None:
            parts += [chunk(b"IDAT", content[:20]), chunk(b"IDAT", content[20:])]
        else:
            for piece in (content[:11], content[11:]):
                parts.append(chunk(b"fdAT", struct.pack(">I", number) + piece))
                number += 1
    return b"".join([*parts, after, chunk(b"IEND")])


def opened(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    (source,) = open_pages(path)
    return source


def by_pillow(path: Path) -> Array:
    with PIL.Image.open(path) as image:
        frames = [np.asarray(f.convert("RGBA")) for f in PIL.ImageSequence.Iterator(image)]
    return np.stack(frames)


class TestApngSource(FileSourceTests):
    suffix = ".png"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(4, 90, 77, 4)
        first, *others = (PIL.Image.fromarray(frame) for frame in samples)
        first.save(path, save_all=True, append_images=others, duration=40, blend=0)
        return samples


class TestDeepApngSource(FileSourceTests):
    suffix = ".apng"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(3, 60, 44, 3, np.uint16, 65535)
        path.write_bytes(
            made((60, 44), [(frame, (0, 0), NONE, SOURCE, (1, 25)) for frame in samples])
        )
        return samples


class TestApngSink(SinkTests):
    suffix = ".png"
    info = info_of(40, 56, "red", "green", "blue", frames=4)

    def read(self, path: Path) -> Array:
        with PIL.Image.open(path) as image:
            return np.stack([np.asarray(f) for f in PIL.ImageSequence.Iterator(image)])


class TestAlphaApngSink(TestApngSink):
    suffix = ".apng"
    info = info_of(40, 56, "red", "green", "blue", "alpha", frames=3)


class TestDeepApngSink(SinkTests):
    suffix = ".png"
    info = info_of(40, 56, "red", "green", "blue", dtype=np.uint16, frames=3, high=65535)

    def read(self, path: Path) -> Array:
        """By the rows of each frame as they stand in the file, their filters undone here."""
        content, at, parts = path.read_bytes(), 8, []
        while at < len(content):
            length, kind = struct.unpack_from(">I4s", content, at)
            data = content[at + 8 : at + 8 + length]
            assert struct.unpack_from(">I", content, at + 8 + length)[0] == zlib.crc32(kind + data)
            if kind == b"fcTL":
                parts.append(b"")
            elif kind in (b"IDAT", b"fdAT"):
                parts[-1] += data if kind == b"IDAT" else data[4:]
            at += 12 + length
        return np.stack([unfiltered(zlib.decompress(part), 56, 3) for part in parts])


def unfiltered(content: bytes, width: int, bands: int) -> Array:
    """Rows of 16 bits of filters 0 to 3 (PNG, section 9)."""
    step, stride = 2 * bands, 2 * bands * width
    rows = [np.zeros(stride + step, int)]
    for start in range(0, len(content), stride + 1):
        row, above = np.zeros(stride + step, int), rows[-1]
        for i, value in enumerate(content[start + 1 : start + 1 + stride], step):
            left, up = row[i - step], above[i]
            row[i] = (value + (0, left, up, (left + up) // 2)[content[start]]) % 256
        rows.append(row)
    whole = np.array([row[step:] for row in rows[1:]], np.uint8)
    return whole.view(">u2").reshape(len(whole), width, bands).astype(np.uint16)


# Pillow does not take back what it has blended; see the test of a single pixel below.
@pytest.mark.parametrize(
    ("dispose", "blend"),
    [(NONE, SOURCE), (NONE, OVER), (BACKGROUND, SOURCE), (BACKGROUND, OVER), (PREVIOUS, SOURCE)],
)
def test_frames_are_composed_as_pillow_composes_them(
    tmp_path: Path, dispose: int, blend: int
) -> None:
    first = waves(1, 30, 40, 4)[0]
    parts = waves(4, 13, 17, 4)[1:]
    # Where alpha is neither, Pillow pastes, and does not blend.
    first[..., 3] = first[..., 3] // 128 * 255
    parts[..., 3] = parts[..., 3] // 128 * 255
    frames = [(first, (0, 0), NONE, SOURCE, (1, 10))]
    places = [(3, 4), (10, 9), (23, 17)]
    frames += [(p, at, dispose, blend, (1, 10)) for p, at in zip(parts, places, strict=True)]
    frames.append((parts[0], (1, 1), NONE, OVER, (1, 10)))
    source = opened(tmp_path / "a.png", made((30, 40), frames))
    mine, pillows = taken(source, tmp_path / "b"), by_pillow(tmp_path / "a.png")
    np.testing.assert_array_equal(mine[..., 3], pillows[..., 3])
    shown = mine[..., 3] > 0
    np.testing.assert_array_equal(mine[shown], pillows[shown])


def test_deep_frames_are_blended_by_the_formula(tmp_path: Path) -> None:
    below, above = waves(2, 8, 9, 4, np.uint16, 65535)
    frames = [(s, (0, 0), NONE, OVER, (1, 10)) for s in (below, above)]
    _, result = taken(opened(tmp_path / "a.png", made((8, 9), frames)), tmp_path / "b")
    a, b = above[..., 3:] / 65535, below[..., 3:] / 65535
    alpha = a + b * (1 - a)
    colours = (above[..., :3] * a + below[..., :3] * b * (1 - a)) / alpha
    np.testing.assert_allclose(result[..., :3], colours, atol=0.51)
    np.testing.assert_allclose(result[..., 3:], alpha * 65535, atol=0.51)


def test_what_is_taken_back_is_what_was_there_before(tmp_path: Path) -> None:
    def dot(value: int, alpha: int) -> Array:
        return np.array([[[value, alpha]]], np.uint8)

    frames = [
        (dot(9, 255), (0, 0), NONE, SOURCE, (1, 10)),
        (dot(50, 255), (0, 0), PREVIOUS, SOURCE, (1, 10)),
        (dot(70, 255), (0, 0), PREVIOUS, OVER, (1, 10)),
        (dot(0, 0), (0, 0), NONE, OVER, (1, 10)),
        (dot(80, 255), (0, 0), BACKGROUND, OVER, (1, 10)),
        (dot(0, 0), (0, 0), NONE, OVER, (1, 10)),
    ]
    result = taken(opened(tmp_path / "a.png", made((1, 1), frames)), tmp_path / "b")
    expected = [[9, 255], [50, 255], [70, 255], [9, 255], [80, 255], [0, 0]]
    assert result[:, 0, 0].tolist() == expected


def test_opaque_frames_show_through_where_nothing_has_been_put(tmp_path: Path) -> None:
    part, default = waves(1, 5, 6, 3)[0], waves(1, 20, 30, 3)[0]
    frames = [(part, (4, 3), BACKGROUND, SOURCE, (1, 10)), (part, (20, 10), NONE, OVER, (1, 10))]
    source = opened(tmp_path / "a.png", made((20, 30), frames, default=default))
    assert source.info.bands[-1].role == "alpha"
    result = taken(source, tmp_path / "b")
    expected = np.zeros((2, 20, 30, 4), np.uint8)
    for frame, (left, top) in zip(expected, [(4, 3), (20, 10)], strict=True):
        frame[top : top + 5, left : left + 6] = np.dstack([part, np.full((5, 6), 255)])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("dispose", "alpha"), [(NONE, False), (BACKGROUND, True), (PREVIOUS, True)]
)
def test_whether_anything_shows_through_is_told_by_the_frames(
    tmp_path: Path, dispose: int, alpha: bool
) -> None:
    whole, part = waves(1, 20, 30, 3)[0], waves(1, 5, 6, 3)[0]
    frames = [(whole, (0, 0), dispose, SOURCE, (1, 9)), (part, (1, 1), NONE, SOURCE, (1, 9))]
    source = opened(tmp_path / "a.png", made((20, 30), frames))
    assert (source.info.bands[-1].role == "alpha") == alpha


def test_palettes_and_low_depths_are_read(tmp_path: Path) -> None:
    frames = [PIL.Image.new("P", (9, 8), i) for i in range(3)]
    for frame in frames:
        frame.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=20, disposal=0)
    (source,) = open_pages(path)
    np.testing.assert_array_equal(taken(source, tmp_path / "b")[..., :3], by_pillow(path)[..., :3])


def test_timing_and_metadata_come_through_whole(tmp_path: Path) -> None:
    delays = [(1, 30), (1001, 30000), (0, 0), (7, 0), (65535, 1)]
    text = chunk(b"tEXt", b"Title\0Harbour")
    physical = chunk(b"pHYs", struct.pack(">IIB", 3937, 3937, 1))
    samples = waves(5, 12, 14, 3, np.uint16, 65535)
    content = made(
        (12, 14),
        [(s, (0, 0), NONE, SOURCE, d) for s, d in zip(samples, delays, strict=True)],
        plays=3,
        before=physical + text,
        after=chunk(b"tEXt", b"Author\0Nobody"),
    )
    source = opened(tmp_path / "a.png", content)
    with create_sink(tmp_path / "out.png") as sink:
        sink.begin(source.info, source.carried)
        for number, frame in enumerate(taken(source, tmp_path / "b")):
            sink.write(number, 0, 0, (frame / 65535).astype(np.float32))
        sink.commit(replace=True)
    result = (tmp_path / "out.png").read_bytes()
    assert result.count(physical) == result.count(text) == 1
    with PIL.Image.open(tmp_path / "out.png") as image:
        assert image.info["loop"] == 3
        assert image.text == {"Title": "Harbour", "Author": "Nobody"}
        assert image.n_frames == 5
    (again,) = open_pages(tmp_path / "out.png")
    seconds = [Fraction(1, 30), Fraction(1001, 30000), Fraction(0), Fraction(7, 100), 65535]
    assert list(timing.seconds(again.carried)) == seconds  # type: ignore[arg-type]
    np.testing.assert_array_equal(taken(again, tmp_path / "b"), samples)


def test_what_exif_turns_is_turned_frame_by_frame(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    samples = waves(3, 20, 30, 3)
    frames = [(s, (0, 0), NONE, SOURCE, (1, 10)) for s in samples]
    before = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    source = opened(tmp_path / "a.png", made((20, 30), frames, before=before))
    assert (source.info.height, source.info.width) == (30, 20)
    np.testing.assert_array_equal(taken(source, tmp_path / "b"), np.rot90(samples, -1, axes=(1, 2)))


def damaged(name: str) -> bytes:
    """A file with one fault."""
    samples = waves(2, 20, 30, 3)
    frames: Any = [(s, (0, 0), NONE, SOURCE, (1, 10)) for s in samples]
    if name == "outside":
        frames[1] = (samples[1], (1, 0), NONE, SOURCE, (1, 10))
    if name == "far outside":
        frames[1] = (samples[1], (2**32 - 1, 0), NONE, SOURCE, (1, 10))
    content = made((20, 30), frames)
    at = content.index(b"fdAT")
    match name:
        case "a pixel's byte":
            return content[: at + 9] + bytes([content[at + 9] ^ 1]) + content[at + 10 :]
        case "no last frame":
            start = content.rindex(b"fcTL") - 4
            return content[:start] + chunk(b"IEND")
        case "no pixels of a frame":
            return content[: at - 4] + chunk(b"IEND")
        case "no end":
            return content[:-12]
        case "more frames than told":
            return content.replace(
                chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"acTL", struct.pack(">II", 1, 0))
            )
        case "fcTL's byte":
            start = content.rindex(b"fcTL")
            return content[: start + 5] + b"\x07" + content[start + 6 :]
    return content


@pytest.mark.parametrize(
    "name",
    [
        *("outside", "far outside", "a pixel's byte", "no last frame", "no pixels of a frame"),
        *("no end", "more frames than told", "fcTL's byte"),
    ],
)
def test_damage_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="damaged or truncated") as caught:
        taken(opened(tmp_path / "a.png", damaged(name)), tmp_path / "b")
    assert "\n" not in str(caught.value)


def test_a_huge_canvas_takes_no_memory_until_it_is_read(tmp_path: Path) -> None:
    part = waves(1, 5, 6, 3)[0]
    default = chunk(b"IDAT", b"")
    content = made((5, 6), [(part, (0, 0), NONE, SOURCE, (1, 10))], before=b"")
    head = content[16:29]
    size = struct.pack(">II", 9000, 9000) + head[8:]
    content = content.replace(chunk(b"IHDR", head), chunk(b"IHDR", size))
    source = opened(tmp_path / "a.png", content)
    assert isinstance(source, ApngSource)
    assert (source.info.width, default[:0]) == (9000, b"")


def test_formats_refuse_frames_that_are_shown_for_longer_than_they_tell(tmp_path: Path) -> None:
    info = info_of(9, 9, "red", "green", "blue", frames=2)
    for suffix, seconds in ((".gif", 656), (".webp", 16778), (".png", 65536)):
        carried = timing.told(nothing_carried(), [Fraction(1), Fraction(seconds)], 0)
        with (
            pytest.raises(OutputError, match="shown for"),
            create_sink(tmp_path / f"a{suffix}") as sink,
        ):
            sink.begin(info, carried)


@given(st.fractions(min_value=0, max_value=65535))
def test_a_delay_is_the_nearest_that_two_bytes_each_can_tell(seconds: Fraction) -> None:
    result = fraction(seconds)
    assert result.numerator <= 65535
    assert result.denominator <= 65535
    assert abs(result - seconds) <= Fraction(1, 1000) or seconds > 60
