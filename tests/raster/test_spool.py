"""A spool: the same in memory as in a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from numpy.typing import NDArray

from upres.raster.spool import ROWS_BYTES, Spool

MEMORY, DISK = 2**30, 0
PLACES = pytest.mark.parametrize("memory_bytes", [MEMORY, DISK], ids=["memory", "file"])
SAMPLES = np.random.default_rng(5).integers(0, 256, (13, 9, 3), np.uint8)


def whole(spool: Spool, orientation: int = 1) -> NDArray[np.uint8]:
    return np.concatenate(list(spool.blocks(orientation)))


def stored(path: Path, samples: NDArray[np.uint8], memory_bytes: int, head: bytes = b"") -> Spool:
    made = (lambda shape, dtype: head) if head else None
    spool = Spool(path, samples.shape, samples.dtype, head=made, memory_bytes=memory_bytes)
    spool.fill([samples])
    return spool


@PLACES
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_comes_out_turned_as_exif_says(
    tmp_path: Path, memory_bytes: int, orientation: int
) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(SAMPLES).save(tmp_path / "a.png", exif=exif)
    with PIL.Image.open(tmp_path / "a.png") as picture:
        expected = np.asarray(PIL.ImageOps.exif_transpose(picture))
    with stored(tmp_path / "a.raw", SAMPLES, memory_bytes) as spool:
        np.testing.assert_array_equal(whole(spool, orientation), expected)


@PLACES
@pytest.mark.parametrize("rows", [1, 4, 13])
@pytest.mark.parametrize("columns", [1, 4, 9])
def test_it_takes_windows_of_any_size_whose_bands_are_planes(
    tmp_path: Path, memory_bytes: int, rows: int, columns: int
) -> None:
    planes = np.ascontiguousarray(SAMPLES.transpose(2, 0, 1)).transpose(1, 2, 0)
    with Spool(
        tmp_path / "a.raw", SAMPLES.shape, SAMPLES.dtype, memory_bytes=memory_bytes
    ) as spool:
        for top in reversed(range(0, 13, rows)):
            for left in range(0, 9, columns):
                window = planes[top : top + rows, left : left + columns]
                assert window.shape[:2] == (min(rows, 13 - top), min(columns, 9 - left))
                spool.write(top, left, window)
        np.testing.assert_array_equal(whole(spool), SAMPLES)


@PLACES
@pytest.mark.parametrize(("start", "count"), [(0, 5), (26, 30), (0, 10_000), (350, 10)])
def test_its_samples_can_be_read_as_bytes(
    tmp_path: Path, memory_bytes: int, start: int, count: int
) -> None:
    with stored(tmp_path / "a.raw", SAMPLES, memory_bytes, head=b"a head") as spool:
        assert spool.read(start, count) == SAMPLES.tobytes()[start : start + count]


# Rows of 2 MiB, and a column of as many as half a million.
@PLACES
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_what_is_large_comes_in_several_blocks(
    tmp_path: Path, memory_bytes: int, orientation: int
) -> None:
    samples = np.zeros((5, 2**19, 4), np.uint8)
    samples[:, ::1000] = np.random.default_rng(5).integers(0, 256, (5, 525, 4), np.uint8)
    expected = {1: samples, 3: samples[::-1, ::-1], 6: samples[::-1].transpose(1, 0, 2)}
    with stored(tmp_path / "a.raw", samples, memory_bytes) as spool:
        blocks = list(spool.blocks(orientation))
        assert len(blocks) == 3
        assert all(block.nbytes <= ROWS_BYTES for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), expected[orientation])


def test_only_what_is_large_is_in_a_file_which_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    with stored(path, SAMPLES, SAMPLES.nbytes, head=b"head") as small:
        assert not path.exists()
        assert small.pixels is not None
    with stored(path, SAMPLES, SAMPLES.nbytes - 1, head=b"head") as large:
        assert path.read_bytes() == b"head" + SAMPLES.tobytes()
        assert large.pixels is None
    assert not path.exists()


def test_a_file_that_is_cut_short_meanwhile_is_told(tmp_path: Path) -> None:
    with stored(tmp_path / "a.raw", SAMPLES, DISK) as spool:
        os.truncate(spool.path, SAMPLES.nbytes - 1)
        with pytest.raises(OSError, match="a temporary file was cut short") as caught:
            whole(spool)
        assert caught.value.filename == str(spool.path)
