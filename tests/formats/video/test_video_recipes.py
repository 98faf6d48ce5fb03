"""The recipes of docs/video.md, each run on a small clip."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from formats.video.clips import frames, made, run, stream
from running import upres

pytest.importorskip("av")

PAGE = Path(__file__).parents[3] / "docs" / "video.md"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """The clips that the page names."""
    tone = ("-f", "lavfi", "-i", "sine=440:d=2")
    small = "testsrc2=s=64x48:r=25:d=2"
    made(
        tmp_path / "title.mpg",
        *tone,
        *("-c:a", "mp2", "-vf", "interlace,setdar=16/9", "-c:v", "mpeg2video"),
        *("-flags", "+ildct+ilme"),
        pictures="testsrc2=s=64x48:r=50:d=1",
    )
    made(tmp_path / "plain.mp4", *tone, "-c:a", "aac", pictures=small)
    turned = ("-metadata:s:v", "rotate=90", "-c", "copy")
    run("ffmpeg", "-v", "error", "-i", tmp_path / "plain.mp4", *turned, tmp_path / "phone.mp4")
    (tmp_path / "s.srt").write_text("1\n00:00:00,200 --> 00:00:00,500\nHello\n")
    made(tmp_path / "episode.mkv", "-i", tmp_path / "s.srt", "-c:s", "ass", pictures=small)
    made(tmp_path / "screencast.mp4", "-vf", "fps=25", pictures="testsrc2=s=64x48:r=2:d=2")
    params = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:max-cll=1000,400"
    made(
        tmp_path / "hdr.mp4",
        *("-c:v", "libx265", "-pix_fmt", "yuv420p10le"),
        *("-x265-params", f"log-level=none:{params}"),
    )
    made(tmp_path / "noisy.mp4", pictures=f"{small},noise=alls=9:allf=t")
    (tmp_path / "films").mkdir()
    made(tmp_path / "films" / "a.mp4")
    return tmp_path


def test_each_recipe_runs(clips: Path) -> None:
    if not PAGE.is_file():
        pytest.skip("needs docs/, which a source distribution does not have")
    commands = re.findall(r"^\$ upres (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(commands) >= 9
    for command in commands:
        said = upres(*shlex.split(command), cwd=clips)
        assert said.returncode == 0, (command, said.stderr)
    dvd = stream(clips / "title_1920x1080.mkv")
    assert (dvd["width"], dvd["height"]) == (1440, 1080)
    assert dvd["sample_aspect_ratio"] == "4:3"
    assert len(frames(clips / "trial.mp4")) == 25
    turns = [stream(clips / name)["side_data_list"][0] for name in ("phone.mp4", "phone_x2.mp4")]
    assert turns[0] == turns[1]
    assert stream(clips / "episode_x2.mkv")["codec_name"] == "hevc"
    assert stream(clips / "episode_x2.mkv", "s:0")["codec_name"] == "ass"
    assert stream(clips / "screencast_x2.mkv")["codec_name"] == "ffv1"
    assert stream(clips / "hdr_x2.mp4")["color_transfer"] == "smpte2084"
    assert len(frames(clips / "noisy_x2.mp4")) == 50
    assert (clips / "large" / "a_x2.mp4").exists()
    assert len(frames(clips / "again.mp4")) == len(frames(clips / "phone.mp4"))
