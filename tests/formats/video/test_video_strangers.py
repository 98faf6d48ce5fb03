"""Videos as strangers have them: timecodes, holes, recordings, codecs that miss a number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import fakes
from formats.video.clips import copied, frames, made, probed, run, stream, times
from running import upres
from upres.errors import InputError, OutputError
from upres.formats.video.settings import VideoSettings
from upres.runs.video import VideoRun, open_any

av = pytest.importorskip("av")

SHORT = "testsrc2=s=64x48:r=25:d=0.4"


def enlarged(source: Path, target: Path, **settings: Any) -> list[str]:
    wishes = VideoRun(VideoSettings(**settings))
    opened = open_any(source, fakes.asking(), wishes, backend=fakes.FakeBackend())
    return list(opened.write(target).not_kept)


def told(path: Path) -> tuple[int, ...]:
    """Matrix, primaries, transfer and range of the first frame, by H.273's numbers."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    return (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("in.webm", "libvpx-vp9", "yuva420p"), ("in.mov", "prores_ks", "yuva444p10le")],
)
def test_transparency_is_refused_also_where_decoders_pass_it_over(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    source = made(tmp_path / name, "-c:v", codec, "-pix_fmt", pix_fmt, pictures=SHORT)
    with pytest.raises(InputError, match="has transparency"):
        enlarged(source, tmp_path / "out.mkv")


@pytest.mark.parametrize(("name", "target"), [("in.mov", "out.mov"), ("in.mp4", "out.mkv")])
def test_a_camera_s_timecode_is_kept(tmp_path: Path, name: str, target: str) -> None:
    source = made(tmp_path / name, "-c:v", "libx264", "-timecode", "01:02:03:04", pictures=SHORT)
    assert enlarged(source, tmp_path / target) == []
    streams = probed(tmp_path / target, "-show_streams")["streams"]
    tags = {key.lower(): value for key, value in streams[0]["tags"].items()}
    assert tags["timecode"] == "01:02:03:04"
    assert len(streams) == (2 if target == "out.mov" else 1)
    # It is the first frame's, and an excerpt begins with another.
    assert enlarged(source, tmp_path / "cut.mov", start=Fraction(1, 5)) == ["timecode"]
    assert "timecode" not in stream(tmp_path / "cut.mov")["tags"]


def test_frames_that_only_show_the_one_before_for_longer(tmp_path: Path) -> None:
    source = made(tmp_path / "in.ogv", "-c:v", "libtheora", pictures="testsrc2=s=64x48:r=25:d=1")
    with av.open(str(source)) as container:
        assert 0 in [packet.size for packet in container.demux(video=0) if packet.dts is not None]
    assert enlarged(source, tmp_path / "out.mkv") == []
    assert [t for t, _ in times(tmp_path / "out.mkv")] == [t for t, _ in times(source)]


def test_a_recording_that_begins_late_or_amid_a_group(tmp_path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=1", "-c:a", "aac")
    whole = made(tmp_path / "whole.mp4", *tone)
    late = tmp_path / "late.mkv"
    run("ffmpeg", "-v", "error", "-i", whole, "-c", "copy", "-output_ts_offset", "5", late)
    assert enlarged(late, tmp_path / "out.mkv") == []
    assert [t for t, _ in times(tmp_path / "out.mkv")] == [t for t, _ in times(late)]
    packets = ("-c:v", "libx264", "-x264-params", "open-gop=1", "-g", "12", "-bf", "3")
    whole = made(tmp_path / "whole.ts", *packets, pictures="testsrc2=s=64x48:r=25:d=2")
    content = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(content[len(content) // 188 // 3 * 188 :])
    assert enlarged(cut, tmp_path / "cut.mkv") == []
    found = [t for t, _ in times(tmp_path / "cut.mkv")]
    assert found == pytest.approx([t for t, _ in times(cut)], abs=6e-4)


@pytest.mark.parametrize(
    ("name", "codec"), [("in.ts", "libx264"), ("in.mpg", "mpeg2video"), ("in.avi", "mpeg4")]
)
def test_excerpts_of_containers_without_an_index_or_fine_times(
    tmp_path: Path, name: str, codec: str
) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=2", "-c:a", "mp2", "-g", "99")
    source = made(tmp_path / name, *tone, "-c:v", codec, pictures="testsrc2=s=64x48:r=25:d=2")
    zero = float(probed(source, "-show_format")["format"].get("start_time", 0))
    enlarged(source, tmp_path / "out.mkv", start=Fraction("1.1"), stop=Fraction("1.5"))
    shown = [t - zero for t, _ in times(source) if 1.1 <= t - zero < 1.5]
    found = [t for t, _ in times(tmp_path / "out.mkv")]
    assert len(found) == len(shown) == 10
    # Sound and frames move alike, also where frames are counted.
    heard = {line.split()[1]: float(line.split()[0]) - zero for line in copied(source, "a:0")}
    time, content = copied(tmp_path / "out.mkv", "a:0")[0].split()
    assert shown[0] - found[0] == pytest.approx(heard[content] - float(time), abs=2e-3)


def test_data_that_cannot_be_copied_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "places").write_bytes(bytes(range(256)) * 9)
    data = ("-f", "data", "-i", tmp_path / "places", "-map", 0, "-map", 1, "-c:d", "copy")
    made(tmp_path / "in.ts", *data, "-c:v", "libx264", pictures=SHORT)
    source = tmp_path / "in.mp4"
    run("ffmpeg", "-v", "error", "-i", tmp_path / "in.ts", "-map", 0, "-c", "copy", source)
    assert stream(source, "d:0")["codec_tag_string"] == "gpmd"  # a GoPro's places
    assert enlarged(source, tmp_path / "out.mp4") == ["data (bin_data)"]


PQ = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
HLG = PQ.replace("smpte2084", "arib-std-b67")
SD = "colorprim=bt470bg:transfer=smpte170m:colormatrix=bt470bg"
FULL = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=full"
STORED = ["full range (samples are those of television)"]


@pytest.mark.parametrize(
    ("codec", "target", "params", "expected", "lost"),
    [
        ("prores", "out.mov", PQ, (9, 9, 16, 1), []),
        # Numbers of the same matrix and curve, which ProRes has.
        ("prores", "out.mkv", SD, (6, 5, 1, 1), []),
        ("prores", "out.mov", FULL, (1, 1, 1, 1), STORED),
        ("vp9", "out.webm", FULL, (1, 1, 1, 2), []),
        ("av1", "out.mp4", HLG, (9, 9, 18, 1), []),
    ],
)
def test_each_codec_tells_the_colours(
    tmp_path: Path, codec: str, target: str, params: str, expected: tuple[int, ...], lost: list[str]
) -> None:
    params = "log-level=none:" + params
    source = made(tmp_path / "in.mkv", "-c:v", "libx265", "-x265-params", params, pictures=SHORT)
    assert enlarged(source, tmp_path / target, codec=codec) == lost
    assert told(tmp_path / target) == expected


def test_full_range_becomes_that_of_television_by_its_values(tmp_path: Path) -> None:
    grey = "nullsrc=s=64x64:r=25:d=0.2,format=yuvj444p,geq=lum=160:cb=128:cr=128"
    source = made(tmp_path / "in.mkv", "-c:v", "ffv1", "-color_range", "pc", pictures=grey)
    enlarged(source, tmp_path / "out.mov", codec="prores")
    with av.open(str(tmp_path / "out.mov")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="yuv444p16le")[..., 0]
    level = float(frame[32:96, 32:96].mean()) / 256
    assert level == pytest.approx(16 + 219 * 160 / 255, abs=0.6)


@pytest.mark.parametrize(
    ("matrix", "codec"), [("ycgco", "vp9"), ("fcc", "vp9"), ("ycgco", "prores")]
)
def test_a_matrix_that_a_codec_has_no_number_for_is_refused(
    tmp_path: Path, matrix: str, codec: str
) -> None:
    source = made(tmp_path / "in.mp4", "-c:v", "libx264", "-colorspace", matrix, pictures=SHORT)
    with pytest.raises(OutputError, match=f"codec {codec} cannot hold frames of the matrix"):
        enlarged(source, tmp_path / "out.mkv", codec=codec)


@pytest.mark.parametrize("codec", ["png", "qtrle"])
def test_rgb_of_a_mov_stays_rgb_in_a_mov(tmp_path: Path, codec: str) -> None:
    source = made(tmp_path / "in.mov", "-c:v", codec, "-pix_fmt", "rgb24", pictures=SHORT)
    assert enlarged(source, tmp_path / "out.mov") == []
    assert stream(tmp_path / "out.mov")["pix_fmt"] == "gbrp"


def test_untagged_grey_takes_all_of_its_range(tmp_path: Path) -> None:
    ramp = "nullsrc=s=256x32:r=25:d=0.2,geq=lum='X':cb=128:cr=128,format=gray"
    source = made(tmp_path / "in.avi", "-c:v", "rawvideo", pictures=ramp)
    assert "color_range" not in stream(source)
    assert enlarged(source, tmp_path / "out.mkv", lossless=True) == []
    assert stream(tmp_path / "out.mkv")["color_range"] == "pc"


def test_ten_bits_in_webm(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le", pictures=SHORT)
    enlarged(source, tmp_path / "out.webm")
    facts = stream(tmp_path / "out.webm")
    assert (facts["codec_name"], facts["pix_fmt"]) == ("av1", "yuv420p10le")


@pytest.mark.parametrize("name", ["a %06d.mp4", "-dash.mp4", "a:b.mp4", "ü 日本.mp4", "it's.mp4"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    made(tmp_path / "in.mp4", "-c:v", "libx264", pictures=SHORT).rename(tmp_path / name)
    said = upres("enlarge", "-s", "2", "--", name, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert len(frames(tmp_path / name.replace(".mp4", "_x2.mp4"))) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["in.mp4", "--labels", "-s", "2"], "numbers of classes are in pictures"),
        (["in.mp4", "--quality", "50"], "--quality is for pictures"),
        (["in.mp4", "--crf", "5", "-o", "f/%d.png"], "are pictures: leave codec, crf and lossless"),
        (["in.mp4", "--codec", "av1", "--preview", "0"], "a preview is a picture"),
        (["in.png", "--crf", "5"], "are for videos"),
        (["in.png", "--from", "5"], "are for videos"),
        (["in.mp4", "--fit", "30x30", "--larger", "copy", "--to", "0.2"], "a copy is whole"),
    ],
)
def test_no_option_is_ignored(tmp_path: Path, options: list[str], message: str) -> None:
    made(tmp_path / "in.mp4", pictures=SHORT)
    run("ffmpeg", "-v", "error", "-i", tmp_path / "in.mp4", "-frames:v", 1, tmp_path / "in.png")
    said = upres("enlarge", *options, cwd=tmp_path)
    assert said.returncode in (1, 2)
    assert message in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "f") == ["in.mp4", "in.png"]


def test_sound_of_a_broadcast_stays_itself(tmp_path: Path) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=0.4", "-c:a", "ac3")
    source = made(tmp_path / "in.ts", *tone, "-c:v", "mpeg2video", pictures=SHORT)
    assert enlarged(source, tmp_path / "out.mkv") == []
    old, new = (copied(p, "a:0", with_times=False) for p in (source, tmp_path / "out.mkv"))
    assert new == old
