"""Windows that are as they were a frame before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fakes
from upres.enlarging.pipeline import enlarge_into
from upres.enlarging.plan import plan
from upres.enlarging.repeats import Repeats
from upres.raster.info import Band, RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows


class Film:
    """Frames in memory, whose number nobody tells."""

    def __init__(self, frames: NDArray[np.float32]) -> None:
        self._frames = frames
        bands = tuple(Band(role, least=0.0, most=1.0) for role in ("red", "green", "blue"))
        self.info = RasterInfo(*frames.shape[1:3], bands, frames.dtype, frames=None)
        self.carried: object = None

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        return (iter([frame]) for frame in self._frames)


class Screen:
    """Puts the windows of all frames together."""

    not_kept = ()

    def __init__(self, count: int) -> None:
        self._count = count

    def begin(self, info: RasterInfo, carried: object) -> None:
        self.frames = np.full((self._count, info.height, info.width, 3), np.nan, np.float32)

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        rows, columns, _ = block.shape
        self.frames[frame, top : top + rows, left : left + columns] = block

    def commit(self, *, replace: bool) -> None: ...

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exception: object) -> None: ...


def made(
    frames: NDArray[np.float32], backend: fakes.FakeBackend, scale: float = 2
) -> NDArray[np.float32]:
    screen = Screen(len(frames))
    film = Film(frames)
    asked = fakes.asking(scale=scale)
    planned = plan(film.info, asked, backend)
    enlarge_into(film, planned, screen, beside=Path("film"), backend=backend)
    return screen.frames


def screencast() -> NDArray[np.float32]:
    """Six frames: the second and the last are as those before, others change in one corner."""
    frames = np.repeat(np.random.default_rng(0).random((1, 80, 100, 3), np.float32), 6, axis=0)
    for number, value in ((2, 0.1), (3, 0.2), (4, 0.3)):
        frames[number:, 4:9, 5:12] = value
    return frames


def test_only_windows_that_change_are_computed() -> None:
    windows: list[int] = []
    backend = fakes.FakeBackend(window_pixels=40 * 50, before_window=lambda w: windows.append(1))
    frames = screencast()
    film = made(frames, backend)
    alone: list[int] = []
    single = fakes.FakeBackend(window_pixels=40 * 50, before_window=lambda w: alone.append(1))
    for frame, result in zip(frames, film, strict=True):
        np.testing.assert_array_equal(made(frame[None], single)[0], result)
    of_a_frame = len(alone) // 6
    assert of_a_frame > 4
    # The first is computed whole, and of three others the window in the corner.
    assert len(windows) == of_a_frame + 3


def test_every_model_of_a_cascade_has_its_own() -> None:
    frames = screencast()
    backend = fakes.FakeBackend(window_pixels=40 * 50)
    film = made(frames, backend, scale=4)
    for frame, result in zip(frames, film, strict=True):
        np.testing.assert_array_equal(made(frame[None], backend, scale=4)[0], result)


def test_a_change_at_a_halo_s_end_counts() -> None:
    # The window does not keep what is there, but its network looks at it.
    frames = np.repeat(np.random.default_rng(1).random((1, 40, 90, 3), np.float32), 2, axis=0)
    backend = fakes.FakeBackend(window_pixels=40 * 34)
    frames[1, 20, 45] = 0.5
    film = made(frames, backend)
    np.testing.assert_array_equal(made(frames[1:], backend)[0], film[1])


def test_there_is_a_limit_to_what_is_kept() -> None:
    given, result = np.zeros((4, 4, 3), np.float32), np.zeros((8, 8, 3), np.float32)
    repeats = Repeats(most_bytes=given.nbytes + result.nbytes)
    repeats.keep((0, 0, 0), given, result)
    repeats.keep((0, 0, 4), given, result.copy())
    assert repeats.find((0, 0, 0), given.copy()) is result
    assert repeats.find((0, 0, 4), given) is None
    assert repeats.find((1, 0, 0), given) is None
    # That of the next frame takes its place.
    repeats.keep((0, 0, 0), given + 1, result + 1)
    assert repeats.find((0, 0, 0), given) is None
    found = repeats.find((0, 0, 0), given + 1)
    assert found is not None
    assert not found.flags.writeable
    assert repeats.found == 2
