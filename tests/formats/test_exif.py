from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fakes
from upres.formats.metadata import exif
from upres.formats.metadata.tiff_tags import Entry, pack

RATING, DESCRIPTION, MAKER_NOTE, UNKNOWN = 18246, 270, 37500, 61234


def block(*, thumbnail: bytes = b"") -> bytes:
    """Little-endian EXIF of 24x16 pixels with tags that libvips does not know."""
    inner: list[Entry] = [
        (40962, 3, 1, struct.pack("<H", 24)),
        (40963, 3, 1, struct.pack("<H", 16)),
        (MAKER_NOTE, 7, 20, b"private, points to 1"),
    ]
    first: list[Entry] = [
        (DESCRIPTION, 2, 8, b"harbour\0"),
        (274, 3, 1, struct.pack("<H", 1)),
        (RATING, 3, 1, struct.pack("<H", 4)),
        (UNKNOWN, 1, 5, bytes(range(5))),
        (34665, 4, 1, inner),
    ]
    content, start = pack(first, 8, big=False)
    if thumbnail:
        second: list[Entry] = [
            (513, 4, 1, struct.pack("<I", 8 + len(content) + 2 + 24 + 4)),
            (514, 4, 1, struct.pack("<I", len(thumbnail))),
        ]
        directory, _ = pack(second, 8 + len(content), big=False)
        content = content[:-4] + struct.pack("<I", 8 + len(content)) + directory + thumbnail
    return struct.pack("<2sHI", b"II", 42, start) + content


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("to", ["jpg", "png", "webp", "avif"])
def test_tags_that_libvips_does_not_know_are_kept(tmp_path: Path, suffix: str, to: str) -> None:
    picture = PIL.Image.effect_noise((24, 16), 50).convert("RGB")
    preview = b"\xff\xd8 a small picture"
    picture.save(tmp_path / f"in.{suffix}", exif=exif.PREFIX + block(thumbnail=preview))
    target = tmp_path / f"out.{to}"
    fakes.enlarge_file(tmp_path / f"in.{suffix}", target)
    with PIL.Image.open(target) as after:
        after.load()
        assert after.size == (48, 32)
        first = after.getexif()
        inner = first.get_ifd(34665)
    assert (first[DESCRIPTION], first[RATING], first[UNKNOWN]) == ("harbour", 4, bytes(range(5)))
    assert (inner[40962], inner[40963]) == (48, 32)
    assert inner[MAKER_NOTE] == b"private, points to 1"
    assert not first.get_ifd(1)
    assert preview not in target.read_bytes()


def test_an_animation_s_height_is_that_of_a_frame(tmp_path: Path) -> None:
    frames = [PIL.Image.effect_noise((24, 16), 50).convert("RGB") for _ in range(3)]
    frames[0].save(
        tmp_path / "in.webp",
        save_all=True,
        append_images=frames[1:],
        exif=exif.PREFIX + block(),
    )
    fakes.enlarge_file(tmp_path / "in.webp", tmp_path / "out.webp")
    with PIL.Image.open(tmp_path / "out.webp") as after:
        assert after.n_frames == 3
        inner = after.getexif().get_ifd(34665)
    assert (inner[40962], inner[40963]) == (48, 32)


def test_what_is_in_the_block_stays_where_it_was() -> None:
    preview = b"\xff\xd8 a small picture"
    before = block(thumbnail=preview)
    after = exif.fitting(exif.PREFIX + before, height=99_999, width=3, dots_per_inch=None)
    # The preview is cut off; of the rest, only numbers are others.
    assert len(after) == len(before) - len(preview)
    assert after.index(b"private") == before.index(b"private")
    differing = np.frombuffer(after, np.uint8) != np.frombuffer(before[: len(after)], np.uint8)
    assert differing.sum() < 16


@pytest.mark.parametrize("to", ["jpg", "webp"])
def test_resolution_is_added_where_the_block_has_none(tmp_path: Path, to: str) -> None:
    picture = PIL.Image.effect_noise((24, 16), 50).convert("RGB")
    picture.save(tmp_path / "in.png", exif=block(), dpi=(240, 120))
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / f"out.{to}")
    with PIL.Image.open(tmp_path / f"out.{to}") as after:
        tags = after.getexif()
    resolution = [float(tags[tag]) for tag in (282, 283)]
    assert resolution == pytest.approx([240, 120], abs=0.1)
    assert tags[296] == 2
    assert tags[RATING] == 4


@pytest.mark.parametrize("length", [0, 7, 12, 30, 60, 100])
def test_a_damaged_block_is_told(length: int) -> None:
    with pytest.raises(struct.error):
        exif.fitting(block()[:length], height=2, width=2, dots_per_inch=None)


@pytest.mark.parametrize("to", ["jpg", "png", "webp", "tif"])
def test_what_a_damaged_block_still_says_is_kept(tmp_path: Path, to: str) -> None:
    entries: list[Entry] = [
        (DESCRIPTION, 2, 8, b"harbour\0"),
        (274, 3, 1, struct.pack("<H", 6)),
        (34665, 4, 1, struct.pack("<I", 2**20)),  # a directory far beyond the end
    ]
    content, start = pack(entries, 8, big=False)
    tags = exif.PREFIX + struct.pack("<2sHI", b"II", 42, start) + content
    PIL.Image.effect_noise((24, 16), 50).convert("RGB").save(tmp_path / "in.jpg", exif=tags)
    fakes.enlarge_file(tmp_path / "in.jpg", tmp_path / f"out.{to}")
    with PIL.Image.open(tmp_path / f"out.{to}") as after:
        assert after.size == (32, 48)
        assert after.getexif()[274] == 1
        if to != "tif":
            assert after.getexif()[DESCRIPTION] == "harbour"


def test_a_block_too_long_for_jpeg_is_what_libvips_makes_of_it(tmp_path: Path) -> None:
    tags = block()
    picture = PIL.Image.effect_noise((24, 16), 50).convert("RGB")
    picture.save(tmp_path / "in.png", exif=tags + bytes(70_000))
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.jpg")
    with PIL.Image.open(tmp_path / "out.jpg") as after:
        assert after.getexif()[DESCRIPTION] == "harbour"
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.webp")
    with PIL.Image.open(tmp_path / "out.webp") as after:
        assert after.getexif()[RATING] == 4
