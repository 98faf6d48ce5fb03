"""Damaged videos end in one line, or in a result: never in a traceback, a crash or a leftover."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import fakes
from formats.contract import leftovers, running_threads
from formats.video.clips import made
from upres.errors import UpresError

pytest.importorskip("av")

KINDS = {
    "mkv": ("-c:v", "libx264", "-c:a", "aac"),
    "mp4": ("-c:v", "libx265", "-x265-params", "log-level=none", "-c:a", "aac"),
    "ts": ("-c:v", "libx264", "-c:a", "aac"),
    "mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus"),
    "avi": ("-c:v", "mpeg4", "-c:a", "mp2"),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    found = bytearray(content)
    kind = draw.choice(("flip", "cut", "head", "splice"))
    if kind == "cut":
        return bytes(found[: draw.randrange(len(found))])
    if kind == "splice":
        first, second = draw.randrange(len(found)), draw.randrange(len(found))
        found[first : first + 200] = found[second : second + 200]
        return bytes(found)
    reach = len(found) if kind == "flip" else min(600, len(found))
    for _ in range(draw.randint(1, 30)):
        found[draw.randrange(reach)] = draw.randrange(256)
    return bytes(found)


@pytest.mark.parametrize("suffix", KINDS)
def test_damage_of_any_kind(tmp_path: Path, suffix: str) -> None:
    tone = ("-f", "lavfi", "-i", "sine=440:d=0.6")
    whole = made(
        tmp_path / f"whole.{suffix}", *tone, *KINDS[suffix], pictures="testsrc2=s=48x32:r=25:d=0.6"
    ).read_bytes()
    (tmp_path / f"whole.{suffix}").unlink()
    draw, threads = random.Random(suffix), running_threads()
    source, target = tmp_path / f"in.{suffix}", tmp_path / "out.mkv"
    ended = set()
    for _ in range(15):
        source.write_bytes(damaged(whole, draw))
        target.unlink(missing_ok=True)
        said = None
        try:
            fakes.enlarge_file(source, target)
        except UpresError as error:
            said = str(error)
        ended.add("made" if said is None else "refused")
        assert target.exists() == (said is None)
        assert said is None or (str(source) in said or str(target) in said)
        assert "\n" not in (said or "")
        assert leftovers(tmp_path) == []
    assert "refused" in ended
    assert running_threads() <= threads
