"""Videos from file to file: times, streams beside the frames, and tags, by independent judges."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import fakes
from formats.contract import leftovers
from formats.video.clips import (
    PICTURES,
    copied,
    frames,
    made,
    need,
    probed,
    run,
    stream,
    times,
)
from upres.errors import InputError, OutputError

pytest.importorskip("av")

SUBTITLES = "1\n00:00:00,200 --> 00:00:00,500\nHello\n\n2\n00:00:00,600 --> 00:00:00,900\nWorld\n"
CHAPTERS = (
    ";FFMETADATA1\ntitle=A film\nartist=Someone\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=One\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=Two\n"
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a film may have: a variable rate, two languages, subtitles, chapters, a font."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "s.srt").write_text(SUBTITLES)
    (folder / "m.txt").write_text(CHAPTERS)
    (folder / "a font.ttf").write_bytes(b"a font" * 9)
    tones = [a for hertz in (440, 880) for a in ("-f", "lavfi", "-i", f"sine={hertz}:d=1")]
    rate = "select='not(eq(mod(n,5),2))',setpts=PTS+0.013/TB"
    languages = ["-metadata:s:a:0", "language=deu", "-metadata:s:a:0", "title=Der Ton"]
    languages += ["-metadata:s:a:1", "language=fra", "-metadata:s:s:0", "language=eng"]
    return made(
        folder / "film.mkv",
        *tones,
        *("-i", folder / "s.srt", "-i", folder / "m.txt"),
        *("-map", 0, "-map", 1, "-map", 2, "-map", 3, "-map_metadata", 4, "-map_chapters", 4),
        *("-vf", rate, "-vsync", "vfr", "-c:v", "libx264", "-c:a:0", "aac", "-c:a:1", "libopus"),
        *("-c:s", "srt", *languages, "-disposition:a:1", "comment", "-disposition:s:0", "forced"),
        *("-attach", folder / "a font.ttf", "-metadata:s:t", "mimetype=font/ttf"),
        *("-metadata:s:v", "title=Das Bild"),
    )


@pytest.fixture(scope="module")
def mp4(film: Path) -> Path:
    """The same as MP4, whose unit of time is finer."""
    path = film.with_suffix(".mp4")
    command = ["-v", "error", "-i", film, "-map", "0:v", "-map", "0:a", "-map", "0:s"]
    run("ffmpeg", *command, "-c", "copy", "-c:s", "mov_text", path)
    return path


@pytest.mark.parametrize("name", ["film", "mp4"])
def test_all_times_and_packets_are_the_source_s(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(name)
    target = tmp_path / f"out{source.suffix}"
    assert not fakes.enlarge_file(source, target)
    assert leftovers(tmp_path) == []
    assert [t for t, _ in times(target)] == [t for t, _ in times(source)]
    before, after = (probed(p, "-show_streams", "-show_format") for p in (source, target))
    assert len(after["streams"]) == len(before["streams"])
    for old, new in zip(before["streams"], after["streams"], strict=True):
        for key in ("codec_type", "codec_name", "disposition", "time_base"):
            assert new.get(key) == old.get(key), key
        assert float(new["start_time"]) == pytest.approx(float(old["start_time"]), abs=1e-3)
        if "duration" in old and old["codec_type"] != "attachment":
            # Of frames, MP4 tells how long decoding takes, which their order has a part in.
            slack = 0.05 if old["codec_type"] == "video" else 2e-3
            assert float(new["duration"]) == pytest.approx(float(old["duration"]), abs=slack)
        for tag in ("language", "title", "filename", "mimetype"):
            assert new.get("tags", {}).get(tag) == old.get("tags", {}).get(tag)
        if old["codec_type"] in ("audio", "subtitle"):
            assert copied(target, str(old["index"])) == copied(source, str(old["index"]))
    assert float(after["format"]["duration"]) == pytest.approx(
        float(before["format"]["duration"]), abs=0.021
    )
    assert after["format"]["tags"]["title"] == "A film"


@pytest.mark.parametrize("name", ["film", "mp4"])
def test_sound_is_identical_to_ffmpeg_s_own_sums(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(name)
    target = tmp_path / f"out{source.suffix}"
    fakes.enlarge_file(source, target)
    for which in ("0:a:0", "0:a:1", "0:s:0"):
        sums = [
            run("ffmpeg", "-v", "error", "-i", p, "-map", which, "-c", "copy", "-f", "md5", "-")
            for p in (source, target)
        ]
        assert sums[0] == sums[1]


def test_chapters_and_attachments_are_there(film: Path, mp4: Path, tmp_path: Path) -> None:
    for source in (film, mp4):
        target = tmp_path / f"out{source.suffix}"
        fakes.enlarge_file(source, target)
        found = probed(target, "-show_chapters")["chapters"]
        assert [(c["start_time"], c["tags"]["title"]) for c in found] == [
            ("0.000000", "One"),
            ("0.400000", "Two"),
        ]
    font = tmp_path / "font"
    run("mkvextract", tmp_path / "out.mkv", "attachments", f"1:{font}")
    assert font.read_bytes() == b"a font" * 9


def test_what_a_container_cannot_hold_is_told(film: Path, mp4: Path, tmp_path: Path) -> None:
    lost = fakes.enlarge_file(film, tmp_path / "out.mp4")
    assert list(lost) == ["subtitles (srt, eng)", "attachment (a font.ttf)"]
    lost = fakes.enlarge_file(mp4, tmp_path / "out.mkv")
    assert list(lost) == ["subtitles (mov_text, eng)"]
    lost = fakes.enlarge_file(film, tmp_path / "out.webm")
    assert "audio (aac, deu)" in lost
    assert "attachment (a font.ttf)" in lost
    rate = made(tmp_path / "ntsc.mp4", pictures="testsrc2=s=64x48:r=30000/1001:d=0.3")
    lost = fakes.enlarge_file(rate, tmp_path / "ntsc.mkv")
    assert list(lost) == ["frames' times to less than a millisecond"]


def test_mkvmerge_finds_nothing_to_complain_about(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    fakes.enlarge_file(film, target)
    need("mkvmerge")
    run("mkvmerge", "-o", tmp_path / "again.mkv", target)
    assert len(frames(tmp_path / "again.mkv")) == len(frames(film))


@pytest.mark.parametrize(
    ("name", "arguments", "target"),
    [
        ("x.ts", ["-c:v", "libx264"], "out.mkv"),
        ("x.ts", ["-c:v", "libx264"], "out.mp4"),
        ("x.avi", ["-c:v", "rawvideo", "-pix_fmt", "bgr24"], "out.mkv"),
        ("x.avi", ["-c:v", "mpeg4", "-bf", "2"], "out.mp4"),
        ("x.mkv", ["-c:v", "ffv1", "-pix_fmt", "gbrp10le"], "out.mkv"),
        ("x.mkv", ["-c:v", "ffv1", "-pix_fmt", "gray"], "out.mkv"),
        ("x.webm", ["-c:v", "libvpx-vp9", "-b:v", "1M"], "out.webm"),
        ("x.mov", ["-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"], "out.mov"),
        ("x.mpg", ["-c:v", "mpeg2video"], "out.mkv"),
        ("x.flv", ["-c:v", "flv1"], "out.mp4"),
        ("x.y4m", ["-pix_fmt", "yuv444p"], "out.mp4"),
        ("x.wmv", ["-c:v", "wmv2"], "out.mkv"),
    ],
)
def test_containers_and_codecs(
    tmp_path: Path, name: str, arguments: list[str], target: str
) -> None:
    source = made(tmp_path / name, *arguments)
    result = tmp_path / target
    fakes.enlarge_file(source, result)
    old, new = times(source), times(result)
    assert len(new) == len(old) == 25
    # Some containers tell times of decoding alone.
    told = [(a, b) for (a, _), (b, _) in zip(new, old, strict=True) if b == b]
    assert [a for a, _ in told] == pytest.approx([b for _, b in told], abs=6e-4)
    steps = [b - a for (a, _), (b, _) in itertools.pairwise(new)]
    assert steps == pytest.approx([0.04] * 24, abs=1e-3)
    facts = stream(result)
    assert (facts["width"], facts["height"]) == (128, 96)


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4"])
def test_real_clips(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "inputs" / "video" / name
    short = tmp_path / name
    run("ffmpeg", "-v", "error", "-i", source, "-t", "0.5", "-c", "copy", short)
    fakes.enlarge_file(short, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == times(short)
    before, after = stream(short), stream(tmp_path / "out.mp4")
    assert after["sample_aspect_ratio"] == before["sample_aspect_ratio"]


def test_aspect_and_rotation_are_kept_once(tmp_path: Path) -> None:
    plain = made(tmp_path / "plain.mp4", "-vf", "setsar=16/11")
    source = tmp_path / "phone.mp4"
    turned = ("-metadata:s:v", "rotate=270", "-c", "copy")
    run("ffmpeg", "-v", "error", "-i", plain, *turned, source)
    target = tmp_path / "out.mp4"
    fakes.enlarge_file(source, target)
    old, new = stream(source), stream(target)
    assert new["sample_aspect_ratio"] == old["sample_aspect_ratio"] == "16:11"
    (before,), (after,) = old["side_data_list"], new["side_data_list"]
    assert after["rotation"] == before["rotation"]
    assert after["displaymatrix"] == before["displaymatrix"]
    assert (new["width"], new["height"]) == (128, 96)  # as they are stored
    for inform, expected in (("%Rotation%", "90.000"), ("%PixelAspectRatio%", "1.455")):
        told = [run("mediainfo", f"--Output=Video;{inform}", p).strip() for p in (source, target)]
        assert told == [expected, expected]


def test_a_cover_is_copied(tmp_path: Path) -> None:
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", PICTURES, "-frames:v", 1, tmp_path / "c.png")
    cover = ("-i", tmp_path / "c.png", "-map", 0, "-map", 1, "-c:v:1", "png")
    source = made(tmp_path / "in.mp4", *cover, "-disposition:v:1", "attached_pic")
    target = tmp_path / "out.mp4"
    assert not fakes.enlarge_file(source, target)
    assert stream(target, "v:1")["disposition"]["attached_pic"] == 1
    assert copied(target, "v:1", with_times=False) == copied(source, "v:1", with_times=False)
    assert stream(target)["width"] == 128


def test_times_that_begin_late_stay(tmp_path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=1")
    late = made(tmp_path / "late.mp4", *tone, "-output_ts_offset", "0", "-c:a", "aac")
    shifted = tmp_path / "shifted.mp4"
    command = ["-v", "error", "-itsoffset", "0.32", "-i", late, "-i", late]
    run("ffmpeg", *command, "-map", "0:v", "-map", "1:a", "-c", "copy", shifted)
    target = tmp_path / "out.mp4"
    fakes.enlarge_file(shifted, target)
    for which in ("v:0", "a:0"):
        assert stream(target, which)["start_time"] == stream(shifted, which)["start_time"]
    assert float(stream(target)["start_time"]) == pytest.approx(0.32, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c:v", "ffv1", "-pix_fmt", "yuva420p"], "transparency"),
        (["-vn", "-f", "lavfi", "-i", "sine=440:d=0.1", "-map", "1:a"], "has no video"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(
    tmp_path: Path, arguments: list[Any], message: str
) -> None:
    source = made(tmp_path / "in.mkv", *arguments)
    with pytest.raises(InputError, match=message) as caught:
        fakes.enlarge_file(source, tmp_path / "out.mkv")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_a_picture_is_no_video_and_a_video_no_picture(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4")
    run("ffmpeg", "-v", "error", "-i", source, "-frames:v", 1, tmp_path / "in.png")
    run("ffmpeg", "-v", "error", "-i", source, tmp_path / "in.gif")
    with pytest.raises(OutputError, match="cannot hold a video"):
        fakes.enlarge_file(source, tmp_path / "out.gif")
    for name in ("in.png", "in.gif"):
        with pytest.raises(OutputError, match="for videos"):
            fakes.enlarge_file(tmp_path / name, tmp_path / "out.mp4")
