"""Frames that are encoded while they are made: in lock step, and whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from contract import Array, running_threads

from upres.formats.image.frame_stream import FrameStream
from upres.formats.image.spooled import head_of
from upres.raster import spool as spools
from upres.raster.spool import Spool

FRAMES = 5


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    before = running_threads()
    yield
    assert running_threads() <= before


def noise(height: int, width: int) -> Array:
    shape = (FRAMES, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def stored(path: Path, height: int, width: int) -> Spool:
    shape, dtype = (height, width, 3), np.dtype(np.uint8)
    return Spool(path, shape, dtype, head=head_of)


def handed_over(spool: Spool, samples: Array, stream: FrameStream) -> None:
    """Put frames in, each of which is gone as soon as the next is made."""
    for frame in samples:
        spool.write(0, 0, frame)
        stream.next_frame()
        spool.write(0, 0, np.zeros_like(frame))
    stream.finish()


# In memory, in a file, and as strips that begin in one frame and end in the next.
@pytest.mark.parametrize("size", [(40, 56), (1700, 1800), (301, 1100)])
def test_the_encoder_sees_every_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    samples, seen = noise(*size), []
    with stored(tmp_path / "s", *size) as spool:
        assert (spool.pixels is None) == (size[0] * size[1] * 3 > spools.MEMORY_BYTES)
        with FrameStream(spool, FRAMES, lambda image: seen.append(image.numpy())) as stream:
            handed_over(spool, samples, stream)
    np.testing.assert_array_equal(seen[0], np.concatenate(list(samples)))


def test_a_look_at_the_end_takes_no_frame(tmp_path: Path) -> None:
    samples, seen = noise(40, 56), []

    def encode(image: pyvips.Image) -> None:
        place = stream._seek(0, 1)
        stream._seek(0, 2)
        time.sleep(0.3)  # longer than what waits for a frame to be taken waits at once
        stream._seek(place, 0)
        seen.append(image.numpy())

    with stored(tmp_path / "s", 40, 56) as spool:
        stream = FrameStream(spool, FRAMES, encode)
        with stream:
            handed_over(spool, samples, stream)
    np.testing.assert_array_equal(seen[0], np.concatenate(list(samples)))


def test_a_frame_that_is_gone_is_not_taken_for_the_next(tmp_path: Path) -> None:
    seen = []

    def encode(image: pyvips.Image) -> None:
        image.numpy()
        stream._seek(-2 * 40 * 56 * 3, 2)
        seen.append(stream._read(10))

    with stored(tmp_path / "s", 40, 56) as spool:
        stream = FrameStream(spool, FRAMES, encode)
        with stream:
            handed_over(spool, noise(40, 56), stream)
    assert seen == [None]


def test_rows_are_taken_while_others_are_made(tmp_path: Path) -> None:
    height, width = 1700, 1800
    samples, seen = noise(height, width)[0], []

    def encode(image: pyvips.Image) -> None:
        region = pyvips.Region.new(image)
        seen.append(np.frombuffer(region.fetch(0, 0, width, 100), np.uint8))
        first.set()
        seen.append(np.frombuffer(region.fetch(0, 0, width, height), np.uint8))

    first = threading.Event()
    with stored(tmp_path / "s", height, width) as spool, FrameStream(spool, 1, encode) as stream:
        spool.write(0, 0, samples[:900])
        stream.rows_are_there(900)
        assert first.wait(20)
        spool.write(900, 0, samples[900:])
        stream.next_frame()
        stream.finish()
    np.testing.assert_array_equal(seen[0], samples[:100].ravel())


def test_no_row_is_taken_before_it_is_there(tmp_path: Path) -> None:
    height, width = 1700, 1800
    samples, seen = noise(height, width)[0], []
    with (
        stored(tmp_path / "s", height, width) as spool,
        FrameStream(spool, 1, lambda image: seen.append(image.numpy())) as stream,
    ):
        for top in range(0, height, 170):
            time.sleep(0.02)  # the encoder waits for rows by now
            spool.write(top, 0, samples[top : top + 170])
            stream.rows_are_there(top + 170)
        stream.next_frame()
        stream.finish()
    np.testing.assert_array_equal(seen[0], samples)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_encoder_that_fails_stops_the_work(tmp_path: Path, after: int) -> None:
    def encode(image: pyvips.Image) -> None:
        if after:
            image.crop(0, 0, 1800, 1700 * after).numpy()
        raise pyvips.Error("no room")

    with (
        stored(tmp_path / "s", 1700, 1800) as spool,
        FrameStream(spool, FRAMES, encode) as stream,
        pytest.raises(pyvips.Error, match="no room"),
    ):
        handed_over(spool, noise(1700, 1800), stream)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_work_that_is_given_up_stops_the_encoder(tmp_path: Path, after: int) -> None:
    ended = []

    def encode(image: pyvips.Image) -> None:
        try:
            image.numpy()
        finally:
            ended.append(True)

    def give_up(spool: Spool, stream: FrameStream) -> None:
        for frame in noise(1700, 1800)[:after]:
            spool.write(0, 0, frame)
            stream.next_frame()
        raise KeyboardInterrupt

    start = time.monotonic()
    with (
        stored(tmp_path / "s", 1700, 1800) as spool,
        pytest.raises(KeyboardInterrupt),
        FrameStream(spool, FRAMES, encode) as stream,
    ):
        give_up(spool, stream)
    assert ended == [True]
    assert time.monotonic() - start < 20


def test_a_disk_that_fails_is_told_as_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(Spool):
        def read(self, start: int, count: int) -> bytes:
            raise OSError(5, "Input/output error")

    shape, dtype = (40, 56, 3), np.dtype(np.uint8)

    def encode(image: Any) -> None:
        image.numpy()

    with (
        Broken(tmp_path / "s", shape, dtype) as spool,
        FrameStream(spool, FRAMES, encode) as stream,
        pytest.raises(OSError, match="Input/output error"),
    ):
        handed_over(spool, noise(40, 56), stream)
    assert "Traceback" not in capfd.readouterr().err
