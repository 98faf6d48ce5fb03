from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

import fakes
from fakes import FakeBackend
from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.enlarging.writing import Written
from upres.errors import InputError, OutputError, UsageError
from upres.files import (
    temporary_name,
)
from upres.formats.image.vips import read_rgb8
from upres.formats.image.vips_sink import VipsSink
from upres.raster.info import RasterInfo, bands_of
from upres.runs import batch
from upres.runs.batch import INTERRUPTED, UNEXPECTED, Summary
from upres.runs.estimate import space_warning
from upres.runs.jobs import Job
from upres.runs.journal import NAME, Journal, opened
from upres.runs.known import SourceStamp
from upres.signals import stop_on_signals

ASKED = {"scale": 2, "fit": (3, 4)}


class Picture:
    """A picture whose work a test says, in place of ``open_file``'s."""

    why = ""

    def __init__(self, path: Path, work: Callable[[Path, Path], None], pixels: int) -> None:
        self.path, self.work, self.pixels = path, work, pixels

    def write(self, target: Path, **_: Any) -> Written:
        self.work(self.path, target)
        return Written()


def working(
    work: Callable[[Path, Path], None], pixels: Callable[[Path], int] = lambda _: 1
) -> Callable[[Path, Options], Picture]:
    """Opens pictures whose work is ``work``, of source and target."""
    return lambda path, _: Picture(path, work, pixels(path))


def write_picture(path: Path, seed: int, size: tuple[int, int] = (9, 12)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(pixels).pngsave(str(path))
    return path


@pytest.fixture
def options() -> Options:
    return fakes.asking()


def enlarge_files(jobs: list[Job], options: Options, **how: Any) -> Summary:
    """A run by the fake engine, unless the test opens pictures in its own way."""
    opener = partial(open_file, backend=FakeBackend())
    return batch.enlarge_files(jobs, options, **{"open_picture": opener} | how)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Ten tiny pictures, two of them in a folder of the folder."""
    names = [f"{'sub/' if n > 7 else ''}p{n}.png" for n in range(10)]
    return [
        Job(write_picture(tmp_path / "in" / name, seed), tmp_path / "out" / name)
        for seed, name in enumerate(names)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def expected(jobs: list[Job], options: Options, tmp_path: Path) -> dict[str, bytes]:
    """What the jobs give, one after the other."""
    out, reference = tmp_path / "out", tmp_path / "reference"
    alone = [Job(job.source, reference / job.target.relative_to(out)) for job in jobs]
    assert enlarge_files(alone, options, workers=1) == Summary(done=10)
    return contents(reference)


def interrupted_after(count: int) -> tuple[threading.Event, Any]:
    """An event, and a callback that sets it once ``count`` files are finished."""
    stop = threading.Event()
    seen: list[Path] = []

    def finished(path: Path, why: str) -> None:
        seen.append(path)
        if len(seen) == count:
            stop.set()

    return stop, finished


def run_with_journal(
    jobs: list[Job], options: Options, *, resume: bool = False, stop_after: int | None = None
) -> Summary:
    folder = jobs[0].target.parent
    folder.mkdir(exist_ok=True)
    stop, finished = interrupted_after(stop_after or 0)
    with opened(folder, ASKED, resume=resume, anew=False) as journal:
        return enlarge_files(jobs, options, journal=journal, stop=stop, finished=finished)


def failures(summary: Summary) -> list[str]:
    return [str(error) for _, error in summary.failed]


def test_a_file_becomes_what_the_array_function_gives(
    options: Options, tmp_path: Path, picture: np.ndarray[Any, Any]
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "new" / "folder" / "out.png"
    pyvips.Image.new_from_array(picture).pngsave(str(source))
    assert enlarge_files([Job(source, target)], options) == Summary(done=1)
    np.testing.assert_array_equal(read_rgb8(target), fakes.enlarge_array(picture))


def test_the_results_do_not_depend_on_the_threads(
    jobs: list[Job], options: Options, expected: dict[str, bytes], tmp_path: Path
) -> None:
    finished: list[tuple[Path, str]] = []
    progress: list[float] = []
    summary = enlarge_files(
        jobs,
        options,
        workers=8,
        finished=lambda path, why: finished.append((path, why)),
        progress=progress.append,
    )
    assert summary == Summary(done=10)
    assert finished == [(job.target, "") for job in jobs]
    assert contents(tmp_path / "out") == expected
    assert progress[-1] == 1
    assert all(0 <= part <= 1 for part in progress)


def test_names_that_begin_alike_do_not_meet(options: Options, tmp_path: Path) -> None:
    long = "x" * 60
    jobs = [
        Job(write_picture(tmp_path / f"{n}.png", n), tmp_path / "out" / f"{long}{n}.png")
        for n in range(16)
    ]
    assert enlarge_files(jobs, options, workers=8) == Summary(done=16)
    for n, job in enumerate(jobs):
        expected = fakes.enlarge_array(read_rgb8(tmp_path / f"{n}.png"))
        np.testing.assert_array_equal(read_rgb8(job.target), expected)


def test_a_large_picture_is_worked_on_alone(jobs: list[Job], options: Options) -> None:
    # Of each result's pixels two fit, or those of the fourth alone.
    half = batch.PIXELS_AT_ONCE // 2
    lock = threading.Lock()
    at_work: set[Path] = set()
    seen: list[set[Path]] = []

    def work(source: Path, target: Path) -> None:
        with lock:
            at_work.add(source)
            seen.append(set(at_work))
        # Long enough for others to begin, if they might.
        time.sleep(0.5 if source == jobs[0].source else 0.02)
        with lock:
            at_work.remove(source)

    opener = working(work, lambda path: 3 * half if path == jobs[3].source else half)
    summary = enlarge_files(jobs, options, open_picture=opener, workers=8)
    assert summary == Summary(done=10)
    assert max(map(len, seen)) == 2
    # The first, too: what it loads and compiles, the others share.
    for alone in (jobs[0].source, jobs[3].source):
        assert [group for group in seen if alone in group] == [{alone}]


def test_one_bad_file_stops_no_other(jobs: list[Job], options: Options, tmp_path: Path) -> None:
    jobs[0].source.write_text("text")
    jobs[4].source.unlink()
    content = jobs[9].source.read_bytes()
    jobs[9].source.write_bytes(content[: len(content) // 2])
    summary = enlarge_files(jobs, options)
    assert (summary.done, summary.skipped, summary.left) == (7, 0, 0)
    assert [path for path, _ in summary.failed] == [jobs[n].source for n in (0, 4, 9)]
    assert all(isinstance(error, InputError) for _, error in summary.failed)
    assert len(contents(tmp_path / "out")) == 7


@pytest.mark.parametrize("error", [ValueError("odd"), MemoryError(), RecursionError()])
def test_even_what_nobody_thought_of_stops_no_other(
    jobs: list[Job], options: Options, error: Exception
) -> None:
    def work(source: Path, target: Path) -> None:
        if source == jobs[2].source:
            raise error
        raise InputError(f"{source}: bad")

    summary = enlarge_files(jobs, options, open_picture=working(work))
    assert len(summary.failed) == 10
    message = failures(summary)[2]
    assert str(jobs[2].source) in message
    assert (batch.UNEXPECTED in message) == (not isinstance(error, MemoryError))


def test_existing_files_are_kept_skipped_or_replaced(jobs: list[Job], options: Options) -> None:
    target = jobs[1].target
    target.parent.mkdir()
    target.write_text("precious")
    summary = enlarge_files(jobs[:3], options)
    assert summary.done == 2
    assert failures(summary) == [
        f"{target}: exists already: existing='replace' replaces it, existing='skip' keeps it"
    ]
    assert enlarge_files(jobs[:3], options, existing="skip") == Summary(skipped=3)
    assert target.read_text() == "precious"
    assert enlarge_files(jobs[:3], options, existing="replace") == Summary(done=3)
    assert read_rgb8(target).shape == (18, 24, 3)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_that_appears_during_the_work_is_not_replaced(
    options: Options,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
    suffix: str,
) -> None:
    source, target = write_picture(tmp_path / f"in{suffix}", 0), tmp_path / f"out{suffix}"
    if suffix == ".tif":  # of two pages
        page = pyvips.Image.black(12, 9)
        page.join(page, "vertical").tiffsave(str(source), page_height=9)

    appears = True

    def appear(_: object) -> None:
        if appears:
            target.write_text("precious")

    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    opener = partial(open_file, backend=FakeBackend(before_window=appear))
    enlarge = partial(enlarge_files, open_picture=opener)
    job = Job(source, target)
    (failure,) = failures(enlarge([job], options))
    assert (
        failure
        == f"{target}: exists already: existing='replace' replaces it, existing='skip' keeps it"
    )
    target.unlink()
    assert enlarge([job], options, existing="skip") == Summary(skipped=1)
    assert contents(tmp_path).keys() == {source.name, target.name}
    assert target.read_text() == "precious"
    assert enlarge([job], options, existing="replace") == Summary(done=1)
    target.unlink()
    appears = False
    assert enlarge([job], options) == Summary(done=1)
    assert contents(tmp_path).keys() == {source.name, target.name}


def test_a_result_that_fails_leaves_the_old_file(
    jobs: list[Job], options: Options, tmp_path: Path
) -> None:
    job = jobs[0]
    job.target.parent.mkdir()
    job.target.write_text("precious")
    write_picture(job.source, 0, (300, 300))
    job.source.write_bytes(job.source.read_bytes()[:-50_000])
    summary = enlarge_files([job], options, existing="replace")
    assert "damaged" in failures(summary)[0]
    assert contents(tmp_path / "out") == {"p0.png": b"precious"}


def test_no_folder_is_made_for_a_picture_that_cannot_be_read(
    options: Options, tmp_path: Path
) -> None:
    job = Job(tmp_path / "none.png", tmp_path / "new" / "out.png")
    assert "no such file" in failures(enlarge_files([job], options))[0]
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long_fails_before_the_work(options: Options, tmp_path: Path) -> None:
    longest = "é" * 123 + ".png"  # 250 bytes
    source = write_picture(tmp_path / longest, 0)
    fits, too_long = (source.with_name("é" * 123 + end + ".png") for end in ("_x2", "_x2.25"))
    assert enlarge_files([Job(source, fits)], options) == Summary(done=1)
    summary = enlarge_files([Job(source, too_long)], options)
    assert "this name is too long" in failures(summary)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".gif"])
def test_names_need_not_be_utf_8(options: Options, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / os.fsdecode(b"stra\xdfe")
    folder.mkdir()
    plain = write_picture(tmp_path / f"plain{suffix}", 0)
    odd = plain.rename(folder / os.fsdecode(b"odd \xff" + suffix.encode()))
    target = folder / "out" / odd.name
    target.parent.mkdir()
    with opened(target.parent, ASKED, resume=False, anew=False) as journal:
        summary = enlarge_files([Job(odd, target)], options, journal=journal)
    assert summary == Summary(done=1)
    assert os.listdir(os.fsencode(target.parent)) == [os.fsencode(odd.name)]
    odd.rename(plain)
    assert enlarge_files([Job(plain, plain.with_stem("x"))], options).done == 1
    assert target.read_bytes() == plain.with_stem("x").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
def test_what_is_put_together_on_disk_may_have_such_a_name(
    options: Options, tmp_path: Path
) -> None:
    # Of more bytes than a spool keeps in memory, before it is turned and before it is encoded.
    image = pyvips.Image.black(1190, 1190, bands=3).cast("ushort").copy(interpretation="rgb16")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.pngsave(str(tmp_path / "plain.png"))
    odd = (tmp_path / "plain.png").rename(tmp_path / os.fsdecode(b"odd \xff.png"))
    target = odd.with_stem(odd.stem + "_x2")
    on_disk: set[Path] = set()

    def look(_: object) -> None:
        on_disk.update(tmp_path.glob("*.raw"))

    opener = partial(open_file, backend=FakeBackend(before_window=look))
    assert enlarge_files([Job(odd, target)], options, open_picture=opener).done == 1
    assert len(on_disk) == 2
    assert sorted(tmp_path.iterdir()) == sorted([odd, target])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"])
def test_a_bad_file_whose_name_is_no_text_stops_no_other(
    jobs: list[Job], options: Options, tmp_path: Path, content: bytes
) -> None:
    odd = tmp_path / os.fsdecode(b"odd \xff.png")
    odd.write_bytes(content)
    odd_job = Job(odd, tmp_path / "out" / odd.name)
    assert space_warning([odd_job, *jobs], options) is None
    summary = enlarge_files([odd_job, *jobs], options)
    assert summary.done == 10
    (failure,) = failures(summary)
    assert failure.startswith(f"{odd}: ")
    assert UNEXPECTED not in failure


def test_a_full_disk_ends_the_run(jobs: list[Job], options: Options) -> None:
    tried: list[Path] = []

    def work(source: Path, target: Path) -> None:
        tried.append(target)
        if len(tried) < 3:
            return
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise OutputError(f"{target}: cannot write this file") from None

    summary = enlarge_files(jobs, options, open_picture=working(work), workers=1)
    assert (summary.done, summary.failed) == (2, [])
    assert summary.left == 8
    assert summary.stopped_by == f"{jobs[2].target}: cannot write this file"
    assert len(tried) <= 4, "what remains is not tried"


def test_a_picture_too_large_for_the_disk_stops_no_other(
    jobs: list[Job], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2_000_000))
    write_picture(jobs[1].source, 1, (300, 300))
    pyvips.Image.black(30, 30, bands=4).copy(interpretation="srgb").pngsave(str(jobs[2].source))
    jobs[2] = Job(jobs[2].source, jobs[2].target.with_suffix(".jpg"))
    summary = enlarge_files(jobs, options)
    assert (summary.done, summary.left, summary.stopped_by) == (8, 0, None)
    assert [error.split(": ")[0] for error in failures(summary)] == [
        str(jobs[1].target),
        str(jobs[2].target),
    ]
    assert "making this takes" in failures(summary)[0]
    assert "transparency" in failures(summary)[1]


def encoding(encode: Callable[..., None]) -> Callable[[Path, Path], None]:
    """Work that puts a pixel into a sink, whose encoder is ``encode``."""

    def work(source: Path, target: Path) -> None:
        target.parent.mkdir(exist_ok=True, parents=True)
        info = RasterInfo(1, 1, bands_of(["grey"], 0, 255), np.dtype(np.uint8))
        with VipsSink(target, encode) as sink:
            sink.begin(info, None)
            sink.write(0, 0, 0, np.zeros((1, 1, 1), np.float32))
            sink.commit(replace=True)

    return work


@pytest.mark.parametrize("left", [0, 10_000_000])
def test_a_disk_is_full_even_if_libvips_does_not_say_so(
    jobs: list[Job], options: Options, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    usage = namedtuple("usage", "free")
    free = [10_000_000]

    def fill_up(*_: Any) -> None:
        free[0] = left
        raise pyvips.Error("unable to call pngsave", "write error")

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(free[0]))
    summary = enlarge_files(jobs, options, open_picture=working(encoding(fill_up)))
    message = f"{jobs[0].target}: cannot write this picture: write error"
    if left:
        assert (failures(summary)[0], len(summary.failed)) == (message, 10)
    else:
        assert (summary.failed, summary.left, summary.stopped_by) == ([], 10, message)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_libvips_tells_a_full_disk_by_words(jobs: list[Job], options: Options, number: int) -> None:
    def fail(*_: Any) -> None:
        words = f"out.png: write error\nsystem error: {os.strerror(number)}\n"
        raise pyvips.Error("unable to call pngsave", words)

    summary = enlarge_files(jobs, options, open_picture=working(encoding(fail)))
    assert (summary.failed, summary.left) == ([], 10)


def test_a_disk_that_is_too_small_ends_the_run(
    jobs: list[Job], options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100))
    summary = enlarge_files(jobs, options)
    assert (summary.done, summary.failed, summary.left) == (0, [], 10)
    assert str(jobs[0].target) in str(summary.stopped_by)
    assert [remedy.option for remedy in summary.remedies] == ["output"]
    assert contents(tmp_path / "out") == {}


def test_a_run_stops_when_asked_to(jobs: list[Job], options: Options, tmp_path: Path) -> None:
    stop, finished = interrupted_after(3)
    summary = enlarge_files(jobs, options, stop=stop, finished=finished, workers=2)
    assert summary.stopped_by == INTERRUPTED
    assert 3 <= summary.done < 10
    assert summary.done + summary.left == 10
    assert len(contents(tmp_path / "out")) == summary.done


def test_a_run_does_not_wait_for_what_cannot_be_stopped(
    jobs: list[Job], options: Options, tmp_path: Path
) -> None:
    release, stop = threading.Event(), threading.Event()
    leftover = tmp_path / "out" / temporary_name(Path("p0.png"), ".png")

    def work(source: Path, target: Path) -> None:
        leftover.touch()
        stop.set()
        release.wait(20)

    (tmp_path / "out").mkdir(exist_ok=True)
    start = time.monotonic()
    summary = enlarge_files(jobs, options, open_picture=working(work), stop=stop)
    try:
        assert time.monotonic() - start < 2
        assert summary == Summary(left=10, stopped_by=INTERRUPTED, still_busy=True)
        assert not leftover.exists()
    finally:
        release.set()


def test_an_interrupted_run_is_gone_on_with(
    jobs: list[Job], options: Options, expected: dict[str, bytes], tmp_path: Path
) -> None:
    first = run_with_journal(jobs, options, stop_after=4)
    assert first.stopped_by == INTERRUPTED
    assert (tmp_path / "out" / NAME).exists()
    times = {job.target: job.target.stat().st_mtime_ns for job in jobs if job.target.exists()}
    second = run_with_journal(jobs, options, resume=True)
    assert second == Summary(done=first.left, skipped=first.done)
    assert contents(tmp_path / "out") == expected, "the journal is gone, too"
    assert {target: target.stat().st_mtime_ns for target in times} == times


def test_the_journal_says_what_happened(jobs: list[Job], options: Options, tmp_path: Path) -> None:
    jobs[0].source.write_text("text")
    run_with_journal(jobs, options, stop_after=1)
    lines = [json.loads(line) for line in (tmp_path / "out" / NAME).read_bytes().splitlines()]
    assert lines[0]["asked"] == {"scale": 2, "fit": [3, 4]}
    assert (lines[1]["source"], lines[1]["output"]) == (str(jobs[0].source), "p0.png")
    assert lines[1]["result"] == "failed"
    assert "not a picture" in lines[1]["why"]
    status = jobs[1].source.stat()
    assert lines[2] == {
        "source": str(jobs[1].source),
        "output": "p1.png",
        "size": status.st_size,
        "mtime": status.st_mtime_ns,
        "result": "done",
        "bytes": jobs[1].target.stat().st_size,
    }


def test_wherever_the_journal_is_cut_off_it_serves(
    jobs: list[Job], options: Options, expected: dict[str, bytes], tmp_path: Path
) -> None:
    run_with_journal(jobs, options, stop_after=6)
    path = tmp_path / "out" / NAME
    whole, results = path.read_bytes(), contents(tmp_path / "out")
    header = whole.index(b"\n") + 1
    cuts = [*range(header, len(whole), 101), len(whole) - 1]
    for end in cuts:
        for name in contents(tmp_path / "out"):
            (tmp_path / "out" / name).unlink()
        for name, content in results.items():
            (tmp_path / "out" / name).write_bytes(content)
        # Half a line, or what a power loss may make of one.
        path.write_bytes(whole[:end] + (b"\0" * 20 if end % 2 else b""))
        summary = run_with_journal(jobs, options, resume=True)
        assert (summary.failed, summary.stopped_by) == ([], None)
        assert summary.skipped == whole[header:end].count(b'"done"') - (
            not whole[:end].endswith(b"\n") and b'"done"' in whole[:end].rpartition(b"\n")[2]
        )
        assert contents(tmp_path / "out") == expected


def test_half_a_line_is_cut_off_before_more_is_written(jobs: list[Job], tmp_path: Path) -> None:
    path, target = tmp_path / NAME, tmp_path / "p.png"
    with opened(tmp_path, ASKED, resume=False, anew=False):
        pass
    path.write_bytes(path.read_bytes() + b'{"source": "')
    target.touch()
    with opened(tmp_path, ASKED, resume=True, anew=False) as journal:
        journal.done(jobs[0].source, SourceStamp.of(jobs[0].source), target)
        journal.commit(at_once=True)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line.get("output") for line in lines] == [None, "p.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a descriptor is of")
def test_a_line_follows_what_it_says_to_the_disk(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    target = out / "sub" / "p.png"
    target.parent.mkdir(parents=True)
    target.touch()
    synced: list[tuple[Path, int]] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path, (out / NAME).read_bytes().count(b"\n")))
        sync(descriptor)

    with opened(out, ASKED, resume=False, anew=False) as journal:
        monkeypatch.setattr(os, "fsync", fsync)
        journal.done(jobs[0].source, SourceStamp.of(jobs[0].source), target)
        journal.commit(at_once=True)
    # A file, then its name and its folder's, then the second line after the header.
    assert synced[0] == (target, 1)
    assert sorted(synced[1:-1]) == [(out, 1), (target.parent, 1)]
    assert synced[-1] == (out / NAME, 2)


def test_what_is_not_as_the_journal_says_is_done_anew(
    jobs: list[Job], options: Options, expected: dict[str, bytes], tmp_path: Path
) -> None:
    run_with_journal(jobs, options, stop_after=5)
    write_picture(jobs[0].source, 99)  # changed since
    jobs[1].target.unlink()  # gone since
    jobs[2].target.write_bytes(b"cut")  # as a power loss may leave it
    summary = run_with_journal(jobs, options, resume=True)
    assert (summary.failed, summary.left) == ([], 0)
    results = contents(tmp_path / "out")
    assert results.pop("p0.png") != expected.pop("p0.png")
    assert results == expected


def test_resuming_replaces_no_file_of_the_users(
    jobs: list[Job], options: Options, tmp_path: Path
) -> None:
    precious = jobs[9].target
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    time.sleep(0.05)  # the file system's clock is coarse
    run_with_journal(jobs, options, stop_after=5)
    summary = run_with_journal(jobs, options, resume=True)
    assert [path for path, _ in summary.failed] == [jobs[9].source]
    assert precious.read_text() == "precious"


def test_resuming_takes_no_result_for_that_of_another_picture_of_its_name(
    jobs: list[Job], options: Options, tmp_path: Path
) -> None:
    first = run_with_journal(jobs, options, stop_after=5)
    made = [job.target for job in jobs if job.target.exists()]
    results = contents(tmp_path / "out")
    shutil.copytree(tmp_path / "in", tmp_path / "other")  # with the times of change
    others = [
        Job(tmp_path / "other" / job.source.relative_to(tmp_path / "in"), job.target)
        for job in jobs
    ]
    summary = run_with_journal(others, options, resume=True)
    assert (summary.done, summary.skipped, summary.left) == (first.left, 0, 0)
    assert failures(summary) == [
        f"{target}: exists already: existing='replace' replaces it, existing='skip' keeps it"
        for target in made
    ]
    results.pop(NAME)
    assert results.items() <= contents(tmp_path / "out").items()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
def test_resuming_knows_a_picture_whose_name_is_no_text(
    jobs: list[Job], options: Options, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"odd \xff.png")
    jobs[0] = Job(jobs[0].source.rename(tmp_path / odd), tmp_path / "out" / odd)
    first = run_with_journal(jobs, options, stop_after=3)
    summary = run_with_journal(jobs, options, resume=True)
    assert summary == Summary(done=first.left, skipped=first.done)


def test_a_run_with_other_options_is_not_resumed(jobs: list[Job], options: Options) -> None:
    run_with_journal(jobs, options, stop_after=2)
    folder = jobs[0].target.parent
    before = contents(folder)
    with (
        pytest.raises(UsageError, match="cannot resume with other options: scale was 2, not 3"),
        opened(folder, {**ASKED, "scale": 3}, resume=True, anew=False),
    ):
        pass
    with (
        pytest.raises(OutputError, match="was interrupted: resume=True goes on with it"),
        opened(folder, ASKED, resume=False, anew=False),
    ):
        pass
    assert contents(folder) == before
    with opened(folder, {"scale": 3}, resume=False, anew=True) as journal:
        assert not journal.continued


def test_a_run_that_did_nothing_leaves_no_journal(jobs: list[Job], options: Options) -> None:
    stop = threading.Event()
    stop.set()
    folder = jobs[0].target.parent
    folder.mkdir()
    with opened(folder, ASKED, resume=False, anew=False) as journal:
        summary = enlarge_files(jobs, options, journal=journal, stop=stop)
    assert summary.left == 10
    assert list(folder.iterdir()) == []


class FailingJournal(Journal):
    """One that cannot be written: ``error``, of how many pictures are noted, says from when on."""

    def __init__(
        self, folder: Path, file: io.FileIO, error: Callable[[int], OSError | None]
    ) -> None:
        super().__init__(folder, file, 0, None)
        self.error, self.noted = error, 0

    def done(self, source: Path, stamp: SourceStamp, target: Path) -> None:
        self.noted += 1
        super().done(source, stamp, target)

    def commit(self, *, at_once: bool = False) -> None:
        if error := self.error(self.noted):
            raise OutputError("cannot write the journal") from error


def run_with_failing_journal(
    jobs: list[Job], options: Options, error: Callable[[int], OSError | None]
) -> Summary:
    folder = jobs[0].target.parent
    folder.mkdir()
    with (folder / NAME).open("a+b", buffering=0) as file:
        return enlarge_files(jobs, options, journal=FailingJournal(folder, file, error))


def test_a_journal_that_cannot_be_written_ends_the_run(jobs: list[Job], options: Options) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    summary = run_with_failing_journal(jobs, options, lambda noted: full)
    assert summary.stopped_by == "cannot write the journal"
    assert summary.done + summary.left == 10
    assert summary.done < 10


def test_a_journal_that_fails_leaves_a_summary(jobs: list[Job], options: Options) -> None:
    def error(noted: int) -> OSError | None:
        if noted < 3:
            return None
        # Others are done by then, or as good as done.
        while sum(job.target.exists() for job in jobs) < 5:
            time.sleep(0.01)
        return OSError(errno.EIO, os.strerror(errno.EIO))

    summary = run_with_failing_journal(jobs, options, error)
    assert summary.stopped_by == "cannot write the journal"
    assert summary.done >= 5
    assert summary.done + summary.left == 10


def test_a_result_that_is_moved_away_is_no_trouble_of_the_journal(
    jobs: list[Job], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    with opened(out, ASKED, resume=False, anew=False) as journal:
        for job in jobs:
            job.target.write_text("result")
            journal.done(job.source, SourceStamp.of(job.source), job.target)
        jobs[0].target.unlink()
        shutil.rmtree(out / "sub")
        journal.commit(at_once=True)
    lines = [json.loads(line) for line in (out / NAME).read_bytes().splitlines()]
    assert [line["output"] for line in lines[1:]] == [f"p{n}.png" for n in range(1, 8)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_journal_without_room_is_not_begun(tmp_path: Path) -> None:
    code = """
import resource, signal
from pathlib import Path
from upres.runs.journal import opened
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
opened(Path("."), {}, resume=False, anew=False).__enter__()
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert last == f"upres.errors.OutputError: {NAME}: cannot write the journal: File too large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other calls")
def test_a_file_system_may_sync_no_folders(
    jobs: list[Job], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert run_with_journal(jobs[:2], options) == Summary(done=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_are_ignored_stay_so(ignored: signal.Signals) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:  # which whoever runs the tests may have them ignore
            handler = signal.SIG_IGN if number == ignored else signal.default_int_handler
            signal.signal(number, handler)
        with stop_on_signals() as stop:
            signal.raise_signal(ignored)
            assert not stop.is_set()
            for number in set(before) - {ignored}:
                signal.raise_signal(number)
            assert stop.is_set()
        assert signal.getsignal(ignored) is signal.SIG_IGN
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("insist", [False, True])
def test_a_second_ctrl_c_insists_where_it_may(insist: bool) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_on_signals(insist=insist) as stop:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)
                assert stop.is_set()
            with pytest.raises(KeyboardInterrupt) if insist else nullcontext():
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_process_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path, ASKED, resume=False, anew=False) as journal:
        for resume in (True, False):
            with (
                pytest.raises(OutputError, match="another upres is writing into this folder"),
                opened(tmp_path, ASKED, resume=resume, anew=True),
            ):
                pass
        journal.remove()
    with opened(tmp_path, ASKED, resume=False, anew=False):
        pass
