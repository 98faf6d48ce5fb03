from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import pyvips

import fakes
from upres.errors import OutputError
from upres.formats.image.webp import open_pages as open_webp
from upres.formats.metadata import iptc, png_chunks, xmp
from upres.formats.metadata.carried import Carried
from upres.formats.metadata.jpeg_segments import jpeg_quality, jpeg_segments

KEPT = {
    "IFD0:Artist": "A. Photographer",
    "IFD0:Copyright": "(c) 2024 A. Photographer",
    "IFD0:Make": "Maker",
    "ExifIFD:DateTimeOriginal": "2024:05:06 07:08:09",
    "ExifIFD:FNumber": 2.8,
    "GPS:GPSLatitude": 48.2,
    "GPS:GPSLongitude": 16.37,
    "XMP-dc:Title": "A title",
}
PHOTOS = ["Canon PowerShot S40 (1).jpg", "HTC One.jpg", "Nikon D70.jpg"]


@pytest.fixture(scope="session")
def exiftool() -> str:
    """An independent reader and writer of metadata; skips without it."""
    found = shutil.which("exiftool")
    if not found:
        pytest.skip("needs exiftool (Debian: libimage-exiftool-perl), which is not here")
    return found


def tags(exiftool: str, path: Path) -> dict[str, Any]:
    command = [exiftool, "-json", "-n", "-G1", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    read: dict[str, Any] = json.loads(output)[0]
    return read


def tagged(exiftool: str, path: Path, *more: str) -> Path:
    """A picture of 24 x 16 with the tags above, of every kind that its format can have."""
    y, x = np.mgrid[:16, :24]
    array = np.stack([x * 9, y * 9, x + y], axis=2).astype(np.uint8)
    pyvips.Image.new_from_array(array).write_to_file(str(path))
    values = [f"-{name}={value}" for name, value in KEPT.items()]
    values += ["-GPS:GPSLatitudeRef=N", "-GPS:GPSLongitudeRef=E", "-IFD0:XResolution=240"]
    values += ["-IFD0:YResolution=240", "-IFD0:ResolutionUnit=2", "-ExifIFD:ExifImageWidth=24"]
    values += ["-ExifIFD:ExifImageHeight=16", "-XMP-tiff:ImageWidth=24", *more]
    command = [exiftool, "-q", "-n", "-overwrite_original", *values, str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("to", ["jpg", "png", "webp", "tif", "avif"])
def test_who_when_and_where_are_kept(exiftool: str, tmp_path: Path, suffix: str, to: str) -> None:
    source = tagged(exiftool, tmp_path / f"in.{suffix}")
    fakes.enlarge_file(source, tmp_path / f"out.{to}")
    before, after = tags(exiftool, source), tags(exiftool, tmp_path / f"out.{to}")
    for name, value in KEPT.items():
        assert before[name] == pytest.approx(value), f"{name} is not even in the input"
        assert after.get(name) == pytest.approx(value), name
    assert after.get("IFD0:Orientation", 1) == 1
    assert (after["ExifIFD:ExifImageWidth"], after["ExifIFD:ExifImageHeight"]) == (48, 32)
    assert after["XMP-tiff:ImageWidth"] == 48
    assert "ExifTool:Error" not in after
    # A minor one is about how libvips, and exiftool itself, begin EXIF in WebP.
    assert after.get("ExifTool:Warning", "[minor]").startswith("[minor]")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_resolution_is_kept(exiftool: str, tmp_path: Path, suffix: str) -> None:
    image = pyvips.Image.black(8, 8).copy(xres=240 / 25.4, yres=240 / 25.4)
    image.write_to_file(str(tmp_path / f"in.{suffix}"))
    fakes.enlarge_file(tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}")
    with PIL.Image.open(tmp_path / f"out.{suffix}") as after:
        assert [float(dpi) for dpi in after.info["dpi"]] == pytest.approx([240, 240], abs=0.5)


def test_a_turned_photo_is_told_to_be_upright_everywhere(exiftool: str, tmp_path: Path) -> None:
    source = tagged(exiftool, tmp_path / "in.jpg", "-IFD0:Orientation=6", "-XMP-tiff:Orientation=6")
    for to in ("jpg", "tif", "png"):
        fakes.enlarge_file(source, tmp_path / f"out.{to}")
        after = tags(exiftool, tmp_path / f"out.{to}")
        assert after.get("IFD0:Orientation", 1) == 1
        assert after["XMP-tiff:Orientation"] == 1
        assert (after["ExifIFD:ExifImageWidth"], after["ExifIFD:ExifImageHeight"]) == (32, 48)


@pytest.mark.parametrize("name", PHOTOS)
def test_a_camera_s_tags_are_kept_but_its_preview(
    exiftool: str, shared_data: Path, tmp_path: Path, name: str
) -> None:
    source = shared_data / "inputs" / "photo" / name
    small = pyvips.Image.new_from_file(str(source)).crop(0, 0, 40, 30)
    small.jpegsave(str(tmp_path / "small.jpg"), Q=90)
    for to in ("jpg", "tif"):
        fakes.enlarge_file(tmp_path / "small.jpg", tmp_path / f"out.{to}")
        before = tags(exiftool, tmp_path / "small.jpg")
        after = tags(exiftool, tmp_path / f"out.{to}")
        groups = ("ExifIFD:", "GPS:", "IFD0:", "IPTC:")
        sizes = ("ExifImage", "ImageWidth", "ImageHeight", "YCbCrPositioning")
        # TIFF's own numbers of these; it says the same.
        sizes += ("ColorSpace", "Resolution") if to == "tif" else ()
        for tag, value in before.items():
            # Some cameras write tags that are empty.
            same = value != "" and tag.startswith(groups)
            if same and not any(size in tag for size in sizes):
                assert after.get(tag) == pytest.approx(value), tag
        assert not [tag for tag in after if "Thumbnail" in tag]


def test_text_chunks_of_png_are_kept(tmp_path: Path) -> None:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("Title", "Harbour")
    info.add_text("Comment", "A long text", zip=True)
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=info)
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "out.png") as after:
        assert isinstance(after, PIL.PngImagePlugin.PngImageFile)
        assert after.text["Title"] == "Harbour"
        assert after.text["Comment"] == "A long text"


def test_text_that_says_how_to_turn_is_left_out_with_the_turn(tmp_path: Path) -> None:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("EXIF:Orientation", "6")  # GraphicsMagick's, beside the block of EXIF
    info.add_text("Title", "Harbour")
    exif = PIL.Image.Exif()
    exif[274] = 6
    for name, block in (("turned", exif), ("plain", None)):
        PIL.Image.new("RGB", (8, 4)).save(tmp_path / f"{name}.png", pnginfo=info, exif=block)
        fakes.enlarge_file(tmp_path / f"{name}.png", tmp_path / f"{name}-2.png")
    with PIL.Image.open(tmp_path / "turned-2.png") as after:
        assert isinstance(after, PIL.PngImagePlugin.PngImageFile)
        assert (after.size, after.text) == ((8, 16), {"Title": "Harbour"})
    with PIL.Image.open(tmp_path / "plain-2.png") as after:
        assert isinstance(after, PIL.PngImagePlugin.PngImageFile)
        assert after.size == (16, 8)
        assert after.text == {"EXIF:Orientation": "6", "Title": "Harbour"}


def test_text_chunks_that_are_not_ascii_are_kept(tmp_path: Path) -> None:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("Author", "Zo\xeb")  # as Latin-1
    info.add_itxt("Title", "日本 🐈", lang="ja", tkey="題")
    info.add_text("Harmless", "abc")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=info)
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "out.png") as after:
        assert isinstance(after, PIL.PngImagePlugin.PngImageFile)
        assert after.text == {"Author": "Zo\xeb", "Title": "日本 🐈", "Harmless": "abc"}
        title = after.text["Title"]
        assert isinstance(title, PIL.PngImagePlugin.iTXt)
        assert (title.lang, title.tkey) == ("ja", "題")
    # With a checksum that is wrong.
    damaged = (tmp_path / "in.png").read_bytes().replace(b"abc", b"abd")
    (tmp_path / "damaged.png").write_bytes(damaged)
    assert b"Harmless" in png_chunks.kept(png_chunks.read(tmp_path / "in.png"))
    assert b"Harmless" not in png_chunks.kept(png_chunks.read(tmp_path / "damaged.png"))


@pytest.mark.parametrize(("suffix", "longest"), [("jpg", 65533), ("gif", 70_000)])
def test_comments_are_kept(tmp_path: Path, suffix: str, longest: int) -> None:
    comment = ("Zoë's " * 20_000).encode()[:longest]
    picture = PIL.Image.effect_noise((40, 30), 50).convert("RGB")
    picture.save(tmp_path / f"in.{suffix}", comment=comment)
    target = tmp_path / f"out.{suffix}"
    fakes.enlarge_file(tmp_path / f"in.{suffix}", target)
    with PIL.Image.open(target) as after:
        after.load()
        assert after.info["comment"] == comment
        assert after.size == (80, 60)


def test_xmp_is_corrected_in_both_of_its_notations() -> None:
    packet = (
        b"<d tiff:Orientation='8' exif:PixelXDimension=\"10\">"
        b"<tiff:ImageLength>7</tiff:ImageLength>"
        b"<tiff:Model>10</tiff:Model><xmp:Thumbnails><rdf>AAAA</rdf></xmp:Thumbnails></d>"
    )
    assert xmp.fitting(packet, height=14, width=20) == (
        b"<d tiff:Orientation='1' exif:PixelXDimension=\"20\">"
        b"<tiff:ImageLength>14</tiff:ImageLength><tiff:Model>10</tiff:Model></d>"
    )


def test_xmp_beyond_64_kilobytes_is_kept(exiftool: str, tmp_path: Path) -> None:
    long = "A hundred thousand letters. " * 4000
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Headline="{long}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    info = PIL.PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    PIL.Image.effect_noise((24, 16), 50).convert("RGB").save(tmp_path / "in.png", pnginfo=info)
    # What one segment of a JPEG has no room for goes into several, and from there to the next.
    for source, target in (("in.png", "out.jpg"), ("out.jpg", "again.jpg")):
        fakes.enlarge_file(tmp_path / source, tmp_path / target)
        assert tags(exiftool, tmp_path / target)["XMP-photoshop:Headline"] == long, target


def test_iptc_changes_its_wrapping_and_comes_back() -> None:
    bare = b"\x1c\x02\x78\x00\x05hello"
    wrapped = iptc.fitting(bare, tiff=False)
    assert wrapped.startswith(b"Photoshop 3.0\x008BIM\x04\x04")
    assert iptc.fitting(bare, tiff=True) == bare
    preview = b"8BIM\x04\x0c\0\0\0\0\0\x03abc\0"
    assert iptc.fitting(wrapped + preview, tiff=False) == wrapped
    assert iptc.fitting(wrapped + preview, tiff=True) == bare


@pytest.mark.parametrize(
    ("quality", "asked", "expected"), [(60, None, 95), (98, None, 98), (98, 70, 70)]
)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_is_written_as_it_was(
    tmp_path: Path,
    quality: int,
    asked: int | None,
    expected: int,
    subsampling: str,
) -> None:
    picture = PIL.Image.new("RGB", (40, 40), (10, 200, 90))
    picture.save(tmp_path / "in.jpg", quality=quality, subsampling=subsampling)
    fakes.enlarge_file(tmp_path / "in.jpg", tmp_path / "out.jpg", quality=asked)
    assert jpeg_quality(jpeg_segments(tmp_path / "out.jpg")) == expected
    after = pyvips.Image.new_from_file(str(tmp_path / "out.jpg"))
    # Never coarser: libvips cannot write 4:2:2.
    written = "4:2:0" if subsampling == "4:2:0" else "4:4:4"
    assert after.get("jpeg-chroma-subsample") == written


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_stays_lossless_or_lossy(tmp_path: Path, lossless: bool) -> None:
    picture = PIL.Image.new("RGBA", (20, 20), (10, 200, 90, 128))
    picture.save(tmp_path / "in.webp", lossless=lossless)
    fakes.enlarge_file(tmp_path / "in.webp", tmp_path / "out.webp")
    for name in ("in.webp", "out.webp"):
        (source,) = open_webp(tmp_path / name)
        assert isinstance(source.carried, Carried)
        assert source.carried.lossless == lossless


@pytest.mark.parametrize("profile", [False, True])
def test_png_says_what_its_colours_mean_as_before(tmp_path: Path, profile: bool) -> None:
    # Linear light, the primaries of BT.2020, the transfer function of BT.2100's PQ, and the screen
    # and light that it was made for.
    said = {
        b"cICP": bytes([9, 16, 0, 1]),
        b"mDCV": bytes(range(24)),
        b"cLLI": struct.pack(">II", 10_000_000, 4_000_000),
        b"gAMA": struct.pack(">I", 100_000),
        b"cHRM": struct.pack(">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),
    }
    info = PIL.PngImagePlugin.PngInfo()
    for kind, value in said.items():
        info.add(kind, value)
    picture = PIL.Image.effect_noise((40, 30), 50).convert("RGB")
    srgb = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "in.png", pnginfo=info, icc_profile=srgb if profile else None)
    content = (tmp_path / "in.png").read_bytes()
    for kind in (b"mDCV", b"cLLI"):  # which Pillow does not write
        assert kind not in content
        body = kind + said[kind]
        chunk = len(said[kind]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        content = content[:33] + chunk + content[33:]
    (tmp_path / "in.png").write_bytes(content)
    fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.png")
    found = chunks(tmp_path / "out.png")
    kinds = [kind for kind, _ in found]
    for kind, value in said.items():
        # A profile says more than gamma and primaries, and libvips brings it along.
        expected = [] if profile and kind in (b"gAMA", b"cHRM") else [value]
        assert [content for name, content in found if name == kind] == expected
        assert not expected or kinds.index(kind) < kinds.index(b"IDAT")
    assert (b"iCCP" in kinds) == profile
    with PIL.Image.open(tmp_path / "out.png") as after:
        after.load()
        assert after.size == (80, 60)
    if profile:
        fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.webp")
    else:
        with pytest.raises(OutputError, match=r"which are no sRGB .* \(CICP 9, 16\): choose .png"):
            fakes.enlarge_file(tmp_path / "in.png", tmp_path / "out.webp")


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG file, whose checksums must be right."""
    content, found, at = path.read_bytes(), [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        body, checksum = content[at + 4 : at + 8 + length], content[at + 8 + length :][:4]
        assert zlib.crc32(body).to_bytes(4, "big") == checksum
        found.append((body[:4], body[4:]))
        at += 12 + length
    return found
