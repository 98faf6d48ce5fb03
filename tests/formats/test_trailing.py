"""What stands behind a picture in its file is told, and what only looks like it is not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import fakes
from upres.formats.metadata import jpeg_kept
from upres.formats.metadata.jpeg_segments import jpeg_segments


def content(kind: str, seed: int = 1, **options: Any) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (40, 48, 3)).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP"}


def lost(path: Path, written: bytes) -> list[str]:
    path.write_bytes(written)
    return list(fakes.enlarge_file(path, path.with_name("out.png")))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("behind", KINDS)
def test_a_second_picture_is_told(tmp_path: Path, suffix: str, behind: str) -> None:
    both = content(KINDS[suffix]) + content(KINDS[behind], 2)
    assert lost(tmp_path / f"in.{suffix}", both) == ["further pictures"]


@pytest.mark.parametrize("suffix", KINDS)
def test_other_data_are_told_and_zeros_are_nothing(tmp_path: Path, suffix: str) -> None:
    path, picture = tmp_path / f"in.{suffix}", content(KINDS[suffix])
    assert lost(path, picture) == []
    assert lost(path, picture + bytes(5000)) == []
    assert lost(path, picture + b"a note") == ["data behind the picture"]
    assert lost(path, picture + bytes(600) + b"a note") == ["data behind the picture"]


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 100},
        {"quality": 30, "progressive": True},
        {"quality": 95, "restart_marker_blocks": 1},
        {"quality": 95, "restart_marker_rows": 1, "progressive": True},
    ],
)
def test_the_end_of_a_jpeg_is_found(tmp_path: Path, options: dict[str, Any]) -> None:
    for seed in range(20):
        written = content("JPEG", seed, **options)
        (tmp_path / "in.jpg").write_bytes(written + b"\xff\xd9 and more")
        segments = tuple(jpeg_segments(tmp_path / "in.jpg"))
        assert jpeg_kept.end(tmp_path / "in.jpg", segments) == len(written)


def test_a_jpeg_without_an_end_has_none(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(content("JPEG")[:-2])
    segments = tuple(jpeg_segments(tmp_path / "in.jpg"))
    assert jpeg_kept.end(tmp_path / "in.jpg", segments) is None
