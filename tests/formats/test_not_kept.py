"""What the table of formats says is kept is there in the results, and all else is told."""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

import fakes
from running import upres
from upres.cli.console import lacking
from upres.formats.metadata import names
from upres.formats.metadata.png_chunks import packed
from upres.formats.registry import FORMATS, called
from upres.formats.table import Format

WRITTEN = [row for row in FORMATS if row.writes and not (row.linear or row.closed or row.endless)]
DOCS = Path(__file__).parents[2] / "docs" / "formats.md"

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    b' photoshop:City="Bergen"/></rdf:RDF></x:xmpmeta>'
)


def block(number: int, content: bytes) -> bytes:
    head = b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(content).to_bytes(4, "big")
    return head + content + bytes(len(content) % 2)


def photograph(path: Path) -> Path:
    """A JPEG file with all that one may say of itself."""
    exif = PIL.Image.Exif()
    exif[315], exif[282], exif[283], exif[296] = "an artist", 300.0, 300.0, 2
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    ramp = np.linspace(0, 255, 24 * 20 * 3).astype(np.uint8).reshape(20, 24, 3)
    PIL.Image.fromarray(ramp).save(
        file, "JPEG", exif=exif, xmp=XMP, icc_profile=profile, dpi=(300, 300), comment=b"a comment"
    )
    content = file.getvalue()
    caption = b"\x1c\x02\x78\x00\x09a caption"
    photoshop = b"Photoshop 3.0\0" + block(0x0404, caption) + block(0x03F0, b"\x05hello")
    added = b""
    for marker, inside in ((0xED, photoshop), (0xE5, b"RMETA\0maker")):
        added += bytes([0xFF, marker]) + (len(inside) + 2).to_bytes(2, "big") + inside
    path.write_bytes(content[:2] + added + content[2:])
    return path


def drawing(path: Path) -> Path:
    """A PNG file with all that PNG alone has."""
    PIL.Image.new("RGB", (12, 10), (90, 9, 200)).save(path)
    content = path.read_bytes()
    chunks = (
        packed(b"tEXt", b"Title\0a title"),
        packed(b"oFFs", struct.pack(">iiB", 1, 2, 0)),
        packed(b"sBIT", bytes([5, 6, 5])),
        packed(b"pHYs", struct.pack(">IIB", 2, 1, 0)),
    )
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])
    return path


TAGS = {
    names.EXIF: ("EXIF:Artist", "an artist"),
    names.XMP: ("XMP:City", "Bergen"),
    names.IPTC: ("IPTC:Caption-Abstract", "a caption"),
    names.COMMENTS: ("Comment", "a comment"),
    names.PROFILE: ("ICC_Profile:ProfileClass", "mntr"),
}
"""What ExifTool calls parts, and what it should find."""


def found(path: Path) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool")
    command = ["exiftool", "-json", "-n", "-G0", "-a", str(path)]
    told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    tags: dict[str, Any] = json.loads(told)[0]
    return {key: str(value).strip() for key, value in tags.items()} | {
        key.partition(":")[2]: str(value).strip() for key, value in tags.items()
    }


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_what_a_format_keeps_is_in_its_results_and_the_rest_is_told(
    tmp_path: Path, row: Format
) -> None:
    path = photograph(tmp_path / "in.jpg")
    target = tmp_path / f"out{row.suffixes[0]}"
    lost = fakes.enlarge_file(path, target)
    has = set(TAGS) | {names.PHOTOSHOP, names.RESOLUTION, names.MAKERS}
    assert set(lost) == has - row.keeps
    tags = found(target)
    for name, (tag, expected) in TAGS.items():
        # One that is applied to the pixels is not in the file, and JPEG XL compresses it.
        unseen = name == names.PROFILE and row.name in ("gif", "jpeg 2000", "jxl")
        if name in row.keeps and not unseen:
            assert tags.get(tag) == expected, (row.name, name)
        elif name not in row.keeps:
            assert tag not in tags, (row.name, name)
    if names.PHOTOSHOP in row.keeps:
        assert "hello" in json.dumps(tags) or b"hello" in target.read_bytes() or row.name == "png"
    if names.MAKERS in row.keeps:
        assert b"RMETA\0maker" in target.read_bytes()


@pytest.mark.parametrize("row", WRITTEN, ids=lambda row: row.name)
def test_what_only_png_has_is_told_chunk_by_chunk(tmp_path: Path, row: Format) -> None:
    path = drawing(tmp_path / "in.png")
    lost = set(fakes.enlarge_file(path, tmp_path / f"out{row.suffixes[0]}"))
    expected = {names.TEXT, names.ASPECT} - row.keeps
    if names.CHUNKS not in row.keeps:
        expected |= {"oFFs", "sBIT"}
    assert lost == expected


def test_a_picture_that_says_nothing_loses_nothing(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (12, 10)).save(tmp_path / "in.png")
    for row in WRITTEN:
        assert not fakes.enlarge_file(tmp_path / "in.png", tmp_path / f"out{row.suffixes[0]}")


def test_an_animation_tells_it_once(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (12, 10), (n, 99, 200)) for n in (0, 90, 200)]
    frames[0].save(
        tmp_path / "in.gif", save_all=True, append_images=frames[1:], comment=b"a comment"
    )
    for suffix, expected in (("webp", ["comments"]), ("png", []), ("gif", [])):
        lost = fakes.enlarge_file(tmp_path / "in.gif", tmp_path / f"out.{suffix}")
        assert list(lost) == expected


def test_pages_tell_it_once(tmp_path: Path) -> None:
    pages = [PIL.Image.new("RGB", (12, 10), (n, 99, 200)) for n in (0, 90)]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:], dpi=(300, 300))
    assert not fakes.enlarge_file(tmp_path / "in.tif", tmp_path / "out.tif")


def test_the_command_says_it_in_one_line_a_file(tmp_path: Path) -> None:
    photograph(tmp_path / "in.jpg")
    run = upres("enlarge", "in.jpg", "-s", "2", "-o", "out.webp", cwd=tmp_path)
    line = "out.webp: not kept: "
    told = [each for each in run.stderr.splitlines() if each.startswith(line)]
    assert len(told) == 1
    lost = ("IPTC", "Photoshop's data", "comments", "maker's data")
    assert told[0].removeprefix(line).split(", ") == list(lost)
    assert run.stderr.splitlines()[-1] == told[0]
    assert lacking("out.webp", lost) == told[0]
    quiet = upres("enlarge", "in.jpg", "-s", "2", "-o", "q.webp", "--quiet", cwd=tmp_path)
    assert quiet.stderr == ""


def test_the_page_on_formats_has_the_table_s_parts() -> None:
    """Each format that is written has a row, whose cells say which parts are kept."""
    text = DOCS.read_text("utf-8")
    _, _, section = text.partition("## Metadata")
    lines = [line for line in section.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in lines[0].strip("|").split("|")][1:]
    rows: dict[str, dict[str, str]] = {}
    for line in lines[2:]:
        suffix, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        for each in re.findall(r"`(\.\w+)`", suffix):
            rows[each] = dict(zip(columns, cells, strict=True))
    for row in FORMATS:
        if not row.writes or row.closed or row.endless:  # docs/video.md tells of videos
            continue
        told = rows[row.suffixes[0]]
        assert {name for name, cell in told.items() if cell} == row.keeps, row.name
    every = {getattr(names, name) for name in dir(names) if name.isupper() and name != "PHOTOGRAPH"}
    assert set(columns) == every
    assert all(called(suffix) for suffix in rows)


def test_iptc_goes_from_jpeg_to_png_and_back(tmp_path: Path) -> None:
    path = photograph(tmp_path / "in.jpg")
    fakes.enlarge_file(path, tmp_path / "between.png")
    if shutil.which("identify") is not None:
        command = ["identify", "-format", "%[IPTC:2:120]", str(tmp_path / "between.png")]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert shown == "a caption"
    lost = fakes.enlarge_file(tmp_path / "between.png", tmp_path / "out.jpg")
    assert list(lost) == ["text"]  # the comment, which became PNG's text
    assert found(tmp_path / "out.jpg")["IPTC:Caption-Abstract"] == "a caption"
    assert block(0x03F0, b"\x05hello") in (tmp_path / "out.jpg").read_bytes()
