"""Measures the flicker of a video that is enlarged, with and without ``--steady``.

Twelve frames of two real clips, and one frame twelve times, get noise, and are enlarged by `fast`
x2 in int8. Writes the result as Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from measuring import machine, table
from upres.evaluation.benchmark import enlarge_rgb8
from upres.evaluation.video import STILL
from upres.formats.video.settings import VideoSettings
from upres.formats.video.source import VideoSource
from upres.models import DEFAULT_MODEL, open_model
from upres.raster.metrics import psnr, studio_luma
from upres.raster.resize import bicubic

FRAMES, SCALE = 12, 2

HEADER = [
    "clip, noise (standard deviation in levels)",
    "flicker / bicubic's",
    "with `--steady`",
    "PSNR",
    "with `--steady`",
]

Rgb8 = NDArray[np.uint8]
Luma = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=Path, default=Path("../shared/data/inputs/video"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("STEADY.md"))
    arguments = parser.parse_args()
    clips = {
        name: list(itertools.islice(frames(arguments.inputs / file), FRAMES))
        for name, file in (("bikes", "bikes.mp4"), ("carphone", "carphone_pristine.mp4"))
    }
    clips = {"still": [clips["bikes"][0]] * FRAMES, **clips}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for (name, clean), noise in itertools.product(clips.items(), (0, 2, 8)):
            if name != "still" or noise:  # or nothing flickers at all
                rows.append([f"{name}, {noise}", *measured(clean, noise, Path(folder))])
                print(rows[-1])
    text = f"""# Flicker of videos

Written by `benchmarks/steady.py`.

{machine()}

{FRAMES} frames of two real clips, and of one frame that stands still, with Gaussian noise added \
in RGB (seed 0), enlarged with {DEFAULT_MODEL} x{SCALE} in int8. Flicker is the mean change of \
luma between two frames where the clean clip's result changes by {STILL:g} level at most, divided \
by that of bicubic of the same frames. PSNR is that of luma against the clean clip's result, \
without `--steady`, of all frames together.

{table(HEADER, rows)}
"""
    arguments.output.write_text(text, "utf-8")


def frames(path: Path, settings: VideoSettings | None = None) -> Iterator[Rgb8]:
    """A video's frames."""
    for frame in VideoSource(path, settings or VideoSettings()).frames(path):
        yield np.floor(np.concatenate(list(frame)) * 255 + 0.5).astype(np.uint8)


def measured(clean: Sequence[Rgb8], noise: float, folder: Path) -> list[str]:
    """A row's figures: flicker over bicubic's, and PSNR, each without and with ``--steady``."""
    draw = np.random.default_rng(0)
    noisy = [np.round(f + draw.normal(0, noise, f.shape)).clip(0, 255).astype("u1") for f in clean]
    path = folder / "noisy.mkv"
    write(path, noisy)
    model = open_model(f"{DEFAULT_MODEL}-int8", scale=SCALE)

    def enlarged(given: Sequence[Rgb8]) -> list[Luma]:
        return [luma(enlarge_rgb8(frame, model)) for frame in given]

    truth = enlarged(clean)
    still = [np.abs(b - a) <= STILL for a, b in itertools.pairwise(truth)]
    usual = flicker([luma(bicubic(frame, scale=SCALE)) for frame in noisy], still)
    results = [
        enlarged(list(frames(path, VideoSettings(steady=steady)))) for steady in (False, True)
    ]
    return [
        *(f"{flicker(result, still) / usual:.2f}" for result in results),
        *(decibels(result, truth) for result in results),
    ]


def write(path: Path, pictures: Sequence[Rgb8]) -> None:
    """A video of these frames, without loss."""
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=width, height=height)
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def luma(picture: Rgb8) -> Luma:
    return np.round(studio_luma(picture))


def flicker(result: Sequence[Luma], still: Sequence[NDArray[np.bool_]]) -> float:
    """Mean change where the clean clip stands still, in grey levels."""
    changes = [
        np.abs(b - a)[place]
        for (a, b), place in zip(itertools.pairwise(result), still, strict=True)
    ]
    return float(np.concatenate(changes).mean())


def decibels(result: Sequence[Luma], truth: Sequence[Luma]) -> str:
    """PSNR of all frames together, or a dash where they are equal."""
    whole, clean = np.concatenate(result), np.concatenate(truth)
    return "-" if np.array_equal(whole, clean) else f"{psnr(whole, clean):.1f}"


if __name__ == "__main__":
    main()
