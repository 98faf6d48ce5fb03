"""Videos are for the command: the service refuses them before any frame is enlarged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fakes
from formats.video.clips import made
from upres.service.orders import Order, look

pytest.importorskip("av")


def test_a_video_is_refused_whatever_its_length(tmp_path: Path) -> None:
    made(tmp_path / "clip.mp4")
    shutil.move(tmp_path / "clip.mp4", tmp_path / "picture")
    order = Order(tmp_path, "clip.mp4", fakes.asking(scale=2))
    with pytest.raises(Exception, match=r"clip\.mp4: videos are for the command alone"):
        look(order, backend=fakes.FakeBackend(), tell=lambda part: None)
