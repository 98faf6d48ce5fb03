"""Camera raw: DNGs made here by tifffile, developed as their tags say by arithmetic."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from contract import Array, check_damage_in_one_line, taken

from upres.errors import InputError, OutputError
from upres.formats.metadata import raw_files
from upres.formats.metadata.tiff_tags import EXIF
from upres.formats.registry import create_sink, open_pages, recognised
from upres.raster.source import Source

pytest.importorskip("rawpy")

CFA, LINEAR = 32803, 34892

# Of XYZ at D65, the light of sRGB's primaries (IEC 61966-2-1): a camera that sees these.
MATRIX = [
    *(3.2404542, -1.5371385, -0.4985314),
    *(-0.9692660, 1.8760108, 0.0415560),
    *(0.0556434, -0.2040259, 1.0572252),
]
NEUTRAL = np.array([0.5, 1, 0.8])
"""How bright grey is to the camera's red, green and blue."""


def rationals(values: Any) -> list[int]:
    return [number for value in values for number in (round(value * 10000), 10000)]


def dng(path: Path, samples: Array, *, orientation: int = 1, version: bool = True) -> Path:
    """A DNG of a mosaic RG/GB, or of linear light."""
    mosaic = samples.ndim == 2
    white = 65535 if mosaic else [65535] * 3
    tags = [
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Model", True),
        (274, 3, 1, orientation, True),
        (315, 2, 0, "Jane", True),
        (50717, 4, 1 if mosaic else 3, white, True),
        (50721, 10, 9, rationals(MATRIX), True),
        (50728, 5, 3, rationals(NEUTRAL), True),
        (50778, 3, 1, 21, True),
    ]
    if version:
        tags += [(50706, 1, 4, (1, 4, 0, 0), True), (50708, 2, 0, "Maker Model", True)]
    if mosaic:
        tags += [(33421, 3, 2, (2, 2), True), (33422, 1, 4, (0, 1, 1, 2), True)]
    kind = CFA if mosaic else LINEAR
    tifffile.imwrite(path, samples, photometric=kind, extratags=tags, metadata=None)
    return path


def mosaic_of(light: Array) -> Array:
    """Which light of red, green and blue, from 0 to 1, a sensor of RG/GB keeps of each pixel."""
    camera = np.round(light * NEUTRAL * 65535).astype(np.uint16)
    samples = camera[:, :, 1].copy()
    samples[0::2, 0::2] = camera[0::2, 0::2, 0]
    samples[1::2, 1::2] = camera[1::2, 1::2, 2]
    return samples


def srgb(light: Array) -> Array:
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def flat(height: int = 64, width: int = 96) -> Array:
    return np.broadcast_to([0.2, 0.5, 0.1], (height, width, 3))


def opened(path: Path) -> Source:
    (source,) = open_pages(path)
    return source


def test_a_mosaic_is_developed_to_srgb(tmp_path: Path) -> None:
    source = opened(dng(tmp_path / "in.dng", mosaic_of(flat())))
    assert [band.role for band in source.info.bands] == ["red", "green", "blue"]
    assert source.info.dtype == np.uint16
    result = taken(source, tmp_path / "x")[0] / 65535
    # No sample is brightened by what others are.
    np.testing.assert_allclose(result, srgb(flat()), atol=2e-4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_is_turned_once(tmp_path: Path, orientation: int) -> None:
    ramp = np.linspace(0.05, 0.9, 96)[None, :, None] * np.linspace(0.2, 1, 64)[:, None, None]
    light = np.broadcast_to(ramp, (64, 96, 3))
    source = opened(dng(tmp_path / "in.dng", mosaic_of(light), orientation=orientation))
    expected = np.rot90(srgb(light), {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    result = taken(source, tmp_path / "x")[0] / 65535
    assert (source.info.height, source.info.width) == expected.shape[:2]
    assert np.abs(result - expected)[4:-4, 4:-4].max() < 0.02
    assert source.carried.orientation == 1  # type: ignore[attr-defined]


def test_linear_dng(tmp_path: Path) -> None:
    camera = np.round(flat() * NEUTRAL * 65535).astype(np.uint16)
    source = opened(dng(tmp_path / "in.dng", camera))
    result = taken(source, tmp_path / "x")[0] / 65535
    np.testing.assert_allclose(result, srgb(flat()), atol=2e-4)


def test_what_is_in_it_tells_it_from_tiff(tmp_path: Path) -> None:
    samples = mosaic_of(flat())
    # A DNG that is called .tif is developed; so is a sensor's mosaic without a version.
    for version in (True, False):
        path = dng(tmp_path / "in.tif", samples, version=version)
        row = recognised(path.read_bytes()[:256], path)
        assert row is not None
        assert row.name == "camera raw"
        assert opened(path).info.dtype == np.uint16
    # A scanned TIFF that is called .nef stays a TIFF.
    scan = tmp_path / "scan.nef"
    tifffile.imwrite(scan, np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    row = recognised(scan.read_bytes()[:256], scan)
    assert row is not None
    assert row.name == "tiff"
    assert opened(scan).info.dtype == np.uint8
    # A sensor's samples beside a small picture, as makers have them, are in a directory of it.
    nested = tmp_path / "nested.tif"
    with tifffile.TiffWriter(nested) as writer:
        writer.write(np.zeros((8, 9, 3), np.uint8), photometric="rgb", subifds=1)
        writer.write(samples, photometric=CFA)
    assert raw_files.is_raw(nested)


@pytest.mark.parametrize(
    "head",
    [
        b"II*\0\x10\0\0\0CR\x02\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"FUJIFILMCCD-RAW 0201FF",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
    ],
    ids=["CR2", "CR3", "RAF", "ORF", "RW2"],
)
def test_makers_marks(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "in.jpg"
    path.write_bytes(head.ljust(300, b"\0"))
    row = recognised(head.ljust(256, b"\0"), path)
    assert row is not None
    assert row.name == "camera raw"
    with pytest.raises(InputError, match=r"in\.jpg: .*(?:damaged or truncated|does not read)"):
        open_pages(path)


def test_it_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.dng: cannot write this format; name it \.png"):
        create_sink(tmp_path / "out.dng")


def test_descriptive_tags_are_kept_without_notes_of_the_maker(tmp_path: Path) -> None:
    path = dng(tmp_path / "in.dng", mosaic_of(flat()))
    content = bytearray(path.read_bytes())
    # A directory of EXIF at the end, for which the one of the artist gives way.
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    tags = [struct.unpack_from("<H", content, start + 2 + 12 * i)[0] for i in range(count)]
    # 34665 is to stand in order: after 33422, and before 50706.
    place = start + 2 + 12 * tags.index(50708)
    struct.pack_into("<HHII", content, place, EXIF, 4, 1, len(content))
    entries = [
        struct.pack("<HHIHH", 34855, 3, 1, 400, 0),  # sensitivity
        struct.pack("<HHI4s", 37500, 7, 4, b"note"),
        struct.pack("<HHIHH", 40961, 3, 1, 65535, 0),  # Adobe RGB
    ]
    content += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(content)
    block = raw_files.read_exif(path)
    target = tmp_path / "block.tif"
    target.write_bytes(block.removeprefix(b"Exif\0\0"))
    assert b"Jane" in block
    assert b"Maker" in block
    assert b"note" not in block
    assert struct.pack("<HHIH", 34855, 3, 1, 400) in block
    assert struct.pack("<HHIH", 40961, 3, 1, 1) in block  # sRGB
    assert opened(path).carried.find("exif-data") == block  # type: ignore[attr-defined]


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.999])
def test_what_is_truncated_is_refused_in_one_line(tmp_path: Path, part: float) -> None:
    path = dng(tmp_path / "in.dng", mosaic_of(flat()))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=r"in\.dng: .*damaged or truncated") as caught:
        taken(opened(path), path)
    assert "\n" not in str(caught.value)


def test_fewer_samples_than_pixels_are_found_out(tmp_path: Path) -> None:
    # Else LibRaw would fill up with black.
    path = dng(tmp_path / "in.dng", mosaic_of(flat()))
    content = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, place)[0] == 257:
            struct.pack_into("<HI", content, place + 2, 4, 1)
            struct.pack_into("<I", content, place + 8, 640)
    path.write_bytes(content)
    with pytest.raises(InputError, match="its samples are fewer than its pixels"):
        opened(path)


@pytest.mark.parametrize("seed", range(3))
def test_damage_ends_in_one_line(tmp_path: Path, seed: int) -> None:
    path = dng(tmp_path / "in.dng", mosaic_of(flat()))
    check_damage_in_one_line(path, path.read_bytes(), seed, head=400)
