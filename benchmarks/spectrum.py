"""Measures how sharp pictures are, by the fall of their spectra, for docs/mixture.md.

    python benchmarks/spectrum.py --present PRESENT --pool POOL --inputs INPUTS

``PRESENT`` is ``../shared/data/train``, ``POOL`` what ``../shared/tools/build_pool.py`` wrote, and
``INPUTS`` ``../shared/data/inputs/photo``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camera import CAMERAS, SIDE, crops
from measuring import table
from mixture import fill
from upres.evaluation.datasets import Rgb8
from upres.formats.archives import read_tar
from upres.formats.image.vips import read_rgb8
from upres.raster.metrics import studio_luma
from upres.raster.resize import bicubic

SLOPE_BAND = (0.03, 0.25)
"""Cycles a pixel: below, a picture has too few waves; above, filters and noise rule."""
MIDDLE = (0.125, 0.25)
FINE = (0.375, 0.5)
"""What is lost by halving the size; 0.5 is Nyquist's frequency."""
MOST = 300
"""Pictures for a row, spread evenly over the source."""
RANKS = tuple(np.linspace(0, 0.25, 16))
"""Of a camera photograph's squares, as the packs' crops were chosen for their detail, too."""


class Fall(NamedTuple):
    """How a picture's power falls with frequency."""

    slope: float
    """Of log power over log frequency, where -2 is the fall of natural scenes."""
    fine: float
    """Power density in ``FINE`` over that in ``MIDDLE``, in decibels."""


def spectrum(image: Rgb8) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequency in cycles a pixel and power of every wave of the luma, without the mean.

    A Hann window takes the picture's edges away, which would be waves of their own.
    """
    grey = studio_luma(image)
    window = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])
    mean = (grey * window).sum() / window.sum()
    power = np.abs(np.fft.rfft2((grey - mean) * window)) ** 2
    down = np.fft.fftfreq(grey.shape[0])[:, None]
    return np.hypot(down, np.fft.rfftfreq(grey.shape[1])), power


def fall(image: Rgb8) -> Fall:
    """By means over all directions: for the slope, of sixteen rings."""
    frequency, power = spectrum(image)

    def density(low: float, high: float) -> float:
        return float(power[(frequency >= low) & (frequency < high)].mean())

    edges = np.geomspace(*SLOPE_BAND, 17)
    rings = [density(low, high) for low, high in pairwise(edges)]
    centres = np.sqrt(edges[:-1] * edges[1:])
    slope = float(np.polyfit(np.log(centres), np.log(np.array(rings) + 1e-9), 1)[0])
    ratio = (density(*FINE) + 1e-9) / (density(*MIDDLE) + 1e-9)
    return Fall(slope, 10 * float(np.log10(ratio)))


def row(name: str, images: Iterable[Rgb8]) -> list[str]:
    """Medians and quartiles over ``images``."""
    falls = np.array([fall(image) for image in images])
    low, middle, high = np.percentile(falls, [25, 50, 75], axis=0)
    cells = [
        f"{middle[i]:.{digits}f} ({low[i]:.{digits}f} to {high[i]:.{digits}f})"
        for i, digits in ((0, 2), (1, 1))
    ]
    return [name, str(len(falls)), *cells]


def shrunk(images: Iterable[Rgb8], factor: float) -> Iterator[Rgb8]:
    for image in images:
        yield bicubic(image, scale=factor)


def from_tars(paths: Iterable[Path], wanted: Callable[[str], bool]) -> Iterator[Rgb8]:
    """At most ``MOST`` of the pictures whose names are ``wanted``."""
    files = [(name, data) for path in paths for name, data in read_tar(path) if wanted(name)]
    for name, data in islice(files, 0, None, max(1, len(files) // MOST)):
        yield read_rgb8(data, name=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("present", "pool", "inputs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    present = sorted(arguments.present.glob("train-*.tar"))
    pool = sorted(arguments.pool.glob("train-*.tar"))
    with (arguments.pool / "SOURCES.csv").open(encoding="utf-8", newline="") as file:
        unshrunk = {entry["crop"] for entry in csv.DictReader(file) if entry["shrink"] == "1"}
    photographs = [read_rgb8(arguments.inputs / name) for name in CAMERAS]

    def squares(factor: float | None) -> Iterator[Rgb8]:
        for image in photographs if factor is None else shrunk(photographs, factor):
            yield from crops(image, SIDE, RANKS)

    packs: dict[str, Callable[[], Iterator[Rgb8]]] = {
        "present pack": lambda: from_tars(present, lambda _: True),
        "pool": lambda: from_tars(pool, lambda _: True),
        "pool, pictures never shrunk": lambda: from_tars(pool, unshrunk.__contains__),
        "pool, shrunk pictures": lambda: from_tars(pool, lambda name: name not in unshrunk),
    }
    rows = [row(name, images()) for name, images in packs.items()]
    for factor in (0.8, 0.75, 0.5):
        for name in ("present pack", "pool"):
            rows.append(row(f"{name} x {factor}", shrunk(packs[name](), factor)))
    rows.append(row("camera photographs", squares(None)))
    for factor in (0.75, 0.5):
        rows.append(row(f"camera photographs x {factor}", squares(factor)))
    fill("sharpness", table(["pictures", "number", "slope", "fine over middle, dB"], rows))


if __name__ == "__main__":
    main()
