"""Animations from format to format: their timing, and the room that they take."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import pyvips
import tifffile
from contract import info_of, taken, waves

from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.errors import InputError
from upres.files import PROCESS
from upres.formats.image.vips_sink import Picture, VipsSink
from upres.formats.metadata import timing
from upres.formats.metadata.carried import Carried, fields_of, nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.source import Sink

FORMATS = (".gif", ".webp", ".png", ".avif")
DELAYS = (40, 70, 100, 1230)
"""Milliseconds that all formats can tell."""


def make(path: Path, delays: Sequence[int], plays: int) -> None:
    """An animation by Pillow; of AVIF, whose number of plays Pillow does not write, by upres."""
    samples = waves(len(delays), 30, 41, 3)
    if path.suffix == ".avif":
        told = timing.told(nothing_carried(), [Fraction(d, 1000) for d in delays], plays)
        copied(path, told, len(delays))
        return
    first, *others = (PIL.Image.fromarray(frame) for frame in samples)
    options: dict[str, object] = {"duration": list(delays)}
    if path.suffix != ".gif":
        options["loop"] = plays
    elif plays != 1:
        options["loop"] = plays and plays - 1  # so often again
    first.save(path, save_all=True, append_images=others, **options)  # type: ignore[arg-type]


def copied(target: Path, carried: Carried, frames: int) -> None:
    """Write waves with what is ``carried``."""
    with create_sink(target) as sink:
        sink.begin(info_of(30, 41, "red", "green", "blue", frames=frames), carried)
        for number, frame in enumerate(waves(frames, 30, 41, 3)):
            sink.write(number, 0, 0, (frame / 255).astype(np.float32))
        sink.commit(replace=True)


def told(path: Path) -> tuple[list[float], int | None]:
    """Milliseconds of each frame and the number of plays, 0 for ever, by Pillow.

    Pillow does not tell the plays of AVIF: ``None``.
    """
    with PIL.Image.open(path) as image:
        delays = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            delays.append(image.info["duration"])
        plays = image.info.get("loop")
    if path.suffix == ".gif":
        return delays, 1 if plays is None else plays and plays + 1
    return delays, plays


@pytest.mark.parametrize("plays", [0, 1, 3])
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_timing_and_plays_come_from_each_format_to_each(
    tmp_path: Path, source: str, target: str, plays: int
) -> None:
    make(tmp_path / f"in{source}", DELAYS, plays)
    (opened,) = open_pages(tmp_path / f"in{source}")
    carried = opened.carried
    assert isinstance(carried, Carried)
    assert timing.seconds(carried) == tuple(Fraction(d, 1000) for d in DELAYS)
    assert timing.plays(carried) == plays
    copied(tmp_path / f"out{target}", carried, len(DELAYS))
    delays, shown = told(tmp_path / f"out{target}")
    assert delays == pytest.approx(list(DELAYS))
    assert shown in (plays, None)
    assert (shown is None) == (target == ".avif")
    if target == ".avif":
        (again,) = open_pages(tmp_path / f"out{target}")
        assert timing.plays(again.carried) == plays  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delays", "expected"),
    [
        ((10, 10, 20), (10, 10, 20)),
        ((0, 40, 0), (0, 40, 0)),
        ((1, 2, 3), (1, 2, 3)),
        ((5, 16000, 9), (5, 16000, 9)),
        ((11, 12, 13), (11, 12, 13)),
    ],
)
def test_webp_keeps_frames_that_are_short(
    tmp_path: Path, delays: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    seconds = [Fraction(each, 1000) for each in delays]
    copied(tmp_path / "a.webp", timing.told(nothing_carried(), seconds, 0), len(delays))
    assert told(tmp_path / "a.webp")[0] == list(expected)


def test_webp_that_puts_equal_frames_together_adds_their_time(tmp_path: Path) -> None:
    carried = timing.told(nothing_carried(), [Fraction(7, 1000)] * 4, 0)
    with create_sink(tmp_path / "a.webp") as sink:
        sink.begin(info_of(30, 41, "red", "green", "blue", frames=4), carried)
        for number, value in enumerate((0.2, 0.2, 0.2, 0.7)):
            sink.write(number, 0, 0, np.full((30, 41, 3), value, np.float32))
        sink.commit(replace=True)
    assert told(tmp_path / "a.webp")[0] == [21, 7]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (Fraction(1, 60), 20),
        (Fraction(14, 1000), 10),
        (Fraction(15, 1000), 20),
        (Fraction(25, 1000), 30),
        (Fraction(1, 1000), 10),
        (Fraction(0), 0),
    ],
)
def test_gif_has_the_nearest_hundredth_of_a_second(
    tmp_path: Path, delay: Fraction, expected: int
) -> None:
    copied(tmp_path / "a.gif", timing.told(nothing_carried(), [delay] * 3, 0), 3)
    assert told(tmp_path / "a.gif")[0] == [expected] * 3


def test_milliseconds_do_not_drift() -> None:
    units = timing.in_units([Fraction(1, 60)] * 60, Fraction(1, 1000))
    assert sum(units) == 1000
    assert set(units) == {16, 17}
    assert timing.in_units([Fraction(0), Fraction(1, 10**6)], Fraction(1, 1000)) == [0, 1]


@pytest.mark.parametrize("suffix", [*FORMATS, ".tif"])
@pytest.mark.parametrize("cut", ["trailer", "a frame"])
def test_an_animation_that_ends_early_is_never_read_in_part(
    tmp_path: Path, suffix: str, cut: str
) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, waves(4, 30, 41, 3), photometric="rgb", compression="zlib")
    else:
        make(path, DELAYS, 0)
    content = path.read_bytes()
    path.write_bytes(content[: -14 if cut == "trailer" else -len(content) // 4])
    with pytest.raises(InputError):
        [taken(page, tmp_path / "b") for page in open_pages(path)]


def test_a_gif_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    first, second = (PIL.Image.new("1", (9, 8), value) for value in (0, 1))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=50, loop=0)
    content = (tmp_path / "a.gif").read_bytes()
    for end in range(20, len(content)):
        (tmp_path / "a.gif").write_bytes(content[:end])
        with pytest.raises(InputError):
            open_pages(tmp_path / "a.gif")


def test_a_still_gif_may_lack_its_mark_at_the_end(tmp_path: Path) -> None:
    PIL.Image.new("P", (9, 8), 1).save(tmp_path / "a.gif")
    content = (tmp_path / "a.gif").read_bytes()
    assert content.endswith(b";")
    (tmp_path / "a.gif").write_bytes(content[:-1])
    assert taken(open_pages(tmp_path / "a.gif")[0], tmp_path / "b").shape[1:3] == (8, 9)


# Room

BIG = (1700, 1800)
"""Of which a frame is spooled on disk."""


def written(sink: Sink, suffix: str, size: tuple[int, int], count: int, folder: Path) -> int:
    """Write frames or pages of ``size``; return the bytes that the folder had at most."""
    pages = suffix == ".tif"
    info = info_of(*size, "red", "green", "blue", frames=1 if pages else count)
    most = 0
    with sink:
        for number in range(count):
            if pages or not number:
                sink.begin(info, nothing_carried())
            block = np.zeros((*size, 3), np.float32)
            block[:, :, number % 3] = number / count
            for top in range(0, size[0], 256):
                sink.write(0 if pages else number, top, 0, block[top : top + 256])
                entries = os.scandir(folder)
                most = max(most, sum(e.stat().st_size for e in entries if PROCESS in e.name))
        sink.commit(replace=True)
    return most


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".tif", ".gif"])
def test_many_frames_take_no_more_room_than_one(tmp_path: Path, suffix: str) -> None:
    count, size = 120, (60, 80)
    frame = size[0] * size[1] * 3
    pages = count if suffix == ".tif" else 1
    sink = create_sink(tmp_path / f"warm{suffix}", pages=min(pages, 2))
    written(sink, suffix, size, 2, tmp_path)
    tracemalloc.start()
    written(create_sink(tmp_path / f"a{suffix}", pages=pages), suffix, size, count, tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A frame as it is made here, and one as it is kept; all frames would take a hundred.
    assert most < 30 * frame, most / frame


@pytest.mark.parametrize("suffix", [".webp", ".png", ".tif"])
def test_large_frames_are_on_disk_one_at_a_time(tmp_path: Path, suffix: str) -> None:
    frame, count = BIG[0] * BIG[1] * 3, 4
    sink = create_sink(tmp_path / f"a{suffix}", pages=count if suffix == ".tif" else 1)
    most = written(sink, suffix, BIG, count, tmp_path)
    result = (tmp_path / f"a{suffix}").stat().st_size
    assert frame <= most <= frame * 1.1 + 2 * result
    assert result < frame / 10  # or the line above tells nothing


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
def test_a_plan_tells_the_disk_that_an_animation_takes(
    tmp_path: Path, model_file: Path, suffix: str
) -> None:
    path = tmp_path / f"in{suffix}"
    make(path, DELAYS, 0)
    opened = open_file(path, Options(model=str(model_file)))
    frame = opened.size[0] * opened.size[1] * len(opened.pages[0].info.bands)
    # One frame as it is made, one encoded, and all of them in the result.
    assert opened.disk == pytest.approx((2 + len(DELAYS)) * frame, abs=2**20)
    opened.write(tmp_path / f"out{suffix}")
    assert told(tmp_path / f"out{suffix}")[0] == pytest.approx(list(DELAYS))
    with PIL.Image.open(tmp_path / f"out{suffix}") as image:
        assert image.size == (82, 60)


def test_metadata_that_a_reader_sets_meanwhile_are_not_read(tmp_path: Path) -> None:
    # As libvips does at the first pixels of a file, while the encoder's thread reads them: a list
    # that grew then ended one process of a thousand.
    make(tmp_path / "in.webp", DELAYS, 0)
    (source,) = open_pages(tmp_path / "in.webp")
    carried = source.carried
    assert isinstance(carried, Carried)
    seen: list[pyvips.Image] = []

    def encode(picture: Picture, path: Path) -> None:
        seen.append(picture.carried.image)
        picture.image.avg()

    with VipsSink(tmp_path / "out.webp", encode) as sink:
        sink.begin(source.info, carried)
        carried.image.set_type(pyvips.GValue.gint_type, "set-meanwhile", 1)
        for frame in range(len(DELAYS)):
            sink.write(frame, 0, 0, np.zeros((30, 41, 3), np.float32))
        sink.commit(replace=True)
    assert carried.find("set-meanwhile") == 1
    assert "set-meanwhile" not in fields_of(seen[0])
    assert "delay" in fields_of(seen[0])
