"""AVIF sequences: read, written, and judged by libavif through Pillow and avifdec."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest
from contract import Array, FileSourceTests, SinkTests, info_of, taken, waves

from upres.errors import InputError
from upres.formats.metadata import avif_tracks, timing
from upres.formats.metadata.avif_boxes import boxes
from upres.formats.metadata.carried import nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import RasterInfo


def by_pillow(path: Path) -> Array:
    with PIL.Image.open(path) as image:
        return np.stack([np.asarray(frame) for frame in PIL.ImageSequence.Iterator(image)])


def save(path: Path, samples: Array, **options: Any) -> None:
    first, *others = (PIL.Image.fromarray(frame) for frame in samples)
    first.save(
        path, save_all=True, append_images=others, quality=95, subsampling="4:4:4", **options
    )


class TestAvifSequenceSource(FileSourceTests):
    """As Pillow writes it: most frames are differences."""

    suffix = ".avif"
    header_first = False
    tolerance = 8

    def stored(self, path: Path) -> Array:
        samples = waves(4, 90, 77, 3)
        save(path, samples, duration=40)
        return samples


class TestAlphaAvifSequenceSource(TestAvifSequenceSource):
    def stored(self, path: Path) -> Array:
        samples = waves(3, 60, 44, 4)
        samples[..., 3] |= 128
        save(path, samples, duration=40)
        return samples


class TestAvifSequenceSink(SinkTests):
    suffix = ".avif"
    tolerance = 12
    info = info_of(40, 56, "red", "green", "blue", frames=4)

    def read(self, path: Path) -> Array:
        return by_pillow(path)


class TestAlphaAvifSequenceSink(TestAvifSequenceSink):
    info = info_of(40, 56, "red", "green", "blue", "alpha", frames=3)

    @property
    def samples(self) -> Array:
        samples = super().samples
        samples[..., 3] |= 192
        return samples


class TestDeepAvifSequenceSink(TestAvifSequenceSink):
    info = info_of(40, 56, "red", "green", "blue", dtype=np.uint16, frames=3, high=65535)
    tolerance = 12 * 257

    def read(self, path: Path) -> Array:
        found = imagecodecs.avif_decode(path.read_bytes())
        assert found.max() <= 4095  # 12 bits
        return np.round(found * (65535 / 4095)).astype(np.uint16)


def written(path: Path, info: RasterInfo, samples: Array, carried: object) -> None:
    most = info.bands[0].high or 1
    with create_sink(path) as sink:
        sink.begin(info, carried)
        for number, frame in enumerate(samples):
            sink.write(number, 0, 0, (frame / most).astype(np.float32))
        sink.commit(replace=True)


def test_what_is_written_deep_is_read_deep(tmp_path: Path) -> None:
    samples = waves(3, 40, 56, 4, np.uint16, 65535)
    samples[..., 3] |= 0x8000
    info = info_of(40, 56, "red", "green", "blue", "alpha", dtype=np.uint16, frames=3, high=65535)
    seconds = [Fraction(1, 30), Fraction(1001, 30000), Fraction(3)]
    path = tmp_path / "a.avif"
    written(path, info, samples, timing.told(nothing_carried(), seconds, 5))
    (source,) = open_pages(path)
    assert source.info.dtype == np.uint16
    assert timing.seconds(source.carried) == tuple(seconds)  # type: ignore[arg-type]
    assert timing.plays(source.carried) == 5  # type: ignore[arg-type]
    result = taken(source, tmp_path / "b")
    # Better than 8 bits could tell.
    assert np.abs(result.astype(float) - samples).mean() < 257
    assert len(np.unique(result[..., 0])) > 500


def test_timing_is_that_which_pillow_has_written_and_reads(tmp_path: Path) -> None:
    durations = [40, 1, 170, 1000]
    save(tmp_path / "a.avif", waves(4, 40, 56, 3), duration=durations)
    (source,) = open_pages(tmp_path / "a.avif")
    expected = [Fraction(each, 1000) for each in durations]
    assert list(timing.seconds(source.carried)) == expected  # type: ignore[arg-type]
    samples = taken(source, tmp_path / "b")
    written(tmp_path / "out.avif", source.info, samples, source.carried)
    with PIL.Image.open(tmp_path / "out.avif") as image:
        told = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            told.append(image.info["duration"])
    assert told == durations


@pytest.mark.skipif(not shutil.which("avifdec"), reason="needs avifdec")
@pytest.mark.parametrize("plays", [0, 1, 7])
def test_avifdec_takes_the_file_for_whole(tmp_path: Path, plays: int) -> None:
    info = info_of(40, 56, "red", "green", "blue", "alpha", frames=3)
    samples, path = waves(3, 40, 56, 4), tmp_path / "a.avif"
    timed = timing.told(nothing_carried(), [Fraction(1, 30)] * 3, plays)
    written(path, info, samples, timed)
    command = ["avifdec", "--info", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "30 timescales per second, 0.10 seconds (3 timescales), 3 frames" in said
    assert "Decoded frame [2]" in said
    assert "Alpha          : Not premultiplied" in said
    if "Repeat" in said:
        expected = {0: "Infinite", 1: "0"}.get(plays, str(plays - 1))
        assert f"Repeat Count   : {expected}" in said


@pytest.mark.parametrize("plays", [0, 1, 7])
def test_how_often_it_is_shown_is_told_by_its_list_of_edits(tmp_path: Path, plays: int) -> None:
    info, path = info_of(9, 9, "red", "green", "blue", frames=2), tmp_path / "a.avif"
    timed = timing.told(nothing_carried(), [Fraction(1, 10)] * 2, plays)
    written(path, info, waves(2, 9, 9, 3), timed)
    moov = next(content for kind, content in boxes(path.read_bytes()) if kind == b"moov")
    (track,) = avif_tracks.read(moov)
    assert track.plays == plays
    header = moov.index(b"tkhd") + 4
    (whole,) = struct.unpack_from(">Q", moov, header + 28)
    assert whole == (2 * plays if plays else 2**64 - 1)


def test_metadata_comes_through(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[315] = "Nobody"
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    save(tmp_path / "a.avif", waves(3, 40, 56, 3), duration=50, exif=exif, xmp=packet)
    (source,) = open_pages(tmp_path / "a.avif")
    samples = taken(source, tmp_path / "b")
    for suffix in (".avif", ".png", ".webp"):
        path = tmp_path / f"out{suffix}"
        written(path, source.info, samples, source.carried)
        with PIL.Image.open(path) as image:
            assert image.n_frames == 3
            assert image.getexif()[315] == "Nobody"
            found = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
            assert packet in (found if isinstance(found, bytes) else found.encode())


def test_deep_frames_that_are_differences_are_refused_in_one_line(tmp_path: Path) -> None:
    samples = waves(4, 40, 56, 3, np.uint16, 1023)
    content = imagecodecs.avif_encode(samples, bitspersample=10)
    (tmp_path / "a.avif").write_bytes(content)
    with pytest.raises(InputError, match="more than 8 bits"):
        open_pages(tmp_path / "a.avif")


def test_damaged_tables_are_refused_in_one_line(tmp_path: Path) -> None:
    info, path = info_of(40, 56, "red", "green", "blue", frames=3), tmp_path / "a.avif"
    written(path, info, waves(3, 40, 56, 3), nothing_carried())
    content = path.read_bytes()
    start = content.index(b"moov")
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        changed[random.integers(start, len(content))] = random.integers(256)
        path.write_bytes(changed)
        # Anything but one line would be raised here.
        with contextlib.suppress(InputError):
            (source,) = open_pages(path)
            taken(source, tmp_path / "b")
