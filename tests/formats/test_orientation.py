"""Where a file may say how its picture is to be turned: it is turned once, as Pillow turns it."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import PIL.features
import PIL.Image
import PIL.ImageOps
import pytest
from contract import taken
from numpy.typing import NDArray

import fakes
from upres.formats.metadata.png_chunks import packed
from upres.formats.registry import open_pages

XMP = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/"%b</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

HEADER_END = 33
"""Where PNG's first chunk ends."""


def as_attribute(number: int) -> bytes:
    return XMP % (b' tiff:Orientation="%d"/>' % number)


def as_element(number: int) -> bytes:
    inner = b"><tiff:Orientation>%d</tiff:Orientation></rdf:Description>" % number
    return XMP % inner


def exif(number: int) -> bytes:
    block = PIL.Image.Exif()
    block[0x0112] = number
    return block.tobytes()


def picture(mode: str = "RGB") -> PIL.Image.Image:
    y, x = np.mgrid[:24, :40]
    samples = np.stack([x * 6, y * 10, (x + y) * 4], 2).astype(np.uint8)
    samples[:8, :8] = (250, 20, 40)
    return PIL.Image.fromarray(samples).convert(mode)


def expected(number: int, image: PIL.Image.Image) -> NDArray[np.uint8]:
    """The picture turned by Pillow as EXIF's number says."""
    image = image.copy()
    image.getexif()[0x0112] = number
    return np.asarray(PIL.ImageOps.exif_transpose(image))


def raw_profile(kind: bytes, content: bytes, *, compressed: bool = True) -> bytes:
    """A chunk of text of a profile, as ImageMagick writes it."""
    digits = content.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n%b\n%8d\n%b\n" % (kind, len(content), lines)
    keyword = b"Raw profile type " + kind + b"\0"
    if compressed:
        return packed(b"zTXt", keyword + b"\0" + zlib.compress(text))
    return packed(b"tEXt", keyword + text)


def png_with(path: Path, *chunks: bytes) -> Path:
    picture().save(path)
    content = path.read_bytes()
    path.write_bytes(content[:HEADER_END] + b"".join(chunks) + content[HEADER_END:])
    return path


def read(path: Path) -> NDArray[np.uint8]:
    (source,) = open_pages(path)
    samples: NDArray[np.uint8] = taken(source, path.parent / "beside")[0]
    return samples


def check(path: Path, number: int, image: PIL.Image.Image | None = None) -> None:
    """That the picture is read turned, and that its result needs no turning any more."""
    turned = expected(number, image or picture())
    np.testing.assert_array_equal(read(path), turned)
    target = path.with_name("out.png")
    fakes.enlarge_file(path, target)
    with PIL.Image.open(target) as after:
        assert after.size == (2 * turned.shape[1], 2 * turned.shape[0])
        again = PIL.ImageOps.exif_transpose(after)
        np.testing.assert_array_equal(np.asarray(again), np.asarray(after))
    (source,) = open_pages(target)
    assert source.carried.orientation == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("form", [as_attribute, as_element])
def test_xmp_turns_a_png(tmp_path: Path, number: int, form: object) -> None:
    packet = form(number)  # type: ignore[operator]
    path = png_with(tmp_path / "in.png", packed(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    if form is as_attribute:  # of which Pillow reads both forms, too
        with PIL.Image.open(path) as opened:
            by_pillow = np.asarray(PIL.ImageOps.exif_transpose(opened))
        np.testing.assert_array_equal(read(path), by_pillow)
    check(path, number)


@pytest.mark.parametrize("number", [3, 6, 7])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", [b"exif", b"APP1", b"xmp", b"APP1 of XMP"])
def test_profiles_that_are_text_turn_a_png(
    tmp_path: Path, kind: bytes, number: int, compressed: bool
) -> None:
    content = exif(number)
    if kind == b"xmp":
        content = as_attribute(number)
    elif kind == b"APP1 of XMP":
        kind, content = b"APP1", b"http://ns.adobe.com/xap/1.0/\0" + as_attribute(number)
    path = png_with(tmp_path / "in.png", raw_profile(kind, content, compressed=compressed))
    check(path, number)
    if kind == b"exif":
        with PIL.Image.open(path) as opened:
            by_pillow = np.asarray(PIL.ImageOps.exif_transpose(opened))
        np.testing.assert_array_equal(read(path), by_pillow)
    with PIL.Image.open(tmp_path / "out.png") as after:
        after.load()
        assert not any(str(key).startswith("Raw profile") for key in after.info)


def test_imagemagick_s_png_of_a_turned_photograph_is_turned_once(tmp_path: Path) -> None:
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    picture().save(tmp_path / "photo.jpg", exif=exif(6), quality=100)
    command = ["convert", "photo.jpg", "-define", "png:include-chunk=zTXt", "in.png"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with PIL.Image.open(tmp_path / "photo.jpg") as photo:
        upright = np.asarray(PIL.ImageOps.exif_transpose(photo))
    difference = np.abs(read(tmp_path / "in.png").astype(int) - upright)
    assert difference.max() <= 2  # two decoders of JPEG


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
def test_xmp_turns_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    if suffix == "tif":
        picture().save(path, tiffinfo={700: as_attribute(6), 270: "a description"})
    else:
        picture().save(path, xmp=as_attribute(6), lossless=True)
    with PIL.Image.open(path) as opened:
        by_pillow = np.asarray(PIL.ImageOps.exif_transpose(opened))
    assert by_pillow.shape[:2] == (40, 24)
    difference = np.abs(read(path).astype(int) - by_pillow)
    assert difference.max() <= (3 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("told", [(3, 6, 3), (1, 6, 1), (6, 3, 6), (0, 6, 6)])
def test_exif_counts_more_than_xmp(tmp_path: Path, suffix: str, told: tuple[int, int, int]) -> None:
    by_exif, by_xmp, counts = told
    path = tmp_path / f"in.{suffix}"
    if suffix == "png":
        png_with(
            path,
            packed(b"eXIf", exif(by_exif).removeprefix(b"Exif\0\0")),
            packed(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + as_attribute(by_xmp)),
        )
    else:
        extra = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0}
        picture().save(path, exif=exif(by_exif), xmp=as_attribute(by_xmp), **extra)
    difference = np.abs(read(path).astype(int) - expected(counts, picture()))
    assert difference.max() <= (8 if suffix == "jpg" else 0)


def test_a_chunk_of_exif_counts_more_than_text(tmp_path: Path) -> None:
    chunk = packed(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    check(png_with(tmp_path / "in.png", raw_profile(b"exif", exif(3)), chunk), 6)


@pytest.mark.parametrize("number", [3, 6])
def test_a_tag_of_tiff_counts_more_than_xmp(tmp_path: Path, number: int) -> None:
    tags = {700: as_attribute(8), 270: "a description", 274: number}
    picture().save(tmp_path / "in.tif", tiffinfo=tags)
    np.testing.assert_array_equal(read(tmp_path / "in.tif"), expected(number, picture()))


def test_xmp_does_not_turn_an_avif_which_has_its_own_way(tmp_path: Path) -> None:
    if not PIL.features.check("avif"):
        pytest.skip("needs Pillow with AVIF")
    picture().save(tmp_path / "in.avif", xmp=as_attribute(6), quality=100)
    (source,) = open_pages(tmp_path / "in.avif")
    assert (source.info.width, source.info.height) == (40, 24)


def test_damaged_profiles_stay_text(tmp_path: Path) -> None:
    damaged = packed(b"tEXt", b"Raw profile type exif\0\nexif\n    1000\n4578\n")
    path = png_with(tmp_path / "in.png", damaged)
    np.testing.assert_array_equal(read(path), np.asarray(picture()))
    fakes.enlarge_file(path, tmp_path / "out.png")
    assert damaged in (tmp_path / "out.png").read_bytes()


def test_the_shared_file_that_was_wrong_is_right(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "inputs" / "faults" / "xmp_tags_orientation.png"
    with PIL.Image.open(path) as opened:
        by_pillow = np.asarray(PIL.ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(read(path), by_pillow)
