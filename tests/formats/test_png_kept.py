"""What PNG files say in chunks of their own: kept where it is true of the result, else told."""

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
import pytest

import fakes
from upres.errors import InputError
from upres.formats.metadata import png_chunks
from upres.formats.metadata.png_chunks import packed

HEADER_END = 33


def png(
    path: Path,
    *chunks: bytes,
    mode: str = "RGB",
    size: tuple[int, int] = (12, 10),
    depth: int = 8,
    after: bytes = b"",
) -> Path:
    """A PNG file with further chunks behind its palette, if it has one; ``after`` its pixels."""
    if depth == 16:
        samples = np.linspace(0, 65535, size[0] * size[1]).astype(np.uint16)
        image = PIL.Image.fromarray(samples.reshape(size[::-1]))
    else:
        ramp = np.linspace(0, 255, size[0] * size[1] * 3).astype(np.uint8)
        image = PIL.Image.fromarray(ramp.reshape(*size[::-1], 3)).convert(mode)
    image.save(path, **({"bits": depth} if mode == "P" else {}))
    content = path.read_bytes()
    start = content.index(b"IDAT") - 4
    end = content.index(b"IEND") - 4
    content = content[:start] + b"".join(chunks) + content[start:end] + after + content[end:]
    path.write_bytes(content)
    return path


def enlarged(path: Path, name: str = "out.png", **options: Any) -> tuple[Path, list[str]]:
    target = path.with_name(name)
    lost = fakes.enlarge_file(path, target, **options)
    return target, list(lost)


def chunks(path: Path, kind: bytes) -> list[bytes]:
    """The contents of a file's chunks of that kind, read plainly."""
    content, at, found = path.read_bytes(), 8, []
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] == kind:
            found.append(content[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def by_exiftool(path: Path, *tags: str) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool")
    command = ["exiftool", "-json", "-n", *(f"-{tag}" for tag in tags), str(path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(told)[0]
    return found


LATIN1 = "schl\xfcssel\xf6".encode("latin-1")


@pytest.mark.parametrize(
    "text",
    [
        packed(b"tEXt", LATIN1 + b"\0caf\xe9 \x94 \xff"),
        packed(b"tEXt", b"Title\0" + bytes(range(160, 256))),
        packed(b"zTXt", LATIN1 + b"\0\0" + zlib.compress(b"caf\xe9")),
        packed(b"zTXt", b"Comment\0\0no zlib stream"),
        packed(b"iTXt", LATIN1 + b"\0\0\0de\0Titel\0" + "\u65e5\u672c".encode()),
        packed(b"tEXt", b"\xff\xfe\x80\0bytes"),
        packed(b"tEXt", b"no end of the keyword\x94"),
        packed(b"tEXt", b"a\0b") * 3,
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_text_is_kept_byte_for_byte(tmp_path: Path, text: bytes, place: str) -> None:
    if place == "before":
        path = png(tmp_path / "in.png", text)
    else:
        path = png(tmp_path / "in.png", after=text)
    target, lost = enlarged(path)
    for kind in (b"tEXt", b"zTXt", b"iTXt"):
        assert chunks(target, kind) == chunks(path, kind)
    assert lost == []
    assert enlarged(path, "out.webp")[1] == ["text"]


def test_text_is_read_by_pillow_as_before(tmp_path: Path) -> None:
    path = png(tmp_path / "in.png", packed(b"tEXt", LATIN1 + b"\0caf\xe9"))
    with PIL.Image.open(path) as before, PIL.Image.open(enlarged(path)[0]) as after:
        assert after.info == before.info
        assert after.info["schl\xfcssel\xf6"] == "caf\xe9"


@pytest.mark.parametrize("per_metre", [1, 1000, 2835, 11811, 2**31 - 1])
@pytest.mark.parametrize("other", [None, 77])
def test_the_size_of_pixels_is_kept(tmp_path: Path, per_metre: int, other: int | None) -> None:
    size = struct.pack(">IIB", per_metre, other or per_metre, 1)
    target, _ = enlarged(png(tmp_path / "in.png", packed(b"pHYs", size)))
    assert chunks(target, b"pHYs") == [size]


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "avif", "bmp"])
def test_a_pixel_of_a_millimetre_is_kept_in_other_formats(tmp_path: Path, suffix: str) -> None:
    path = png(tmp_path / "in.png", packed(b"pHYs", struct.pack(">IIB", 1000, 1000, 1)))
    target, lost = enlarged(path, f"out.{suffix}")
    assert lost == []
    if suffix == "bmp":
        told = by_exiftool(target, "PixelsPerMeterX", "PixelsPerMeterY")
        assert (told["PixelsPerMeterX"], told["PixelsPerMeterY"]) == (1000, 1000)
        return
    told = by_exiftool(target, "EXIF:XResolution", "EXIF:YResolution", "EXIF:ResolutionUnit")
    inches = {2: 1.0, 3: 2.54}[told["ResolutionUnit"]]
    assert told["XResolution"] * inches == pytest.approx(25.4, rel=1e-5)
    assert told["YResolution"] * inches == pytest.approx(25.4, rel=1e-5)


def test_a_proportion_of_pixels_is_kept_and_told_of_where_it_cannot_be(tmp_path: Path) -> None:
    size = struct.pack(">IIB", 2, 1, 0)
    path = png(tmp_path / "in.png", packed(b"pHYs", size))
    assert chunks(enlarged(path)[0], b"pHYs") == [size]
    target, lost = enlarged(path, "out.jpg")
    assert lost == []
    with PIL.Image.open(target) as opened:
        assert (opened.info["jfif_unit"], opened.info["jfif_density"]) == (0, (2, 1))
    assert enlarged(path, "out.webp")[1] == ["pixel aspect"]


@pytest.mark.parametrize(
    ("mode", "depth", "background", "expected"),
    [
        ("RGB", 8, struct.pack(">HHH", 255, 128, 3), struct.pack(">HHH", 255, 128, 3)),
        ("L", 8, struct.pack(">H", 77), struct.pack(">H", 77)),
        ("RGBA", 8, struct.pack(">HHH", 1, 2, 3), struct.pack(">HHH", 1, 2, 3)),
        ("I;16", 16, struct.pack(">H", 50000), struct.pack(">H", 50000)),
        ("1", 1, struct.pack(">H", 1), struct.pack(">H", 255)),
    ],
)
def test_a_background_is_kept(
    tmp_path: Path, mode: str, depth: int, background: bytes, expected: bytes
) -> None:
    deep = depth if depth == 16 else 8
    path = png(tmp_path / "in.png", packed(b"bKGD", background), mode=mode, depth=deep)
    target, lost = enlarged(path)
    assert chunks(target, b"bKGD") == [expected]
    assert lost == []
    assert enlarged(path, "out.webp")[1] == ["bKGD"]


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_background_of_a_palette_becomes_its_colour(tmp_path: Path, depth: int) -> None:
    path = png(tmp_path / "in.png", packed(b"bKGD", b"\2"), mode="P", depth=depth)
    palette = chunks(path, b"PLTE")[0]
    target, lost = enlarged(path)
    assert chunks(target, b"bKGD") == [struct.pack(">HHH", *palette[6:9])]
    assert lost == []


@pytest.mark.parametrize(
    ("mode", "depth", "bits", "expected"),
    [
        ("RGB", 8, bytes([5, 6, 5]), bytes([5, 6, 5])),
        ("L", 8, bytes([7]), bytes([7])),
        ("P", 4, bytes([6, 6, 6]), bytes([6, 6, 6])),
        ("I;16", 16, bytes([12]), bytes([12])),
        ("1", 1, bytes([1]), None),
    ],
)
def test_significant_bits_are_kept_if_the_depth_is(
    tmp_path: Path, mode: str, depth: int, bits: bytes, expected: bytes | None
) -> None:
    deep = 8 if mode == "1" else depth
    path = png(tmp_path / "in.png", packed(b"sBIT", bits), mode=mode, depth=deep)
    target, lost = enlarged(path)
    assert chunks(target, b"sBIT") == ([expected] if expected else [])
    assert lost == ([] if expected else ["sBIT"])


def test_significant_bits_follow_alpha(tmp_path: Path) -> None:
    clear = PIL.Image.new("RGBA", (12, 10), (9, 90, 200, 77))
    clear.putpixel((3, 3), (1, 2, 3, 255))
    for name, image, expected in (
        ("clear", clear, bytes([5, 6, 5, 3])),
        ("opaque", clear.convert("RGB").convert("RGBA"), None),
    ):
        path = tmp_path / f"{name}.png"
        image.save(path)
        content = path.read_bytes()
        chunk = packed(b"sBIT", bytes([5, 6, 5, 3]))
        path.write_bytes(content[:HEADER_END] + chunk + content[HEADER_END:])
        target, lost = enlarged(path, f"{name}-out.png")
        with PIL.Image.open(target) as opened:
            bands = len(opened.getbands())
        assert chunks(target, b"sBIT") == [expected or bytes([5, 6, 5, 3])[:bands]]
        assert lost == []


def test_places_and_scales_grow_with_the_picture(tmp_path: Path) -> None:
    path = png(
        tmp_path / "in.png",
        packed(b"oFFs", struct.pack(">iiB", -30, 7, 0)),
        packed(b"sCAL", b"\1" + b"0.5\x000.25"),
        packed(b"pCAL", b"metres\0" + struct.pack(">iiBB", 0, 255, 0, 2) + b"m\x000.0\x0010.0"),
        packed(b"vpAg", struct.pack(">IIB", 100, 50, 0)),
    )
    target, lost = enlarged(path, scale=2.5)
    assert lost == []
    with PIL.Image.open(target) as opened:
        assert opened.size == (30, 25)
    assert chunks(target, b"oFFs") == [struct.pack(">iiB", -75, 18, 0)]
    assert chunks(target, b"pCAL") == chunks(path, b"pCAL")
    assert chunks(target, b"vpAg") == [struct.pack(">IIB", 250, 125, 0)]
    told = by_exiftool(target, "SubjectPixelWidth", "SubjectPixelHeight", "SubjectUnits")
    assert told["SubjectUnits"] == 1
    assert float(told["SubjectPixelWidth"]) == pytest.approx(0.2)
    assert float(told["SubjectPixelHeight"]) == pytest.approx(0.1)
    assert enlarged(path, "out.tif")[1] == ["oFFs", "sCAL", "pCAL", "vpAg"]


def test_a_place_on_paper_stays(tmp_path: Path) -> None:
    place = struct.pack(">iiB", 5000, -6000, 1)
    target, lost = enlarged(png(tmp_path / "in.png", packed(b"oFFs", place)))
    assert (chunks(target, b"oFFs"), lost) == ([place], [])


def test_a_turned_picture_has_no_place_any_more_and_its_scale_is_turned(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = png(
        tmp_path / "in.png",
        packed(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        packed(b"oFFs", struct.pack(">iiB", 30, 7, 0)),
        packed(b"sCAL", b"\1" + b"0.5\x002"),
        packed(b"pHYs", struct.pack(">IIB", 1000, 3000, 1)),
    )
    target, lost = enlarged(path)
    assert lost == ["oFFs"]
    assert chunks(target, b"sCAL") == [b"\x011\x000.25"]
    assert chunks(target, b"pHYs") == [struct.pack(">IIB", 3000, 1000, 1)]


def test_of_unknown_chunks_those_are_kept_that_editors_may_copy(tmp_path: Path) -> None:
    path = png(
        tmp_path / "in.png",
        packed(b"prVt", b"safe to copy") * 2,
        packed(b"prVT", b"of the pixels as they were"),
        packed(b"sTER", b"\0"),
        packed(b"sPLT", b"name\0\x08" + bytes(6)),
    )
    target, lost = enlarged(path)
    assert chunks(target, b"prVt") == [b"safe to copy"] * 2
    assert chunks(target, b"sPLT") == chunks(path, b"sPLT")
    assert chunks(target, b"prVT") == chunks(target, b"sTER") == []
    assert lost == ["prVT", "sTER"]
    with PIL.Image.open(target) as opened:
        opened.load()


@pytest.mark.parametrize("kind", [b"bKGD", b"sBIT", b"oFFs", b"sCAL", b"pHYs", b"vpAg"])
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 300])
def test_damaged_chunks_do_no_harm(tmp_path: Path, kind: bytes, content: bytes) -> None:
    path = png(tmp_path / "in.png", packed(kind, content), mode="P")
    target, _ = enlarged(path)
    with PIL.Image.open(target) as opened:
        opened.load()
        assert opened.size == (24, 20)


def test_as_much_as_is_reasonable_is_taken_into_memory(tmp_path: Path) -> None:
    many = packed(b"prVt", bytes(2**23)) * 9
    found = list(png_chunks.read(png(tmp_path / "in.png", many)))
    assert sum(len(chunk.content or b"") for chunk in found) < 2**26


def test_the_shared_files_that_were_wrong_are_right(tmp_path: Path, shared_data: Path) -> None:
    faults = shared_data / "inputs" / "faults"
    for name in ("issue#2026.png", "latin1_keyword.png", "cogs.png"):
        assert fakes.enlarge_file(faults / name, tmp_path / name) == ()
        for kind in (b"tEXt", b"zTXt", b"iTXt", b"pHYs"):
            assert chunks(tmp_path / name, kind) == chunks(faults / name, kind)


@pytest.mark.parametrize("behind", ["the end", "text", "half of the text", "pixels"])
def test_a_file_that_is_cut_behind_its_pixels_is_refused(tmp_path: Path, behind: str) -> None:
    text = packed(b"tEXt", b"Comment\0late")
    path = png(tmp_path / "in.png", after=text)
    content = path.read_bytes()
    end = content.index(b"IEND") - 4
    cuts = {"the end": len(content) - 1, "text": end, "half of the text": end - 9}
    path.write_bytes(content[: cuts.get(behind, end - len(text))])
    with pytest.raises(InputError, match=r"in.png: this picture is damaged or truncated: it has "):
        enlarged(path)
    path.write_bytes(content)
    assert chunks(enlarged(path)[0], b"tEXt") == [b"Comment\0late"]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_damaged_text_is_told_of(tmp_path: Path, kind: bytes) -> None:
    damaged = packed(kind, b"Comment\0\0\0\0\0late")[:-1] + b"\0"
    path = png(tmp_path / "in.png", after=damaged)
    target, lost = enlarged(path)
    assert lost == ["damaged or very long text"]
    assert chunks(target, kind) == []
    assert enlarged(path, "out.webp")[1] == ["text"]
