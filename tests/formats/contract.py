"""What every source and every sink must do, whatever its kind; after zarr's ``StoreTests``.

A subclass whose name begins with ``Test`` says how a raster of its kind is made, or read back, by
another library than its own, and gets all tests.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from upres.errors import ExistsError, InputError, OutputError
from upres.formats.metadata.carried import nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import RasterInfo, Role, bands_of
from upres.raster.source import Sink, Source

Array = NDArray[Any]


def waves(
    frames: int, height: int, width: int, bands: int, dtype: Any = np.uint8, most: float = 255
) -> Array:
    """Smooth samples, frames x height x width x bands, each frame and band unlike the others."""
    t, y, x, band = np.ogrid[:frames, :height, :width, :bands]
    wave = np.sin(x / (9 + band) + y / (7 + band) + t)
    return np.round((wave * 0.4 + 0.5) * most).astype(dtype)


def info_of(
    height: int, width: int, *roles: Role, dtype: Any = np.uint8, frames: int = 1, high: float = 255
) -> RasterInfo:
    """A raster whose bands range from 0 to ``high``."""
    return RasterInfo(
        height, width, bands_of(roles, 0.0, high), np.dtype(dtype), frames=frames, name="raster"
    )


def taken(source: Source, beside: Path) -> Array:
    """All samples of a source, frames x height x width x bands."""
    return np.stack([np.concatenate(list(frame)) for frame in source.frames(beside)])


def read(path: Path) -> tuple[RasterInfo, Array]:
    """The info and samples of a file of one picture, rows x columns x bands."""
    (source,) = open_pages(path)
    (frame,) = [np.concatenate(list(rows)) for rows in source.frames(path)]
    assert frame.dtype == source.info.dtype
    assert frame.shape == (source.info.height, source.info.width, len(source.info.bands))
    return source.info, frame


def check_damage_in_one_line(
    path: Path, content: bytes, seed: int, *, head: int, times: int = 60
) -> None:
    """Check that a file with three bytes of ``content`` changed is read, or refused in one line.

    Every second time, the bytes are among its first ``head``.
    """
    random = np.random.default_rng(seed)
    for number in range(times):
        damaged = bytearray(content)
        for place in random.integers(0, head if number % 2 else len(damaged), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        told = refusal(path)
        assert "\n" not in told
        assert told.startswith(str(path)) or not told


def check_refused_in_one_line(path: Path, content: bytes) -> None:
    """That a file of that content, written to ``path``, is refused with its name in one line."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def refusal(path: Path) -> str:
    """The error that a damaged file ends in; nothing if it can be read nevertheless."""
    try:
        (source,) = open_pages(path)
        if source.info.pixels < 10**6:
            taken(source, path)
    except InputError as error:
        return str(error)
    return ""


def upright(samples: Array, orientation: int) -> Array:
    """Samples of 8 bits as Pillow turns them for an EXIF orientation."""
    methods = PIL.Image.Transpose
    method = {
        2: methods.FLIP_LEFT_RIGHT,
        3: methods.ROTATE_180,
        4: methods.FLIP_TOP_BOTTOM,
        5: methods.TRANSPOSE,
        6: methods.ROTATE_270,
        7: methods.TRANSVERSE,
        8: methods.ROTATE_90,
    }.get(orientation)
    image = PIL.Image.fromarray(samples)
    return np.asarray(image.transpose(method) if method is not None else image)


def leftovers(folder: Path) -> list[str]:
    """The temporary files in a folder."""
    return [name for name in os.listdir(folder) if ".upres-" in name]


def running_threads() -> set[threading.Thread]:
    """Those that Python has started: what libvips has started comes and goes."""
    return {t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}


class SourceTests(ABC):
    """What every source does."""

    tolerance: float = 0
    """By which samples may differ from those that were stored: not at all without loss."""

    @abstractmethod
    def made(self, folder: Path) -> tuple[Source, Array]:
        """A source, and its samples as they were stored: frames x height x width x bands."""

    def test_its_info_is_that_of_its_samples(self, tmp_path: Path) -> None:
        source, samples = self.made(tmp_path)
        info = source.info
        shape = (info.frames, info.height, info.width, len(info.bands))
        assert (shape, info.dtype) == (samples.shape, samples.dtype)

    def test_blocks_of_rows_cover_each_frame_once_from_the_top(self, tmp_path: Path) -> None:
        source, samples = self.made(tmp_path)
        info, count = source.info, 0
        for frame in source.frames(tmp_path / "beside"):
            rows = 0
            for block in frame:
                assert block.shape[1:] == (info.width, len(info.bands))
                assert block.dtype == info.dtype
                stored = samples[count, rows : rows + len(block)]
                difference = np.abs(block.astype(float) - stored).max()
                assert difference <= self.tolerance, (count, rows)
                rows += len(block)
            assert rows == info.height
            count += 1
        assert count == info.frames

    def test_it_can_be_read_again_from_the_start(self, tmp_path: Path) -> None:
        source, _ = self.made(tmp_path)
        first = taken(source, tmp_path / "beside")
        for frame in source.frames(tmp_path / "beside"):
            next(iter(frame))  # and no more
            break
        np.testing.assert_array_equal(taken(source, tmp_path / "beside"), first)

    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        source, _ = self.made(tmp_path)
        before, threads = sorted(os.listdir(tmp_path)), running_threads()
        taken(source, tmp_path / "beside")
        assert sorted(os.listdir(tmp_path)) == before
        assert running_threads() <= threads


class FileSourceTests(SourceTests):
    """What every source of a file does, too."""

    suffix: str
    header_first = True
    """Whether the file's beginning tells all of its info, so that a truncated file can be opened;
    else it is refused at once."""

    @abstractmethod
    def stored(self, path: Path) -> Array:
        """Write a file by another library; return its samples as they were stored."""

    def made(self, folder: Path) -> tuple[Source, Array]:
        path = folder / f"made{self.suffix}"
        samples = self.stored(path)
        (source,) = open_pages(path)
        return source, samples

    @pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
    def test_what_is_truncated_is_refused_in_one_line(self, tmp_path: Path, part: float) -> None:
        path = tmp_path / f"made{self.suffix}"
        self.stored(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(InputError) as caught:
            [taken(source, tmp_path / "beside") for source in open_pages(path)]
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not leftovers(tmp_path)

    def test_its_info_is_told_without_its_pixels(self, tmp_path: Path) -> None:
        path = tmp_path / f"made{self.suffix}"
        samples = self.stored(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 9 // 10])
        if not self.header_first:
            with pytest.raises(InputError):
                open_pages(path)
            return
        (source,) = open_pages(path)
        assert (source.info.height, source.info.width) == samples.shape[1:3]

    def test_its_content_and_not_its_name_decides(self, tmp_path: Path) -> None:
        path = tmp_path / "made.xyz"
        made = tmp_path / f"made{self.suffix}"
        samples = self.stored(made)
        made.rename(path)
        (source,) = open_pages(path)
        assert (source.info.height, source.info.width) == samples.shape[1:3]


class SinkTests(ABC):
    """What every sink of files does."""

    suffix: str
    info: RasterInfo = info_of(40, 56, "red", "green", "blue")
    """Of a raster that it holds."""
    tolerance: float = 0
    refused: tuple[RasterInfo, ...] = ()
    """Rasters that it cannot hold."""

    @abstractmethod
    def read(self, path: Path) -> Array:
        """A result's samples by another library: frames x height x width x bands."""

    @property
    def samples(self) -> Array:
        """Those that are given to it."""
        info = self.info
        most = info.varying[0].high or 0
        count = info.frames or 1
        return waves(count, info.height, info.width, len(info.varying), info.dtype, most)

    def sink(self, target: Path) -> Sink:
        return create_sink(target)

    def begun(self, sink: Sink) -> None:
        sink.begin(self.info, nothing_carried())

    def fill(self, sink: Sink, rows: int = 1000, columns: int = 1000) -> None:
        """Write all of the samples, in windows of that size."""
        for frame, samples in enumerate(self.samples):
            for top, left, block in windows(samples, rows, columns):
                # As windows come from an engine: planes, of which the bands are the last axis.
                planes = np.moveaxis(np.ascontiguousarray(np.moveaxis(block, 2, 0)), 0, 2)
                most = self.info.varying[0].high or 1
                sink.write(frame, top, left, (planes / most).astype(np.float32))

    def written(
        self, target: Path, rows: int = 1000, columns: int = 1000, *, replace: bool = True
    ) -> bytes:
        with self.sink(target) as sink:
            self.begun(sink)
            self.fill(sink, rows, columns)
            sink.commit(replace=replace)
        return target.read_bytes()

    def give_up(self, target: Path, doing: str, error: BaseException) -> None:
        """Raise an error when a part of the work is done."""
        with self.sink(target) as sink:
            if doing != "nothing":
                self.begun(sink)
            if doing in ("a window", "all but one"):
                blocks = list(windows(self.samples[0] / 255, 8, 56))
                for top, left, block in blocks[: 1 if doing == "a window" else -1]:
                    sink.write(0, top, left, block.astype(np.float32))
            if doing == "all":
                self.fill(sink)
            raise error

    def test_it_holds_what_it_was_given(self, tmp_path: Path) -> None:
        target = tmp_path / f"out{self.suffix}"
        self.written(target)
        result = self.read(target)
        assert result.shape == self.samples.shape
        assert result.dtype == self.info.dtype
        assert np.abs(result.astype(float) - self.samples).max() <= self.tolerance
        assert os.listdir(tmp_path) == [target.name]

    @pytest.mark.parametrize("window", [(1, 1000), (16, 17), (7, 56), (1000, 9)])
    def test_windows_of_any_size_give_the_same_file(
        self, tmp_path: Path, window: tuple[int, int]
    ) -> None:
        target = tmp_path / f"out{self.suffix}"
        whole = self.written(target)
        assert self.written(target, *window) == whole

    def test_nothing_is_there_until_it_is_committed(self, tmp_path: Path) -> None:
        target = tmp_path / f"out{self.suffix}"
        with self.sink(target) as sink:
            self.begun(sink)
            self.fill(sink)
            assert not target.exists()
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("doing", ["nothing", "begun", "a window", "all but one", "all"])
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_what_is_given_up_leaves_nothing_behind(
        self, tmp_path: Path, doing: str, error: type[BaseException]
    ) -> None:
        target = tmp_path / f"out{self.suffix}"
        target.write_bytes(b"old")
        threads = running_threads()
        with pytest.raises(error):
            self.give_up(target, doing, error())
        assert os.listdir(tmp_path) == [target.name]
        assert target.read_bytes() == b"old"
        assert running_threads() <= threads

    def test_what_is_there_is_replaced_only_if_asked(self, tmp_path: Path) -> None:
        target = tmp_path / f"out{self.suffix}"
        target.write_bytes(b"old")
        with pytest.raises(ExistsError):
            self.written(target, replace=False)
        assert target.read_bytes() == b"old"
        self.written(target)
        assert target.read_bytes() != b"old"
        assert os.listdir(tmp_path) == [target.name]

    def test_it_refuses_what_it_cannot_hold(self, tmp_path: Path) -> None:
        target = tmp_path / f"out{self.suffix}"
        for info in self.refused:
            with pytest.raises(OutputError) as caught, self.sink(target) as sink:
                sink.begin(info, nothing_carried())
            assert str(caught.value).startswith(str(target))
            assert "\n" not in str(caught.value)
            assert os.listdir(tmp_path) == []

    def test_what_another_source_carries_is_not_looked_at(self, tmp_path: Path) -> None:
        target = tmp_path / f"out{self.suffix}"
        plain = self.written(target)
        with self.sink(target) as sink:
            sink.begin(self.info, object())
            self.fill(sink)
            sink.commit(replace=True)
        assert target.read_bytes() == plain


def windows(samples: Array, rows: int, columns: int) -> Iterator[tuple[int, int, Array]]:
    """Parts of rows x columns of a frame, from the top, each with its row and column."""
    for top in range(0, samples.shape[0], rows):
        for left in range(0, samples.shape[1], columns):
            yield top, left, samples[top : top + rows, left : left + columns]


def with_constant_alpha(info: RasterInfo) -> RasterInfo:
    """The same raster with alpha that is opaque throughout."""
    (alpha,) = bands_of(["alpha"], 0.0, info.bands[0].high)
    return dataclasses.replace(info, bands=(*info.bands, dataclasses.replace(alpha, constant=True)))
