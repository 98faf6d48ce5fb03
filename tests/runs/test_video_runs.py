"""Runs over videos: excerpts, damage, full disks, and kills at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import fakes
from formats.contract import leftovers, running_threads
from formats.video.clips import copied, frames, made, run, stream, times
from running import upres
from upres.errors import InputError, OutputError, UsageError
from upres.formats.video.settings import VideoSettings
from upres.runs.batch import enlarge_files
from upres.runs.jobs import Job
from upres.runs.video import VideoEnlargement, VideoRun, open_any, parts_folder, settle

pytest.importorskip("av")

LONG = "testsrc2=s=32x24:r=25:d=40"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand frames, which are five parts, with sound."""
    tone = ("-f", "lavfi", "-i", "sine=440:d=40", "-c:a", "aac", "-b:a", "32k")
    return made(tmp_path_factory.mktemp("long") / "clip.mp4", *tone, "-g", "50", pictures=LONG)


def opened(path: Path, *, resume: bool = False, **settings: object) -> VideoEnlargement:
    wishes = VideoRun(VideoSettings(**settings), resume)  # type: ignore[arg-type]
    found = open_any(path, fakes.asking(), wishes, backend=fakes.FakeBackend())
    assert isinstance(found, VideoEnlargement)
    return found


class StoppedError(Exception):
    pass


def stopped_after(path: Path, target: Path, part: float, *, resume: bool = False) -> None:
    """Begin a run that ends when so much of it is done."""

    def progress(done: float) -> None:
        if done > part:
            raise StoppedError

    with pytest.raises(StoppedError):
        opened(path, resume=resume).write(target, progress=progress, replace=False)


def test_a_run_that_goes_on_makes_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    threads = running_threads()
    told: list[float] = []
    opened(clip).write(tmp_path / "whole.mp4", progress=told.append)
    assert told == sorted(told)
    assert len(told) == 1000
    target = tmp_path / "out.mp4"
    stopped_after(clip, target, 0.3)
    assert not target.exists()
    # One part is done; the next was not.
    assert sorted(p.name for p in parts_folder(target).glob("*.*")) == [
        ".upres-journal.jsonl",
        "000000.part",
    ]
    stopped_after(clip, target, 0.8, resume=True)
    assert len(list(parts_folder(target).glob("*.part"))) >= 3
    opened(clip, resume=True).write(target, replace=False)
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not parts_folder(target).exists()
    assert leftovers(tmp_path) == []
    assert running_threads() <= threads
    assert times(target) == times(clip)
    assert copied(target, "a:0") == copied(clip, "a:0")


def test_a_run_that_was_interrupted_is_not_begun_anew_unasked(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    stopped_after(clip, target, 0.3)
    with pytest.raises(OutputError, match="was interrupted") as caught:
        opened(clip).write(target, replace=False)
    assert [r.option for r in caught.value.remedies] == ["resume", "existing", "existing"]
    with pytest.raises(UsageError, match="cannot resume with other options: crf"):
        opened(clip, resume=True, crf=30.0).write(target)
    opened(clip, crf=30.0).write(target, replace=True)
    assert not parts_folder(target).exists()


def test_parts_that_are_not_whole_are_made_again(clip: Path, tmp_path: Path) -> None:
    opened(clip).write(tmp_path / "whole.mp4")
    target = tmp_path / "out.mp4"
    stopped_after(clip, target, 0.6)
    first, second = sorted(parts_folder(target).glob("*.part"))[:2]
    second.write_bytes(second.read_bytes()[:-9])
    opened(clip, resume=True).write(target)
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert first.parent == parts_folder(target)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mov"])
def test_parts_join_in_every_container(clip: Path, tmp_path: Path, suffix: str) -> None:
    codec = {".mkv": "ffv1", ".webm": "vp9", ".mov": "x265"}[suffix]
    target = tmp_path / f"out{suffix}"
    lost = opened(clip, codec=codec).write(target).not_kept
    assert len(frames(target)) == 1000
    # Sound begins before zero, where Matroska has no times: all streams are later.
    late = 0.023 if suffix == ".mkv" else 0
    assert [t for t, _ in times(target)] == pytest.approx(
        [t + late for t, _ in times(clip)], abs=6e-4
    )
    assert ("start (all streams are 0.023 s later)" in lost) == bool(late)


def test_kills_at_any_moment(tmp_path: Path) -> None:
    clip = made(tmp_path / "in.mp4", pictures="testsrc2=s=16x16:r=25:d=60")
    command = [sys.executable, "-m", "upres", "enlarge", "in.mp4", "-s", "2", "--resume", "-o"]
    begin = time.monotonic()
    subprocess.run([*command, "whole.mp4"], cwd=tmp_path, check=True, timeout=120)
    whole = time.monotonic() - begin
    draw = random.Random(28)
    killed = 0
    for _ in range(40):
        process = subprocess.Popen([*command, "out.mp4"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        try:
            process.wait(draw.uniform(0.3, 1) * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        else:
            assert process.returncode == 0
            break
        assert not (tmp_path / "out.mp4").exists() or process.returncode == -signal.SIGKILL
        if killed == 20:
            break
    subprocess.run([*command, "out.mp4"], cwd=tmp_path, check=True, timeout=120)
    assert killed
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    names = sorted(os.listdir(tmp_path))
    assert names == [clip.name, "out.mp4", "whole.mp4"]


def test_parts_of_a_result_that_is_there_are_removed(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    stopped_after(clip, target, 0.3)
    shutil.copy(clip, target)
    os.utime(target, (1, 1))  # older than the run
    settle(target)
    assert parts_folder(target).exists()
    os.utime(target)
    settle(target)
    assert not parts_folder(target).exists()


def test_two_runs_into_one_file_are_refused(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    begun, go_on = threading.Event(), threading.Event()

    def progress(part: float) -> None:
        begun.set()
        go_on.wait(30)

    first = threading.Thread(target=partial(opened(clip).write, target, progress=progress))
    first.start()
    try:
        assert begun.wait(30)
        with pytest.raises(OutputError, match="another upres is writing"):
            opened(clip).write(target)
    finally:
        go_on.set()
        first.join()
    assert len(frames(target)) == 1000


def test_an_excerpt_has_its_own_frames_and_sound(clip: Path, tmp_path: Path) -> None:
    run("ffmpeg", "-v", "error", "-i", clip, "-c", "copy", tmp_path / "in.mkv")
    made_of = upres(
        *("enlarge", "in.mkv", "-s", "2", "--from", "0:10", "--to", "12.5", "-o", "out.mkv"),
        cwd=tmp_path,
    )
    assert made_of.returncode == 0, made_of.stderr
    found = [t for t, _ in times(tmp_path / "out.mkv")]
    assert len(found) == 62 or len(found) == 63
    assert 0 <= found[0] < 0.04
    # Sound begins within a packet of it, and the packets are those of the source.
    sound = copied(tmp_path / "out.mkv", "a:0")
    assert 0 <= float(sound[0].split()[0]) < 0.025
    sums = [line.split()[1] for line in copied(tmp_path / "in.mkv", "a:0")]
    assert "".join(line.split()[1] for line in sound) in "".join(sums)
    assert 105 <= len(sound) <= 112


def test_an_excerpt_beyond_the_end_is_refused(clip: Path, tmp_path: Path) -> None:
    from fractions import Fraction

    with pytest.raises(OutputError, match="no frames in this part"):
        opened(clip, start=Fraction(100)).write(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_that_ends_early(tmp_path: Path, suffix: str) -> None:
    start = ("-movflags", "+faststart") if suffix == ".mp4" else ()
    whole = made(tmp_path / f"whole{suffix}", *start, pictures="testsrc2=s=64x48:r=25:d=4")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    target = tmp_path / f"out{suffix}"
    with pytest.raises(InputError, match=r"ends early|damaged") as caught:
        opened(cut).write(target)
    assert [r.option for r in caught.value.remedies] == ["keep_damaged"]
    assert not target.exists()
    opened(cut, keep_damaged=True).write(target)
    kept = times(target)
    assert 20 < len(kept) < 100
    assert {t for t, _ in kept} <= {t for t, _ in times(whole)}


def test_a_damaged_packet(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole.mkv", "-g", "10", pictures="testsrc2=s=64x48:r=25:d=4")
    content = bytearray(whole.read_bytes())
    draw = random.Random(1)
    for _ in range(30):
        content[draw.randrange(len(content) // 2, len(content) * 2 // 3)] ^= 0xFF
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(content)
    said = upres("enlarge", "damaged.mkv", "-s", "2", cwd=tmp_path)
    assert said.returncode == 1
    (line,) = said.stderr.splitlines()
    assert "damaged.mkv: this video is damaged near 0:00:0" in line
    assert line.endswith("--keep-damaged keeps what can be decoded")
    assert sorted(os.listdir(tmp_path)) == ["damaged.mkv", "whole.mkv"]
    said = upres("enlarge", "damaged.mkv", "-s", "2", "--keep-damaged", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert len(frames(tmp_path / "damaged_x2.mkv")) > 50


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a small disk")
def test_a_full_disk_is_told_in_one_line(clip: Path, tmp_path: Path) -> None:
    limit = 'ulimit -f 40; trap "" XFSZ; exec "$@"'  # blocks of 1 KiB for a file
    command = ["bash", "-c", limit, "x", sys.executable, "-m", "upres"]
    command += ["enlarge", str(clip), "-s", "2", "-o", "out.mp4"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "cannot write" in line
    assert "too large" in line
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
    assert not list(tmp_path.glob(".*/*.new"))


def test_a_stop_ends_a_run_soon(clip: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def progress(part: float) -> None:
        if part > 0.3:
            stop.set()

    target = tmp_path / "out.mp4"
    summary = enlarge_files(
        [Job(clip, target)],
        fakes.asking(),
        open_picture=lambda path, options: opened(path),
        stop=stop,
        progress=progress,
    )
    assert summary.left == 1
    assert not target.exists()


def test_ctrl_c_says_how_to_go_on(clip: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "upres", "enlarge", str(clip), "-s", "4"]
    command += ["--model", "balanced", "-o", "out.mp4"]  # slow enough to be interrupted
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(tmp_path.glob(".out*/*.part")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "upres: interrupted; the same command with --resume goes on\n"
    assert not (tmp_path / "out.mp4").exists()


def test_a_folder_of_videos_and_pictures(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv"):
        made(folder / name, pictures="testsrc2=s=32x24:r=25:d=0.2")
    run("ffmpeg", "-v", "error", "-i", folder / "a.mp4", "-frames:v", 1, folder / "c.png")
    said = upres("enlarge", "in", "-s", "2", "-o", "out", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["a_x2.mp4", "b_x2.mkv", "c_x2.png"]
    again = upres("enlarge", "in", "-s", "2", "-o", "out", "--resume", cwd=tmp_path)
    assert again.returncode == 0
    assert "3 skipped" in again.stderr


def test_fit_and_sizes_are_even(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", pictures="testsrc2=s=66x50:r=25:d=0.2")
    for asked, size in (
        (["--fit", "100x100"], (100, 76)),
        (["-s", "1.5"], (98, 74)),
        (["--width", "133"], (132, 100)),
    ):
        said = upres("enlarge", "in.mp4", *asked, "-o", "out.mp4", "-f", cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        facts = stream(tmp_path / "out.mp4")
        assert (facts["width"], facts["height"]) == size
        shape = [int(n) for n in facts["sample_aspect_ratio"].split(":")]
        assert size[0] * shape[0] / (size[1] * shape[1]) == pytest.approx(66 / 50, rel=1e-4)
    assert source.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crf", "77"], "crf must be from 0 to 51"),
        (["--lossless", "--codec", "x264"], "lossless is codec ffv1"),
        (["--lossless", "--crf", "3"], "has no crf"),
        (["--from", "soon"], "--from soon: give a time"),
        (["--from", "2", "--to", "1"], "cannot end at 1 s"),
        (["--lossless", "-o", "out.mp4"], "does not hold codec ffv1"),
        (["--consistent"], "agreement with the input is for pictures"),
    ],
)
def test_wishes_that_cannot_be_met(tmp_path: Path, options: list[str], message: str) -> None:
    made(tmp_path / "in.mp4", pictures="testsrc2=s=32x24:r=25:d=0.1")
    said = upres("enlarge", "in.mp4", "-s", "2", *options, cwd=tmp_path)
    assert said.returncode in (1, 2)
    assert message in said.stderr
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_frames_become_pictures_and_a_video_again(clip: Path, tmp_path: Path) -> None:
    run("ffmpeg", "-v", "error", "-i", clip, "-t", "1", "-c", "copy", tmp_path / "in.mp4")
    count = len(frames(tmp_path / "in.mp4"))
    command = ["enlarge", "in.mp4", "-s", "2", "-o", "frames/%03d.png"]
    said = upres(*command, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    names = sorted(os.listdir(tmp_path / "frames"))
    assert names == [f"{number:03}.png" for number in range(1, count + 1)]
    assert "not kept: sound and times" in said.stderr
    # Going on makes those that are missing.
    whole = [(tmp_path / "frames" / name).read_bytes() for name in names]
    for name in names[count // 2 :]:
        (tmp_path / "frames" / name).unlink()
    assert upres(*command, cwd=tmp_path).returncode == 1
    assert upres(*command, "--resume", cwd=tmp_path).returncode == 0
    assert [(tmp_path / "frames" / name).read_bytes() for name in names] == whole
    back = ["enlarge", "frames/%03d.png", "--like", "in.mp4", "-s", "1", "-o"]
    said = upres(*back, "out.mkv", "--lossless", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert len(times(tmp_path / "out.mkv")) == count
    upres("enlarge", "in.mp4", "-s", "2", "-o", "direct.mkv", "--lossless", cwd=tmp_path)
    psnr = run(
        *("ffmpeg", "-v", "error", "-i", tmp_path / "out.mkv", "-i", tmp_path / "direct.mkv"),
        *("-lavfi", "psnr=stats_file=-", "-f", "null", "-"),
    )
    # Pictures hold red, green and blue in 8 bits.
    worst = min(float(line.split("psnr_y:")[1].split()[0]) for line in psnr.splitlines())
    assert worst > 50
    (tmp_path / "frames" / f"{count + 1:03}.png").write_bytes(whole[0])
    said = upres(*back, "more.mkv", cwd=tmp_path)
    assert said.returncode == 1
    assert "more pictures than frames" in said.stderr
    (tmp_path / "frames" / f"{count:03}.png").unlink()
    said = upres(*back, "fewer.mkv", cwd=tmp_path)
    assert said.returncode == 1
    assert f"{count:03}.png" in said.stderr
    assert not (tmp_path / "fewer.mkv").exists()


def test_a_preview_is_one_frame_before_and_after(tmp_path: Path) -> None:
    made(tmp_path / "in.mp4", pictures="testsrc2=s=64x48:r=25:d=1")
    said = upres("enlarge", "in.mp4", "-s", "2", "--preview", "0.4", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    facts = stream(tmp_path / "in_x2.png")
    assert (facts["width"], facts["height"]) == (256, 96)
    # The left half is that frame, enlarged by another bicubic.
    psnr = run(
        *("ffmpeg", "-v", "error", "-i", tmp_path / "in_x2.png", "-ss", "0.4"),
        *("-i", tmp_path / "in.mp4", "-frames:v", 1, "-lavfi"),
        "[0]crop=128:96:0:0,format=gray[a];[1]scale=128:96:flags=bicubic:in_color_matrix=bt601,"
        "format=gbrp,format=gray[b];[a][b]psnr=stats_file=-",
        *("-f", "null", "-"),
    )
    assert float(psnr.split("psnr_avg:")[1].split()[0]) > 30
    late = upres("enlarge", "in.mp4", "-s", "2", "--preview", "9", "-f", cwd=tmp_path)
    assert late.returncode == 1
    assert "has no frame at 9 s" in late.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_does_not_grow_with_a_video(tmp_path: Path, measuring: ModuleType) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=160", "-c:a", "aac", "-shortest")
    for name, seconds in (("short.mkv", 20), ("long.mkv", 160)):
        made(tmp_path / name, *tone, "-t", seconds, pictures="testsrc2=s=32x24:r=25:d=160")
    held = []
    for name in ("short.mkv", "long.mkv"):
        command = [sys.executable, "-m", "upres", "enlarge", name, "-s", "2", "-q"]
        held.append(measuring.peak_memory(command, tmp_path))
    assert len(frames(tmp_path / "long_x2.mkv")) == 4000
    # Eight times as long; an hour is 22 times this.
    assert held[1] < held[0] + 16
    assert held[1] < 1000
