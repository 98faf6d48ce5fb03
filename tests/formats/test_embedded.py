"""What files say in places where libvips does not look, or not far enough."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import PIL.TiffImagePlugin
import pytest
import pyvips
import tifffile

import fakes
from upres.errors import InputError, OutputError
from upres.files import splice
from upres.formats.image.vips import VipsSource, read_rgb8
from upres.formats.metadata import gif_blocks as gif
from upres.formats.metadata import iptc
from upres.formats.metadata.jpeg_segments import jpeg_quality, jpeg_segments

ARTIST, ORIENTATION, DESCRIPTION, EXIF, USER_COMMENT = 315, 274, 270, 34665, 37510
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
)


@pytest.fixture
def enlarge(tmp_path: Path) -> Any:
    """Enlarges a file twofold, to the one of that name."""

    def run(source: str, target: str) -> Path:
        fakes.enlarge_file(tmp_path / source, tmp_path / target)
        return tmp_path / target

    return run


def picture(width: int = 24, height: int = 16) -> PIL.Image.Image:
    y, x = np.mgrid[:height, :width]
    return PIL.Image.fromarray(np.stack([x * 9, y * 9, x + y], axis=2).astype(np.uint8))


def packet_of(image: PIL.Image.Image) -> bytes:
    """XMP by Pillow, which has it under several names."""
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(image, PIL.TiffImagePlugin.TiffImageFile):
        found = image.tag_v2[700]
    assert found
    return found.encode() if isinstance(found, str) else bytes(found)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


@pytest.mark.parametrize("compressed", [False, True])
def test_exif_and_xmp_behind_the_pixels_of_a_png_count(
    tmp_path: Path, enlarge: Any, compressed: bool
) -> None:
    exif, file = PIL.Image.Exif(), io.BytesIO()
    exif[ORIENTATION], exif[ARTIST] = 6, "Me"
    picture().save(file, "PNG")
    content = zlib.compress(XMP.encode()) if compressed else XMP.encode()
    text = b"XML:com.adobe.xmp\0" + bytes([compressed, 0, 0, 0]) + content
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + chunk(b"iTXt", text)
    whole = file.getvalue()
    (tmp_path / "in.png").write_bytes(whole[:-12] + late + whole[-12:])
    for suffix in ("png", "jpg", "tif"):
        with PIL.Image.open(enlarge("in.png", f"out.{suffix}")) as after:
            assert after.size == (32, 48)
            assert after.getexif()[ARTIST] == "Me"
            assert after.getexif().get(ORIENTATION, 1) == 1
            assert b'Rating="5"' in packet_of(after)


@pytest.mark.parametrize("length", [40_000, 70_000])
def test_exif_beyond_64_kilobytes_is_kept(tmp_path: Path, enlarge: Any, length: int) -> None:
    exif = PIL.Image.Exif()
    exif[ARTIST], exif[DESCRIPTION] = "Me", "d" * 30_000
    exif.get_ifd(EXIF)[USER_COMMENT] = b"ASCII\0\0\0" + b"c" * length
    picture().save(tmp_path / "in.png", exif=exif.tobytes())
    steps = (("in.png", "out.tif"), ("out.tif", "again.tif"), ("out.tif", "out.webp"))
    for source, target in (*steps, ("again.tif", "back.png")):
        with PIL.Image.open(enlarge(source, target)) as after:
            assert after.getexif()[ARTIST] == "Me"
            assert after.getexif()[DESCRIPTION] == "d" * 30_000
            assert len(after.getexif().get_ifd(EXIF)[USER_COMMENT]) == 8 + length, target
    # A JPEG has room for all but the longest.
    with PIL.Image.open(enlarge("out.tif", "out.jpg")) as after:
        assert after.getexif()[DESCRIPTION] == "d" * 30_000
        assert USER_COMMENT not in after.getexif().get_ifd(EXIF)


def test_xmp_beyond_64_kilobytes_leaves_jpeg_with_the_rest(tmp_path: Path, enlarge: Any) -> None:
    long = "A hundred thousand letters. " * 4000
    name = b"0" * 32
    main = XMP.replace("xmp:Rating", f'xmlns:n="x" n:HasExtendedXMP="{name.decode()}" xmp:Rating')
    rest = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r" xmlns:dc="d">'
        f'<rdf:Description rdf:about="" dc:title="{long}"/></rdf:RDF></x:xmpmeta>'
    ).encode()
    parts = [rest[at : at + 60_000] for at in range(0, len(rest), 60_000)]
    packets = [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + main.encode())]
    for number, part in reversed(list(enumerate(parts))):
        head = name + struct.pack(">II", len(rest), number * 60_000)
        packets.append(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + head + part))
    file = io.BytesIO()
    picture().save(file, "JPEG")
    whole = file.getvalue()
    (tmp_path / "in.jpg").write_bytes(whole[:2] + b"".join(packets) + whole[2:])
    with PIL.Image.open(enlarge("in.jpg", "out.png")) as after:
        packet = packet_of(after).decode()
    assert f'dc:title="{long}"' in packet
    assert 'xmlns:dc="d"' in packet
    assert 'Rating="5"' in packet
    assert "HasExtendedXMP" not in packet


def test_comments_become_text_of_png(tmp_path: Path, enlarge: Any) -> None:
    for comment, expected in ((b"hello", "hello"), ("Zoë".encode(), "Zoë"), (b"Zo\xeb", "Zoë")):
        picture().save(tmp_path / "in.jpg", comment=comment)
        with PIL.Image.open(enlarge("in.jpg", "out.png")) as after:
            assert after.info["Comment"] == expected


def test_xmp_of_gif_is_kept(tmp_path: Path, enlarge: Any) -> None:
    picture().quantize().save(tmp_path / "in.gif", comment=b"hello")
    content = (tmp_path / "in.gif").read_bytes()
    # As the specification has it: as it is, and then a slide from 255 down to 0.
    block = b"\x21\xff\x0bXMP DataXMP" + XMP.encode() + b"\1"
    block += bytes(255 - number for number in range(256)) + b"\0"
    start = content.index(b"\x21\xfe")
    (tmp_path / "in.gif").write_bytes(content[:start] + block + content[start:])
    after = enlarge("in.gif", "out.gif")
    assert gif.read(after).comments == (b"hello",)
    assert gif.read(after).xmp == XMP.encode()
    assert block in after.read_bytes()
    with PIL.Image.open(after) as opened:
        assert opened.size == (48, 32)
    with PIL.Image.open(enlarge("in.gif", "out.png")) as opened:
        assert b'Rating="5"' in packet_of(opened)


def test_photoshop_blocks_in_several_segments_are_kept(tmp_path: Path, enlarge: Any) -> None:
    def block(kind: int, content: bytes) -> bytes:
        head = b"8BIM" + struct.pack(">HHI", kind, 0, len(content))
        return head + content + bytes(len(content) % 2)

    headline = b"\x1c\x02\x69\x00\x05Title"
    blocks = block(2000, b"a path" * 20_000) + block(0x0404, headline)
    file = io.BytesIO()
    picture().save(file, "JPEG")
    whole = file.getvalue()
    parts = [blocks[at : at + 65_000] for at in range(0, len(blocks), 65_000)]
    segments = b"".join(segment(0xED, b"Photoshop 3.0\0" + part) for part in parts)
    (tmp_path / "in.jpg").write_bytes(whole[:2] + segments + whole[2:])
    after = enlarge("in.jpg", "out.jpg")
    assert iptc.whole(jpeg_segments(after)) == b"Photoshop 3.0\0" + blocks
    assert len([s for s in jpeg_segments(after) if s.marker == 0xED]) > 1
    with tifffile.TiffFile(enlarge("in.jpg", "out.tif")) as opened:
        assert headline in opened.pages[0].tags[33723].value  # type: ignore[union-attr]


def test_a_resolution_that_nobody_told_is_not_made_up(tmp_path: Path, enlarge: Any) -> None:
    sources = ["unit.png", "unit.tif"]
    for suffix in ("png", "jpg", "tif", "webp", "gif", "avif"):
        sources.append(f"none.{suffix}")
        picture().save(tmp_path / f"none.{suffix}")
    content = (tmp_path / "none.png").read_bytes()
    proportions = struct.pack(">IIB", 144, 72, 0)
    (tmp_path / "unit.png").write_bytes(content[:33] + chunk(b"pHYs", proportions) + content[33:])
    picture().save(tmp_path / "unit.tif", x_resolution=300, y_resolution=300, resolution_unit=1)
    for source in sources:
        for suffix in ("png", "jpg", "tif", "webp"):
            with PIL.Image.open(enlarge(source, f"out.{suffix}")) as after:
                assert "dpi" not in after.info or after.info["dpi"] == (1, 1), (source, suffix)
                assert 282 not in after.getexif() or after.getexif()[296] == 1, (source, suffix)
    assert chunk(b"pHYs", proportions) in enlarge("unit.png", "out.png").read_bytes()
    assert b"pHYs" not in enlarge("none.png", "out.png").read_bytes()


def test_a_resolution_that_exif_tells_is_the_target_s_own(tmp_path: Path, enlarge: Any) -> None:
    # By the inch, by the inch without a word, and by the centimetre.
    for number, (unit, across, down) in enumerate([(2, 300, 150), (None, 96, 96), (3, 120, 60)]):
        exif = PIL.Image.Exif()
        exif[282], exif[283] = float(across), float(down)
        if unit is not None:
            exif[296] = unit
        inch = 2.54 if unit == 3 else 1
        expected = pytest.approx((across * inch, down * inch), abs=0.02)
        for suffix in ("webp", "avif"):
            source = f"{number}.{suffix}"
            picture().save(tmp_path / source, exif=exif)
            for target in ("out.png", "out.tif"):
                with PIL.Image.open(enlarge(source, target)) as after:
                    assert after.info["dpi"] == expected, (source, target)


def test_of_a_resolution_alone_no_more_is_made_than_exif_of_it(
    tmp_path: Path, enlarge: Any
) -> None:
    picture().save(tmp_path / "in.jpg", dpi=(300, 150))
    picture().save(tmp_path / "in.png", dpi=(300, 150))
    for source in ("in.jpg", "in.png"):
        for suffix in ("jpg", "png", "webp", "avif"):
            with PIL.Image.open(enlarge(source, f"out.{suffix}")) as after:
                exif = after.getexif()
                # Nothing of colours, which have no profile, being other than sRGB's.
                assert set(exif) == {282, 283, 296}, (source, suffix)
                assert [exif[tag] for tag in (282, 283)] == pytest.approx([300, 150], abs=0.02)


def test_bytes_that_fill_up_before_markers_are_passed_over(tmp_path: Path, enlarge: Any) -> None:
    file = io.BytesIO()
    picture().save(file, "JPEG", dpi=(300, 300), quality=80, subsampling="4:2:0")
    whole = file.getvalue()
    # ITU-T T.81, section B.1.1.2: any marker may be preceded by bytes of 255.
    filled = whole[:2] + b"\xff" + segment(0xFE, b"A comment") + b"\xff\xff\xff" + whole[2:]
    (tmp_path / "in.jpg").write_bytes(filled)
    assert jpeg_quality(jpeg_segments(tmp_path / "in.jpg")) == 80
    with PIL.Image.open(enlarge("in.jpg", "out.jpg")) as after:
        assert after.info["comment"] == b"A comment"
        assert after.info["dpi"] == (300, 300)


def test_tiff_of_other_compressions_and_layouts_is_not_called_damaged(
    tmp_path: Path, enlarge: Any
) -> None:
    planes = np.moveaxis(np.asarray(picture()), 2, 0)
    tifffile.imwrite(
        tmp_path / "in.tif", planes, photometric="rgb", planarconfig="separate", tile=(16, 16)
    )
    with pytest.raises(InputError, match=r"planes of tiles, which upres does not read: convert"):
        enlarge("in.tif", "out.tif")
    picture().save(tmp_path / "in.tif")
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as opened:
        opened.pages[0].tags[259].overwrite(34933)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"compression is one, which upres does not read: convert"):
        enlarge("in.tif", "out.tif")


def test_tiff_of_other_colours_is_refused(tmp_path: Path, enlarge: Any) -> None:
    picture().convert("YCbCr").save(tmp_path / "in.tif", compression="tiff_lzw")
    with pytest.raises(InputError, match=r"its colours are YCbCr, .* convert it to RGB"):
        enlarge("in.tif", "out.tif")
    # In JPEG, they are read as they are to be.
    tifffile.imwrite(tmp_path / "jpeg.tif", np.array(picture()), photometric="rgb")
    pyvips.Image.new_from_file(str(tmp_path / "jpeg.tif")).tiffsave(
        str(tmp_path / "in.tif"), compression="jpeg", Q=100
    )
    read = read_rgb8(tmp_path / "in.tif").astype(int)
    assert np.abs(read - np.array(picture())).max() < 12


def test_of_avif_the_colours_meaning_is_kept_or_named(tmp_path: Path, enlarge: Any) -> None:
    picture().save(tmp_path / "srgb.avif")
    content = (tmp_path / "srgb.avif").read_bytes()
    for name, numbers in (("p3", (12, 13)), ("pq", (9, 16))):
        changed, count = re.subn(
            rb"(?<=colrnclx)....", lambda _, n=numbers: struct.pack(">HH", *n), content
        )
        assert count == 1
        (tmp_path / f"{name}.avif").write_bytes(changed)
    plain = VipsSource(tmp_path / "srgb.avif", "heifload")
    assert plain.carried.find("icc-profile-data") is None
    for suffix in ("avif", "jpg"):
        with PIL.Image.open(enlarge("p3.avif", f"out.{suffix}")) as after:
            assert b"P\x003\x00" in after.info["icc_profile"] or b"P3" in after.info["icc_profile"]
    assert chunk(b"cICP", bytes([9, 16, 0, 1])) in enlarge("pq.avif", "out.png").read_bytes()
    with pytest.raises(OutputError, match=r"no sRGB .* \(CICP 9, 16\): choose .png"):
        enlarge("pq.avif", "out.jpg")


@pytest.fixture
def ultra_hdr(tmp_path: Path) -> Path:
    """A JPEG of 64x48 with a gain map of half the size."""
    light = np.random.default_rng(0).random((48, 64, 3), np.float32) * 4
    path = tmp_path / "in.jpg"
    try:
        pyvips.Image.new_from_array(light).copy(interpretation="scrgb").uhdrsave(str(path))
    except (pyvips.Error, AttributeError):
        pytest.skip("this libvips writes no Ultra HDR")
    return path


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_gain_map_of_ultra_hdr_is_kept(ultra_hdr: Path, enlarge: Any, orientation: int) -> None:
    exif = PIL.Image.Exif()
    # One that libvips knows and one that it does not, so that its block is not the last.
    exif[ORIENTATION], exif[61234] = orientation, "x" * 50
    old = next(s for s in jpeg_segments(ultra_hdr) if s.marker == 0xE1)
    # What lies behind it is told by its distance from there.
    splice(ultra_hdr, old.start, old.end, segment(0xE1, exif.tobytes()))
    assert read_rgb8(ultra_hdr).shape == (48, 64, 3)
    turned = slice(None, None, -1 if orientation == 6 else 1)
    with (
        PIL.Image.open(ultra_hdr) as before,
        PIL.Image.open(enlarge("in.jpg", "out.jpg")) as after,
    ):
        assert (before.format, after.format, getattr(after, "n_frames", 1)) == ("MPO", "MPO", 2)
        assert after.size == tuple(2 * side for side in before.size)[turned]
        for opened in (before, after):
            opened.seek(1)
        assert after.size == before.size[turned]
        expected = np.array(before).astype(int)
        if orientation == 6:
            expected = np.rot90(expected, -1)  # clockwise
        assert np.abs(np.array(after) - expected).mean() < 3
    # The first picture ends where the second begins.
    content = ultra_hdr.with_name("out.jpg").read_bytes()
    entries = content.index(b"\0\3\0\0", content.index(b"MPF\0"))  # the first one's attributes
    (size,) = struct.unpack_from(">I", content, entries + 4)
    assert content[size - 2 : size + 3] == b"\xff\xd9\xff\xd8\xff"
    with_map = pyvips.Image.new_from_file(str(ultra_hdr.with_name("out.jpg")))
    # The second, where libvips knows gain maps.
    assert with_map.get("vips-loader") in ("jpegload", "uhdrload")
