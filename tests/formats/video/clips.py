"""Small videos, made and judged by Debian's FFmpeg, mediainfo and mkvtoolnix."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PICTURES = "testsrc2=s=64x48:r=25:d=1"


def need(program: str) -> str:
    """The path of a Debian program; skips without it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program}, which is not here")
    return found


def run(program: str, *arguments: object) -> str:
    """The output of a program, which must end well."""
    command = [need(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def made(path: Path, *arguments: object, pictures: str = PICTURES) -> Path:
    """A video of FFmpeg's test pictures, encoded as the arguments say."""
    run("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", pictures, *arguments, path)
    return path


def probed(path: Path, *arguments: object) -> dict[str, Any]:
    """The words of ffprobe about a file."""
    told = run("ffprobe", "-v", "error", "-of", "json", *arguments, path)
    answer: dict[str, Any] = json.loads(told)
    return answer


def stream(path: Path, which: str = "v:0") -> dict[str, Any]:
    """The facts of a stream."""
    found: dict[str, Any] = probed(path, "-show_streams", "-select_streams", which)["streams"][0]
    return found


def frames(path: Path) -> list[dict[str, Any]]:
    """The facts of all frames."""
    found = probed(path, "-show_frames", "-select_streams", "v:0")["frames"]
    return [frame for frame in found if frame["media_type"] == "video"]


def times(path: Path) -> list[tuple[float, float]]:
    """When each frame is shown, in seconds, and for how long."""
    return [
        (float(f.get("best_effort_timestamp_time", "nan")), float(f.get("pkt_duration_time", 0)))
        for f in frames(path)
    ]


def copied(path: Path, which: str, *, with_times: bool = True) -> list[str]:
    """A line for each packet of a stream: its time in seconds, duration, and a sum of its bytes."""
    show = ["-show_packets", "-show_data_hash", "MD5", "-select_streams", which]
    lines = []
    for packet in probed(path, *show)["packets"]:
        time = round(float(packet["pts_time"]), 3) if with_times else ""
        lines.append(f"{time} {packet['data_hash']}")
    return lines
