"""A file that is enlarged is opened as few times as its format allows."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest
import tifffile
from contract import waves

from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.files import PROCESS

opened: Counter[str] = Counter()
"""Files that Python has opened, by name; those of upres by what they end with."""


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        name = os.path.basename(os.fsdecode(arguments[0]))
        opened[f"*{os.path.splitext(name)[1]}" if PROCESS in name else name] += 1


sys.addaudithook(_count)  # for good: it cannot be removed


def make(path: Path, frames: int, bands: int) -> None:
    samples = waves(frames, 30, 41, bands)
    if path.suffix == ".tif":
        with tifffile.TiffWriter(path) as file:
            for frame in samples:
                file.write(frame, photometric="rgb")
        return
    first, *others = (PIL.Image.fromarray(frame) for frame in samples)
    exif = PIL.Image.Exif()
    exif[315] = "Nobody"
    options = {"save_all": True, "append_images": others, "duration": 50} if others else {}
    first.save(path, exif=exif, dpi=(300, 300), **options)


# Once to recognise it, of TIFF twice, once for all that libvips does not tell, once for libvips
# itself, and once or twice for the data that Pillow leaves out. Alpha that is opaque is found by
# reading all pixels,
# and then they are read again.
@pytest.mark.parametrize(
    ("suffix", "frames", "bands", "most"),
    [
        (".jpg", 1, 3, 5),
        (".png", 1, 3, 4),
        (".png", 1, 4, 5),
        (".webp", 1, 3, 5),
        (".gif", 1, 3, 5),
        (".avif", 1, 3, 5),
        (".tif", 1, 3, 5),
        (".png", 3, 3, 5),
        (".webp", 3, 3, 5),
        (".gif", 3, 3, 6),
        (".avif", 3, 3, 7),
    ],
)
def test_a_file_is_opened_a_few_times(
    tmp_path: Path, model_file: Path, suffix: str, frames: int, bands: int, most: int
) -> None:
    source, target = tmp_path / f"source{suffix}", tmp_path / f"target{suffix}"
    make(source, frames, bands)
    opened.clear()
    open_file(source, Options(model=str(model_file))).write(target)
    assert opened[source.name] <= most
    assert opened[target.name] == 0
    # Made, read for what is to be changed, and changed.
    if frames == 1:
        assert opened[f"*{suffix}"] <= 5


def test_opening_reads_no_pixels_twice(tmp_path: Path, model_file: Path) -> None:
    make(tmp_path / "a.jpg", 1, 3)
    opened.clear()
    opening = open_file(tmp_path / "a.jpg", Options(model=str(model_file)))
    assert opened["a.jpg"] == 4
    opening.write(tmp_path / "b.jpg")
    assert opened["a.jpg"] == 4


def test_each_page_is_opened_a_few_times(tmp_path: Path, model_file: Path) -> None:
    counts = []
    for pages in (2, 4):
        make(tmp_path / f"{pages}.tif", pages, 3)
        opened.clear()
        open_file(tmp_path / f"{pages}.tif", Options(model=str(model_file))).write(
            tmp_path / "out.tif"
        )
        counts.append(opened[f"{pages}.tif"])
    # Of each page: what it says, where the next is, its pixels; to plan it, and to read it.
    assert counts[1] - counts[0] == 2 * 6
