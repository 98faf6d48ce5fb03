"""Noise taken down where nothing moves: beside the clean truth, which noise was added to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
from formats.video.clips import made, run
from running import upres
from upres.errors import UsageError
from upres.formats.video.settings import VideoSettings
from upres.raster.resize import bicubic
from upres.runs.video import VideoRun, open_any

pytest.importorskip("av")

import av

from upres.formats.video.source import VideoSource
from upres.formats.video.steady import steadied

Frames = list[NDArray[Any]]
COUNT = 9


def scene(height: int = 96, width: int = 128) -> NDArray[Any]:
    """Edges, slopes and fine texture, 8 bits."""
    rows, columns = np.mgrid[:height, :width]
    texture = 20 * np.sin(columns / 3) * np.cos(rows / 5) + columns * 0.8
    return np.clip(60 + texture + 60 * ((rows // 24 + columns // 32) % 2), 20, 235)


def noisy(clean: Frames, deviation: float) -> Frames:
    draw = np.random.default_rng(5)
    return [np.round(f + draw.normal(0, deviation, f.shape)).clip(0, 255) for f in clean]


def made_steady(frames: Frames) -> Frames:
    numbered: Iterator[tuple[int, Frames]] = (
        (number, [frame.astype(np.uint8)]) for number, frame in enumerate(frames)
    )
    result = list(steadied(numbered, 0))
    assert [number for number, _ in result] == list(range(len(frames)))
    return [planes[0] for _, planes in result]


def error(frames: Frames, clean: Frames) -> float:
    return float(np.mean([np.mean((a - b) ** 2) for a, b in zip(frames, clean, strict=True)]))


def change(frames: Frames) -> float:
    return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(frames)]))


@pytest.mark.parametrize("deviation", [2, 4, 8])
def test_still_frames_have_less_noise_and_hardly_change(deviation: float) -> None:
    clean = [scene()] * COUNT
    given = noisy(clean, deviation)
    steady = made_steady(given)
    # Five frames' mean has a fifth of the noise's square.
    assert error(steady, clean) < 0.3 * error(given, clean)
    assert change(steady[2:-2]) < 0.25 * change(given)


@pytest.mark.parametrize("count", range(1, 8))
def test_still_frames_without_noise_stay_themselves(count: int) -> None:
    clean = [np.round(scene())] * count
    assert all(np.array_equal(a, b) for a, b in zip(made_steady(clean), clean, strict=True))


def test_an_object_that_moves_leaves_no_ghost() -> None:
    clean = []
    for number in range(COUNT):
        frame = scene()
        frame[30:60, 8 + 9 * number : 32 + 9 * number] = 200 - scene()[30:60, 40:64] / 2
        clean.append(frame)
    given = noisy(clean, 3)
    steady = made_steady(given)
    for number in range(2, COUNT - 2):
        # Where it is, was, or will be: no farther from the truth than noise had it.
        place = np.s_[28:62, max(0, 9 * (number - 2)) : 60 + 9 * number]
        before = error([given[number][place]], [clean[number][place]])
        assert error([steady[number][place]], [clean[number][place]]) < before
        assert np.abs(steady[number] - clean[number])[place].max() < 18
    assert error(steady, clean) < 0.5 * error(given, clean)


def test_all_that_moves_is_no_worse_than_with_its_noise() -> None:
    wide = scene(120, 200)
    for deviation in (0.5, 3):
        clean = [wide[10 + n : 106 + n, 4 + 3 * n : 132 + 3 * n] for n in range(COUNT)]
        given = noisy(clean, deviation)
        assert error(made_steady(given), clean) < error(given, clean) + 0.1


def test_a_part_that_is_made_later_sees_the_same_neighbours(tmp_path: Path) -> None:
    noise = "testsrc2=s=64x48:r=25:d=0.6,noise=alls=12:allf=t"
    path = made(tmp_path / "in.mkv", "-c:v", "ffv1", pictures=noise)
    settings = VideoSettings(steady=True)

    def frames(source: VideoSource) -> Frames:
        return [np.concatenate(list(frame)) for frame in source.frames(path)]

    whole, plain = frames(VideoSource(path, settings)), frames(VideoSource(path))
    assert len(whole) == len(plain) == 15
    assert not np.array_equal(whole[5], plain[5])
    for first in (1, 2, 7, 14):
        rest = frames(VideoSource(path, settings).starting_at(first))
        assert len(rest) == 15 - first
        assert all(np.array_equal(a, b) for a, b in zip(rest, whole[first:], strict=True))


@pytest.mark.parametrize("pix_fmt", ["gray", "gbrp", "yuv420p10le", "yuv444p"])
def test_frames_of_each_kind(tmp_path: Path, pix_fmt: str) -> None:
    path = made(tmp_path / "in.mkv", "-c:v", "ffv1", "-pix_fmt", pix_fmt)
    target = tmp_path / "out.mkv"
    wishes = VideoRun(VideoSettings(steady=True))
    opened = open_any(path, fakes.asking(), wishes, backend=fakes.FakeBackend())
    assert opened.write(target).not_kept == ()
    assert target.exists()


def test_pictures_are_not_made_steady(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a video's own frames"):
        VideoSettings(steady=True, like=tmp_path / "in.mp4")


def test_a_network_flickers_less_than_bicubic(tmp_path: Path) -> None:
    given = noisy([scene()] * COUNT, 4)
    raw, source = tmp_path / "raw", tmp_path / "in.mkv"
    raw.write_bytes(b"".join(frame.astype(np.uint8).tobytes() for frame in given))
    kind = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", "128x96", "-i", raw)
    run("ffmpeg", "-v", "error", *kind, "-c:v", "ffv1", source)
    flicker = {}
    for steady in ((), ("--steady",)):
        target = tmp_path / f"out{len(steady)}.mkv"
        command = ["in.mkv", "-s", "2", "--precision", "fp32", "--lossless", "-o", target]
        said = upres("enlarge", *map(str, command), *steady, cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        with av.open(str(target)) as container:
            made = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
        flicker[steady] = change(made[2:-2])
    unit = [np.asarray(frame / 255, np.float32)[:, :, None] for frame in given]
    by_bicubic = 255 * change([bicubic(frame, size=(192, 256)) for frame in unit][2:-2])
    assert flicker[()] > 1.1 * by_bicubic
    assert flicker["--steady",] < 0.6 * by_bicubic
