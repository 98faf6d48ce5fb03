"""The contract of sources and sinks, for arrays and the formats of the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageSequence
import tifffile
from contract import Array, FileSourceTests, SinkTests, SourceTests, info_of, waves, windows

from upres.formats.registry import create_sink, open_pages
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.source import Sink, Source

CMYK = info_of(40, 56, "ink", "ink", "ink", "ink")
ALPHA = info_of(40, 56, "red", "green", "blue", "alpha")
OTHER = info_of(40, 56, "red", "green", "blue", "other")
FRAMES = info_of(40, 56, "red", "green", "blue", frames=3)
FLOATS = info_of(40, 56, "grey", dtype=np.float32, high=7.5)


def frames_of(path: Path) -> Array:
    """All frames of a file, as Pillow reads them."""
    with PIL.Image.open(path) as image:
        frames = [np.asarray(frame) for frame in PIL.ImageSequence.Iterator(image)]
    return np.stack([f if f.ndim == 3 else f[:, :, None] for f in frames])


def save(path: Path, samples: Array, **options: Any) -> None:
    """Write frames by Pillow."""
    first, *others = (PIL.Image.fromarray(frame.squeeze()) for frame in samples)
    if others:
        options |= {"save_all": True, "append_images": others}
    first.save(path, **options)


class TestArraySource(SourceTests):
    def made(self, folder: Path) -> tuple[Source, Array]:
        samples = waves(1, 30, 41, 3)
        return ArraySource(samples[0]), samples


class TestDeepArraySource(SourceTests):
    def made(self, folder: Path) -> tuple[Source, Array]:
        samples = waves(1, 30, 41, 5, np.int16, 3000) - 1000
        bands = ["red", "green", "blue", "other", "index"]
        return ArraySource(samples[0], bands=bands), samples  # type: ignore[arg-type]


def test_an_array_sink_gives_the_array_of_all_windows() -> None:
    samples = waves(1, 30, 41, 3)[0]
    sink = ArraySink()
    sink.begin(info_of(30, 41, "red", "green", "blue"), None)
    for top in range(0, 30, 7):
        sink.write(0, top, 0, (samples[top : top + 7] / 255).astype(np.float32))
    sink.commit()
    np.testing.assert_array_equal(sink.result, samples)


class TestJpegSource(FileSourceTests):
    suffix = ".jpg"
    tolerance = 6

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 3)
        save(path, samples, quality=98, subsampling=0)
        return samples


class TestPngSource(FileSourceTests):
    suffix = ".png"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 4)
        save(path, samples)
        return samples


class TestWebpSource(FileSourceTests):
    suffix = ".webp"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 3)
        save(path, samples, lossless=True)
        return samples


class TestWebpAnimationSource(FileSourceTests):
    suffix = ".webp"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(4, 90, 77, 4)
        samples[..., 3] |= 1  # under what is quite transparent there is no colour
        save(path, samples, lossless=True, exact=True, duration=40)
        return samples


class TestGifSource(FileSourceTests):
    suffix = ".gif"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 1) // 32 * 32
        save(path, samples)
        return np.repeat(samples, 3, 3)


class TestGifAnimationSource(FileSourceTests):
    suffix = ".gif"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = waves(4, 90, 77, 1) // 32 * 32
        save(path, samples, duration=50)
        opaque = np.full_like(samples, 255)
        return np.concatenate([samples, samples, samples, opaque], 3)


class TestAvifSource(FileSourceTests):
    suffix = ".avif"
    tolerance = 8

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 3)
        save(path, samples, quality=95, subsampling="4:4:4")
        return samples


class TestTiffSource(FileSourceTests):
    suffix = ".tif"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 3, np.uint16, 65535)
        tifffile.imwrite(path, samples[0], photometric="rgb", compression="zlib", rowsperstrip=8)
        return samples


class TestFloatTiffSource(FileSourceTests):
    suffix = ".tif"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 90, 77, 1).astype(np.float32) / 7
        tifffile.imwrite(path, samples[0, :, :, 0], photometric="minisblack")
        return samples


class TestJpegSink(SinkTests):
    suffix = ".jpg"
    tolerance = 8
    refused = (ALPHA, OTHER, FRAMES, FLOATS, info_of(40, 70000, "grey"))

    def read(self, path: Path) -> Array:
        return frames_of(path)


class TestPngSink(SinkTests):
    suffix = ".png"
    refused = (CMYK, OTHER, FLOATS)

    def read(self, path: Path) -> Array:
        return frames_of(path)


class TestGreyAlphaPngSink(TestPngSink):
    info = info_of(40, 56, "grey", "alpha")


class TestWebpSink(SinkTests):
    suffix = ".webp"
    tolerance = 24  # half the resolution of colour
    refused = (CMYK, OTHER, FLOATS, info_of(40, 20000, "grey"))

    def read(self, path: Path) -> Array:
        return frames_of(path)


class TestWebpAnimationSink(TestWebpSink):
    info = info_of(40, 56, "red", "green", "blue", frames=4)


class TestGifSink(SinkTests):
    suffix = ".gif"
    tolerance = 40  # 256 colours
    refused = (CMYK, OTHER, FLOATS, info_of(40, 70000, "grey"))

    def read(self, path: Path) -> Array:
        with PIL.Image.open(path) as image:
            frames = [np.asarray(f.convert("RGB")) for f in PIL.ImageSequence.Iterator(image)]
        return np.stack(frames)


class TestGifAnimationSink(TestGifSink):
    info = info_of(40, 56, "red", "green", "blue", frames=4)


class TestAvifSink(SinkTests):
    suffix = ".avif"
    tolerance = 12
    refused = (CMYK, OTHER, FLOATS, info_of(40, 17000, "grey"))

    def read(self, path: Path) -> Array:
        return frames_of(path)


class TestTiffSink(SinkTests):
    suffix = ".tif"
    refused = (FRAMES,)

    def read(self, path: Path) -> Array:
        return tifffile.imread(path)[None]


class TestCmykTiffSink(TestTiffSink):
    info = CMYK


class TestDeepTiffSink(TestTiffSink):
    info = info_of(40, 56, "red", "green", "blue", dtype=np.uint16, high=65535)


class TestFloatTiffSink(TestTiffSink):
    info = info_of(40, 56, "red", "green", "blue", dtype=np.float32, high=7.5)
    tolerance = 1e-6


class TestPageSource(SourceTests):
    """The last of three pages, each of its own size and kind."""

    def made(self, folder: Path) -> tuple[Source, Array]:
        path, last = folder / "made.tif", waves(1, 44, 30, 3)
        with tifffile.TiffWriter(path) as file:
            file.write(waves(1, 20, 21, 1)[0, :, :, 0])
            file.write(waves(1, 9, 31, 1, np.uint16, 65535)[0, :, :, 0])
            file.write(last[0], photometric="rgb")
        pages = open_pages(path)
        assert [page.info.height for page in pages] == [20, 9, 44]
        return pages[2], last


class TestPagesSink(SinkTests):
    """Two pages that are alike, which tifffile shows as frames."""

    suffix = ".tif"
    info = info_of(40, 56, "red", "green", "blue", dtype=np.uint16, high=65535)
    refused = (FRAMES,)

    @property
    def samples(self) -> Array:
        return waves(2, 40, 56, 3, np.uint16, 65535)

    def sink(self, target: Path) -> Sink:
        return create_sink(target, pages=2)

    def fill(self, sink: Sink, rows: int = 1000, columns: int = 1000) -> None:
        for number, page in enumerate(self.samples):
            if number:
                self.begun(sink)
            for top, left, block in windows(page, rows, columns):
                sink.write(0, top, left, (block / 65535).astype(np.float32))

    def read(self, path: Path) -> Array:
        return tifffile.imread(path)
