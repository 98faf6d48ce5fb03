"""AVIF's grids, what its colours mean, what is beside the picture; avifenc and avifdec judge."""

from __future__ import annotations

import re
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
from upres.formats.metadata import avif_items
from upres.formats.metadata.boxes import pack_box
from upres.formats.metadata.png_chunks import packed
from upres.formats.registry import open_pages

pytestmark = pytest.mark.skipif(
    shutil.which("avifenc") is None or shutil.which("avifdec") is None,
    reason="needs avifenc and avifdec",
)


def png(
    path: Path, width: int = 64, height: int = 64, *, mode: str = "RGB", shift: int = 0
) -> Path:
    y, x = np.mgrid[:height, :width]
    samples = np.stack([x * 3 + shift, y * 3, x + y, 255 - (x + y)], 2).clip(0, 255)
    PIL.Image.fromarray(samples[:, :, : len(mode)].astype(np.uint8), mode).save(path)
    return path


def avif(path: Path, *inputs: Path, **options: Any) -> Path:
    """A file by avifenc; ``options`` are its own, ``True`` for those without a value."""
    command = ["avifenc", "-j", "1", "-s", "8", "--min", "0", "--max", "10"]
    for name, value in options.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    subprocess.run([*command, *map(str, inputs), str(path)], check=True, capture_output=True)
    return path


def told(path: Path) -> dict[str, str]:
    """What avifdec tells of a file."""
    command = ["avifdec", "--info", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {key.strip(): value for key, value in re.findall(r"\* ([^:]+?)\s*: (.+)", text)}


def decoded(path: Path) -> NDArray[np.uint8]:
    """A file's samples by avifdec, in 8 bits."""
    target = path.with_suffix(".decoded.png")
    command = ["avifdec", "-j", "1", "--depth", "8", str(path), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    with PIL.Image.open(target) as opened:
        return np.asarray(opened)


def numbers(path: Path) -> tuple[str, str]:
    known = told(path)
    return known["Color Primaries"], known["Transfer Char."]


MEANINGS = [(9, 16, 9), (9, 18, 9), (12, 16, 6), (9, 14, 9), (1, 8, 1), (1, 16, 6)]


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_what_colours_mean_is_written_again(
    tmp_path: Path, meaning: tuple[int, int, int], depth: int
) -> None:
    numbered = "/".join(map(str, meaning))
    path = avif(tmp_path / "in.avif", png(tmp_path / "in.png"), cicp=numbered, depth=depth, yuv=444)
    target = tmp_path / "out.avif"
    fakes.enlarge_file(path, target)
    assert numbers(target) == numbers(path) == (str(meaning[0]), str(meaning[1]))
    assert told(target)["Bit Depth"] == str(depth)
    # The pixels are those that the numbers are told of.
    expected = fakes.enlarge_array(decoded(path))
    assert np.abs(decoded(target).astype(int) - expected).mean() < 2
    again = tmp_path / "again.avif"
    fakes.enlarge_file(target, again)
    assert numbers(again) == numbers(path)


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA"])
def test_that_holds_for_alpha_and_grey(tmp_path: Path, mode: str) -> None:
    with PIL.Image.open(png(tmp_path / "in.png", mode="RGBA")) as opened:
        picture = opened.convert(mode)
    picture.save(tmp_path / "in.png")
    content = (tmp_path / "in.png").read_bytes()
    chunk = packed(b"cICP", bytes([9, 16, 0, 1]))
    (tmp_path / "in.png").write_bytes(content[:33] + chunk + content[33:])
    target = tmp_path / "out.avif"
    fakes.enlarge_file(tmp_path / "in.png", target)
    assert numbers(target) == ("9", "16")
    expected = fakes.enlarge_array(np.asarray(picture.convert("RGBA")))
    found = decoded(target)
    assert np.abs(found.astype(int)[..., :3] - expected[..., :3]).mean() < 3
    if "A" in mode:
        assert np.abs(found.astype(int)[..., 3] - expected[..., 3]).mean() < 3


def test_plain_colours_stay_plain(tmp_path: Path) -> None:
    path = avif(tmp_path / "in.avif", png(tmp_path / "in.png"), cicp="1/13/6")
    fakes.enlarge_file(path, tmp_path / "out.avif")
    assert numbers(tmp_path / "out.avif") == ("1", "13")


def test_numbers_that_there_are_not_are_unknown(tmp_path: Path) -> None:
    path = avif(tmp_path / "in.avif", png(tmp_path / "in.png"), cicp="9/16/9")
    content = path.read_bytes()
    assert content.count(b"nclx\0\t\0\x10") == 1
    path.write_bytes(content.replace(b"nclx\0\t\0\x10", b"nclx\1\t\7\x10"))
    assert avif_items.read(path).colour_numbers == (2, 2)
    fakes.enlarge_file(path, tmp_path / "out.avif")


def test_exif_and_xmp_are_where_they_should_be_in_such_a_file(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[315], exif[270] = "an artist", "x" * 3000
    picture = PIL.Image.open(png(tmp_path / "plain.png"))
    picture.save(tmp_path / "in.png", exif=exif)
    path = avif(tmp_path / "in.avif", tmp_path / "in.png", cicp="9/16/9")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b" " * 500 + b"</x:xmpmeta>"
    (tmp_path / "xmp").write_bytes(xmp)
    path = avif(path, tmp_path / "in.png", cicp="9/16/9", xmp=tmp_path / "xmp")
    target = tmp_path / "out.avif"
    fakes.enlarge_file(path, target)
    known = told(target)
    assert "Present" in known["Exif Metadata"]
    assert known["XMP Metadata"] == f"Present ({len(xmp)} bytes)"
    with PIL.Image.open(target) as opened:
        assert opened.getexif()[315] == "an artist"
        assert opened.getexif()[270] == "x" * 3000


@pytest.mark.parametrize(("columns", "rows"), [(1, 5), (2, 2), (3, 1)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_grid_is_one_picture(tmp_path: Path, columns: int, rows: int, mode: str) -> None:
    tiles = [
        png(tmp_path / f"{number}.png", mode=mode, shift=9 * number)
        for number in range(columns * rows)
    ]
    path = avif(tmp_path / "in.avif", *tiles, grid=f"{columns}x{rows}", yuv=444)
    (source,) = open_pages(path)
    samples = taken(source, tmp_path / "beside")[0]
    assert samples.shape == (64 * rows, 64 * columns, len(mode))
    assert np.abs(samples.astype(int) - decoded(path)).max() <= 3
    fakes.enlarge_file(path, tmp_path / "out.avif")
    with PIL.Image.open(tmp_path / "out.avif") as opened:
        assert opened.size == (128 * columns, 128 * rows)


def test_several_pictures_are_refused(tmp_path: Path) -> None:
    path = avif(tmp_path / "in.avif", png(tmp_path / "in.png"))
    content = path.read_bytes()
    items = avif_items.read(path)
    assert items.pictures == [1]
    items.kinds[2] = b"av01"
    assert items.pictures == [1, 2]
    items.references.append((b"thmb", 2, 1))
    assert items.pictures == [1]
    assert content == path.read_bytes()


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_damaged_files_are_refused(tmp_path: Path, cut: float) -> None:
    path = avif(tmp_path / "in.avif", png(tmp_path / "in.png"), cicp="9/16/9")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(InputError):
        fakes.enlarge_file(path, tmp_path / "out.avif")
    assert not (tmp_path / "out.avif").exists()


def test_boxes_that_lie_are_nothing(tmp_path: Path) -> None:
    inside = pack_box(b"iinf", bytes(4) + b"\xff\xff") + pack_box(b"iref", bytes(4) + b"\xff" * 9)
    associations = pack_box(b"ipma", bytes(4) + b"\xff" * 4 + b"\0\1\xff")
    inside += pack_box(b"iprp", pack_box(b"ipco", b"") + associations)
    inside += pack_box(b"pitm", struct.pack(">IH", 0, 7))
    (tmp_path / "in.avif").write_bytes(pack_box(b"meta", bytes(4) + inside))
    found = avif_items.read(tmp_path / "in.avif")
    assert (found.pictures, found.colour_numbers, found.extras) == ([], (2, 2), [])


def test_the_shared_files_that_were_wrong_are_right(tmp_path: Path, shared_data: Path) -> None:
    faults = shared_data / "inputs" / "faults"
    lost = fakes.enlarge_file(faults / "colors_hdr_rec2020.avif", tmp_path / "hdr.avif")
    assert lost == ("gain map",)
    assert numbers(tmp_path / "hdr.avif") == ("9", "16")
    assert avif_items.read(tmp_path / "hdr.avif").light == [(b"clli", b"\x01\xd6\x01\x07")]
    fakes.enlarge_file(faults / "sofa_grid1x5_420.avif", tmp_path / "sofa.png")
    grid = tmp_path / "grid.avif"
    grid.write_bytes((faults / "sofa_grid1x5_420.avif").read_bytes())
    with PIL.Image.open(tmp_path / "sofa.png") as opened:
        result = np.asarray(opened, int)
    assert result.shape == (1540, 2048, 3)
    shown = decoded(grid).astype(int)
    small = result.reshape(770, 2, 1024, 2, 3).mean((1, 3))
    assert np.abs(small - shown).mean() < 2
