"""The table of formats: recognised by content, and what each can hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upres.errors import OutputError
from upres.formats.registry import (
    FORMATS,
    Format,
    called,
    check_output,
    output_format,
    recognised,
    sample_type,
)
from upres.raster.info import RasterInfo, Role, bands_of

# How files of each format begin, by the formats' own descriptions.
HEADS: dict[str, list[bytes]] = {
    "video": [
        b"\0\0\0\x20ftypmp42\0\0\0\0mp42isom",
        b"\0\0\0\x08wide\0\0\x10\0mdat",
        b"\x1a\x45\xdf\xa3\x9f",
    ],
    "other video": [
        b"RIFF\x24\0\0\0AVI LIST",
        b"G\x40\x11\x10" + bytes(184) + b"G\x40\0\x10",
        bytes(4) + b"G\x40\x11\x10" + bytes(184) + bytes(4) + b"G\x40\0\x10",
        b"\0\0\x01\xba\x44",
        b"FLV\x01\x05",
        b"OggS\0\x02",
        b"YUV4MPEG2 W64 H48",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    ],
    "png": [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
    "jpeg": [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\xff\xd8\xff\xdb\0\x43"],
    "webp": [b"RIFF\x24\0\0\0WEBPVP8 ", b"RIFF\n\n\n\nWEBPVP8L"],
    "tiff": [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"],
    "avif": [b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif"],
    "gif": [b"GIF87a", b"GIF89a"],
    "jxl": [b"\xff\x0a\x7a\x1f", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl "],
    "heic": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic"],
    "jpeg 2000": [b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", b"\xff\x4f\xff\x51\0\x2f"],
    "bmp": [b"BM" + bytes(12) + b"\x28\0\0\0", b"BM" + bytes(12) + b"\x7c\0\0\0"],
    "pnm": [b"P6\n4 4\n255\n", b"P5 4 4 255 ", b"P3#by hand\n1 1", b"P2\t1 1"],
    "pbm": [b"P4\n8 1\n", b"P1 1 1 0"],
    "pam": [b"P7\nWIDTH 4\n"],
    "pfm": [b"PF\n4 4\n-1.0\n", b"Pf\r\n4 4"],
    "exr": [b"\x76\x2f\x31\x01\x02\0\0\0"],
    "hdr": [b"#?RADIANCE\n", b"#?RGBE\n"],
}
# Those of others, some of which begin nearly so.
OTHERS = [
    b"",
    b"just some text",
    b"\x89PNG\n\x1a\n",  # as a program that changes ends of lines leaves it
    b"RIFF\x24\0\0\0WAVEfmt ",
    b"GIF88a",
    b"BM" + bytes(12) + b"\x29\0\0\0",
    b"BMW is no picture",
    b"P8\n4 4\n255\n",
    b"P66",
    b"PF is no picture".replace(b" ", b"_"),
    b"II-\0",
    b"%PDF-1.7",
    b"<svg xmlns=",
]


# Of one that looks into a file, too, its own tests tell; and .mpo begins as JPEG does.
@pytest.mark.parametrize(
    "row",
    [row for row in FORMATS if row.holds is None and row.name != "mpo"],
    ids=lambda row: row.name,
)
def test_each_format_is_recognised_by_what_its_files_begin_with(row: Format) -> None:
    assert HEADS[row.name]
    for head in HEADS[row.name]:
        assert recognised(head) is row, head
        assert recognised(head[:4]) in (row, None), head
        assert recognised(b" " + head) is None, head


@pytest.mark.parametrize("head", OTHERS)
def test_other_files_are_of_no_format(head: bytes) -> None:
    assert recognised(head) is None


def test_a_suffix_names_one_format_in_large_letters_or_small() -> None:
    suffixes = [suffix for row in FORMATS for suffix in row.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    for row in FORMATS:
        for suffix in row.suffixes:
            assert suffix == suffix.lower()
            assert called(suffix) is called(suffix.upper()) is row
    assert called(".xyz") is None
    assert called("") is None


@pytest.mark.parametrize("name", ["x", "x.xyz", "x.png.bak", ".png", "x.pbm"])
def test_what_names_no_format_that_is_written_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match=r"cannot write this format; name it \.png, "):
        output_format(Path(name))


def info(*roles: Role, dtype: Any = np.uint8, high: float | None = 255, **rest: Any) -> RasterInfo:
    bands = bands_of(roles or ("red", "green", "blue"), 0.0, high)
    return dataclasses.replace(RasterInfo(20, 30, bands, np.dtype(dtype)), **rest)


RGB = info()
RGBA = info("red", "green", "blue", "alpha")
OPAQUE = dataclasses.replace(
    RGBA, bands=(*RGB.bands, dataclasses.replace(RGBA.bands[3], constant=True))
)
CMYK = info("ink", "ink", "ink", "ink")
FLOATS = info("grey", dtype=np.float32, high=7.5)
BELOW = dataclasses.replace(RGB, bands=bands_of(("red", "green", "blue"), -1.0, 255))
LINEAR = info(dtype=np.float32, high=1.0, colours="linear")


@pytest.mark.parametrize(
    ("suffix", "raster", "pages", "message"),
    [
        (".png", RGB, 1, None),
        (".PNG", RGBA, 1, None),
        (".jpg", RGB, 1, None),
        (
            ".jpg",
            RGBA,
            1,
            r"\.jpg cannot hold the picture's transparency: choose \.png, ",
        ),
        (".jpg", OPAQUE, 1, None),
        (".jpg", CMYK, 1, None),
        (".png", CMYK, 1, r"\.png cannot hold CMYK: choose \.jpg or \.tif$"),
        (".tif", CMYK, 1, None),
        (".gif", dataclasses.replace(RGB, frames=3), 1, None),
        (".tif", dataclasses.replace(RGB, frames=3), 1, r"cannot hold the picture's 3 frames"),
        (".tif", dataclasses.replace(RGB, frames=None), 1, r"cannot hold a video: choose \.mp4$"),
        (".tif", RGB, 3, None),
        (".gif", RGB, 3, r"\.gif cannot hold the file's 3 pages: choose \.tif$"),
        (".png", info("red", "green", "blue", "other"), 1, "cannot hold bands that are no colours"),
        (".png", info("index"), 1, "cannot hold bands that are no colours"),
        (".tif", info("index"), 1, None),
        (".png", LINEAR, 1, r"\.png cannot hold linear light: choose \.pfm, \.exr or \.hdr$"),
        (".pfm", LINEAR, 1, None),
        (".png", FLOATS, 1, r"cannot hold samples from 0 to 7\.5: choose \.tif$"),
        (".tif", FLOATS, 1, None),
        (".png", info(dtype=np.float32, high=1.0), 1, None),
        (".png", BELOW, 1, r"cannot hold samples from -1 to 255: choose \.tif$"),
        # What only the samples tell is not known yet.
        (".png", info(dtype=np.float32, high=None), 1, None),
        # Of a source with a largest sample of its own, as some PNM have.
        (".png", info(high=100), 1, None),
        (".png", info(dtype=np.uint32, high=2.0**32 - 1), 1, "cannot hold samples from 0 to 4.*e"),
        (".jpg", dataclasses.replace(RGB, width=65535), 1, None),
        (
            ".jpg",
            dataclasses.replace(RGB, width=65536),
            1,
            r"65536x20, is more than the 65535",
        ),
        (
            ".webp",
            dataclasses.replace(RGB, height=16384),
            1,
            r"30x16384, is more than the 16383",
        ),
    ],
)
def test_what_formats_can_hold(
    suffix: str, raster: RasterInfo, pages: int, message: str | None
) -> None:
    path = Path(f"out{suffix}")
    if message is None:
        check_output(path, raster, pages=pages)
        return
    with pytest.raises(OutputError, match=message) as caught:
        check_output(path, raster, pages=pages)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [row for row in FORMATS if row.writes and not row.endless],
    ids=lambda row: row.name,
)
def test_an_encoder_gets_no_more_than_half_of_the_memory(row: Format) -> None:
    path = Path(f"out{row.suffixes[0]}")
    raster = LINEAR if row.linear else RGB
    raster = dataclasses.replace(raster, only_as=row.name if row.closed else "")
    needed = 20 * 30 * row.encoder_bytes
    check_output(path, raster, memory_of=lambda: 2 * needed)
    check_output(path, raster, memory_of=lambda: None)  # which is to say that nobody knows
    if row.encoder_bytes:
        message = rf"out{row.suffixes[0]}: to write 30x20 pixels .* takes about {needed:,} bytes"
        with pytest.raises(OutputError, match=message):
            check_output(path, raster, memory_of=lambda: 2 * needed - 1)


def test_how_much_memory_there_is_is_asked_only_where_it_counts() -> None:
    def never() -> int:
        raise AssertionError("a PNG is written row by row")

    check_output(Path("out.png"), RGB, memory_of=never)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("png", "uint8", "uint8"),
        ("png", "uint16", "uint16"),
        ("png", "uint32", "uint16"),
        ("png", "int16", "uint16"),
        ("png", "float16", "uint16"),
        ("png", "float64", "uint16"),
        ("jpeg", "uint8", "uint8"),
        ("jpeg", "uint16", "uint8"),
        ("jpeg", "float32", "uint8"),
        ("avif", "float32", "uint16"),
        ("gif", "uint16", "uint8"),
        *(("tiff", name, name) for name in ("uint8", "int16", "uint32", "float32")),
    ],
)
def test_samples_keep_their_type_or_get_the_deepest_that_there_is(
    name: str, given: str, expected: str
) -> None:
    row = next(row for row in FORMATS if row.name == name)
    assert sample_type(row, info(dtype=np.dtype(given))) == np.dtype(expected)
