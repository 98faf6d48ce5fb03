"""The contract of sources and sinks, for the formats that upres reads and writes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from contract import Array, FileSourceTests, SinkTests, info_of, waves

CMYK = info_of(40, 56, "ink", "ink", "ink", "ink")
ALPHA = info_of(40, 56, "red", "green", "blue", "alpha")
OTHER = info_of(40, 56, "red", "green", "blue", "other")
FRAMES = info_of(40, 56, "red", "green", "blue", frames=3)


def by_pillow(path: Path) -> Array:
    with PIL.Image.open(path) as image:
        pixels = np.asarray(image)
    return (pixels if pixels.ndim == 3 else pixels[:, :, None])[None]


class TestBmpSource(FileSourceTests):
    suffix = ".bmp"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 60, 70, 3)
        PIL.Image.fromarray(samples[0]).save(path)
        return samples


class TestBmpSink(SinkTests):
    suffix = ".bmp"
    refused = (CMYK, OTHER, FRAMES)

    def read(self, path: Path) -> Array:
        return by_pillow(path)


class TestAlphaBmpSink(TestBmpSink):
    info = ALPHA


class TestPpmSource(FileSourceTests):
    suffix = ".ppm"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 60, 70, 3)
        PIL.Image.fromarray(samples[0]).save(path)
        return samples


class TestPpmSink(SinkTests):
    suffix = ".ppm"
    refused = (ALPHA, CMYK, OTHER, FRAMES)

    def read(self, path: Path) -> Array:
        return by_pillow(path)


class TestPgmSink(TestPpmSink):
    suffix = ".pgm"
    info = info_of(40, 56, "grey")
    refused = (ALPHA, TestPpmSink.info)


class TestPamSink(SinkTests):
    suffix = ".pam"
    info = info_of(40, 56, "red", "green", "blue", "alpha", dtype=np.uint16, high=1000)
    refused = (FRAMES,)

    def read(self, path: Path) -> Array:
        head, _, samples = path.read_bytes().partition(b"ENDHDR\n")
        assert b"MAXVAL 1000\n" in head
        return np.frombuffer(samples, ">u2").reshape(1, 40, 56, 4).astype(np.uint16)


class TestPfmSource(FileSourceTests):
    suffix = ".pfm"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 60, 70, 3, np.float32, 900)
        path.write_bytes(b"PF\n70 60\n-1.0\n" + samples[0, ::-1].tobytes())
        return samples


class Linear(SinkTests):
    """Sinks that make light of samples that are gamma-encoded."""

    info = info_of(40, 56, "red", "green", "blue", dtype=np.float32, high=1)
    refused = (CMYK, FRAMES)
    tolerance = 1e-6

    @property
    def samples(self) -> Array:
        return waves(1, 40, 56, 3, np.float32, 255) / np.float32(255)

    def light(self, path: Path) -> Array:
        """A result's samples by another library."""
        raise NotImplementedError

    def read(self, path: Path) -> Array:
        light = self.light(path)
        encoded = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, light * 12.92)
        return encoded[None].astype(np.float32)


class TestPfmSink(Linear):
    suffix = ".pfm"

    def light(self, path: Path) -> Array:
        head, samples = path.read_bytes().split(b"\n-1.0\n", 1)
        assert head == b"PF\n56 40"
        return np.frombuffer(samples, "<f4").reshape(40, 56, 3)[::-1].astype(float)


class TestHdrSink(Linear):
    suffix = ".hdr"
    tolerance = 0.02  # of bytes with one exponent for the three, of which the darkest has least

    def light(self, path: Path) -> Array:
        rows = path.read_bytes().split(b"-Y 40 +X 56\n", 1)[1]
        pixels, at = [], 0
        for _ in range(40):
            assert rows[at : at + 4] == b"\2\2\0\x38"
            at, row = at + 4, bytearray()
            while len(row) < 4 * 56:
                count = rows[at]
                plain = rows[at + 1 : at + 1 + count]
                row += plain if count <= 128 else rows[at + 1 : at + 2] * (count - 128)
                at += 1 + (count if count <= 128 else 1)
            pixels.append(np.frombuffer(bytes(row), np.uint8).reshape(4, 56).T)
        mantissa, exponent = np.split(np.array(pixels, float), [3], axis=2)
        light: Array = mantissa * 2 ** (exponent - 136)
        return light


class TestExrSource(FileSourceTests):
    suffix = ".exr"

    def stored(self, path: Path) -> Array:
        exr = pytest.importorskip("OpenEXR")
        samples = waves(1, 60, 70, 3, np.float32, 900)
        planes = {n: np.ascontiguousarray(samples[0, :, :, i]) for i, n in enumerate("RGB")}
        exr.File({}, planes).write(str(path))
        return samples


class TestExrSink(Linear):
    suffix = ".exr"

    def light(self, path: Path) -> Array:
        exr: Any = pytest.importorskip("OpenEXR")
        with exr.File(str(path), separate_channels=True) as file:
            planes = [file.channels()[name].pixels for name in "RGB"]
            return np.stack(planes, 2).astype(float)
