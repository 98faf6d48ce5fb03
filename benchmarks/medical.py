"""Measures enlarged scans against cubic interpolation, and writes the result as Markdown.

`docs/medical.md` goes by it. The scans lie in `../shared/data/inputs/medical`. With `--picture` it
draws that page's picture instead, of a phantom.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pydicom
from numpy.typing import NDArray

import upres
from measuring import machine, table
from upres.raster.resize import apply_taps, bicubic_taps

Volume = NDArray[np.floating[Any]]

SCALE = 2
MODELS = ("fast", "balanced")

SLICES = ("693_UNCR.dcm", "CT_small.dcm", "MR_small.dcm")
VOLUMES = ("example4d.nii.gz", "someones_anatomy.nii.gz")

# x, y, z, half axes and turn of the ellipsoids, and how much each adds. Source: A. C. Kak and M.
# Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press 1988, table 3.1, with the
# contrasts of P. Toft's thesis (1996).
ELLIPSOIDS = (
    (0.0, 0.0, 0.0, 0.69, 0.92, 0.9, 0, 1.0),
    (0.0, 0.0, 0.0, 0.6624, 0.874, 0.88, 0, -0.8),
    (-0.22, 0.0, -0.25, 0.41, 0.16, 0.21, 108, -0.2),
    (0.22, 0.0, -0.25, 0.31, 0.11, 0.22, 72, -0.2),
    (0.0, 0.35, -0.25, 0.21, 0.25, 0.5, 0, 0.1),
    (0.0, 0.1, -0.25, 0.046, 0.046, 0.046, 0, 0.1),
    (-0.08, -0.65, -0.25, 0.046, 0.023, 0.02, 0, 0.1),
    (0.06, -0.65, -0.25, 0.046, 0.023, 0.02, 90, 0.1),
    (0.06, -0.105, 0.625, 0.56, 0.04, 0.1, 90, 0.1),
    (0.0, 0.1, 0.625, 0.056, 0.056, 0.1, 0, 0.1),
)


def reduced(volume: Volume, factors: Sequence[int]) -> Volume:
    """The means of blocks of samples: how a scanner with larger voxels would see it, about."""
    cut = volume[tuple(slice(n // f * f) for n, f in zip(volume.shape, factors, strict=True))]
    for axis, factor in enumerate(factors):
        shape = (*cut.shape[:axis], cut.shape[axis] // factor, factor, *cut.shape[axis + 1 :])
        cut = cut.reshape(shape).mean(axis + 1)
    return cut


def cubic(volume: Volume, factors: Sequence[int]) -> Volume:
    """Enlarged by cubic convolution (Keys, 1981), along one axis after another."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            length = volume.shape[axis]
            turned = np.ascontiguousarray(np.moveaxis(volume, axis, 2))
            taps = bicubic_taps(length, length * factor)
            volume = np.moveaxis(apply_taps(turned, 2, *taps), 2, axis)
    return volume


def psnr(made: Volume, truth: Volume) -> float:
    """In dB, by the range of the truth; the outermost samples are left out."""
    inner = tuple(slice(SCALE, n - SCALE) if n > 4 * SCALE else slice(None) for n in truth.shape)
    error = np.square(made[inner].astype(float) - truth[inner]).mean()
    return float(10 * np.log10(float(np.ptp(truth)) ** 2 / error))


def by_upres(volume: Volume, model: str, folder: Path, **options: Any) -> Volume:
    """Enlarged as a NIfTI file of 16 bits."""
    source, target = folder / "in.nii", folder / "out.nii"
    nibabel.save(nibabel.Nifti1Image(np.rint(volume).astype(np.int16), np.eye(4)), source)
    upres.enlarge_file(source, target, scale=SCALE, model=model, existing="replace", **options)
    return np.asarray(nibabel.load(target).dataobj.get_unscaled())


def volumes(folder: Path) -> dict[str, Volume]:
    """The scans, as whole numbers of 12 bits or more."""
    found = {}
    for name in SLICES:
        found[name] = pydicom.dcmread(folder / name).pixel_array[:, :, None].astype(float)
    for name in VOLUMES:
        samples = np.asarray(nibabel.load(folder / name).dataobj.get_unscaled()).astype(float)
        samples = samples[..., 0] if samples.ndim == 4 else samples
        found[name] = samples * (16 if samples.max() < 256 else 1)
    return found


def measured(scans: dict[str, Volume], folder: Path) -> tuple[str, str]:
    """Two tables: in plane, and between slices, too."""
    head = ["scan", "samples", "cubic", *(f"{m} ({k})" for m in MODELS for k in ("raw", "means"))]
    plane, between = [], []
    for name, truth in scans.items():
        small = reduced(truth, (SCALE, SCALE, 1))
        size = " x ".join(map(str, small.shape))
        cut = truth[: small.shape[0] * SCALE, : small.shape[1] * SCALE]
        cells = [f"{psnr(cubic(small, (SCALE, SCALE, 1)), cut):.2f}"]
        for model in MODELS:
            for kept in (False, None):
                made = by_upres(small, model, folder, consistent=kept)
                cells.append(f"{psnr(made, cut):.2f}")
        plane.append([name, size, *cells])
    for name, truth in scans.items():
        if truth.shape[2] < 8:
            continue
        small = reduced(truth, (SCALE,) * 3)
        cut = truth[tuple(slice(n * SCALE) for n in small.shape)]
        size = " x ".join(map(str, small.shape))
        half = cubic(small, (1, 1, SCALE))
        cells = [f"{psnr(cubic(small, (SCALE,) * 3), cut):.2f}"]
        for model in MODELS:
            cells.append(f"{psnr(by_upres(half, model, folder), cut):.2f}")
            made = by_upres(small, model, folder, through_plane=True)
            cells.append(f"{psnr(made, cut):.2f}")
        between.append([name, size, *cells])
    deep = ["scan", "samples", "cubic"]
    deep += [f"{m} ({k})" for m in MODELS for k in ("cubic between", "through plane")]
    return table(head, plane), table(deep, between)


def page(scans: dict[str, Volume], folder: Path) -> str:
    plane, between = measured(scans, folder)
    return f"""# Scans against cubic interpolation

Written by `benchmarks/medical.py`.

{machine()}

**Protocol.** A scan's samples are averaged in blocks, as a scanner with larger voxels would see
them, about, and rounded to 16 bits. The small scan is enlarged {SCALE} times, and compared with
the scan: PSNR in dB, by the scan's own range of values, without {SCALE} samples at each border.
Cubic is Keys' convolution (a = -1/2), along each axis. Of a volume in time, the first is taken.
Samples of 8 bits are taken times 16.

## In plane

*Raw* is without the means (`--no-consistent`), *means* with them, which is the default.

{plane}

## Between slices

Blocks are {SCALE} x {SCALE} x {SCALE}. *Cubic between* is the network in plane and cubic
between slices, *through plane* is `--through-plane`.

{between}
"""


def phantom(size: int) -> Volume:
    """The head phantom of Shepp and Logan: x, y, z, from 0 to 1."""
    fine = 2 * size
    x, y, z = np.ogrid[-1 : 1 : fine * 1j, -1 : 1 : fine * 1j, -1 : 1 : fine * 1j]
    total = np.zeros((fine,) * 3, np.float32)
    for cx, cy, cz, a, b, c, turn, adds in ELLIPSOIDS:
        angle = np.radians(turn)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        total += np.float32(adds) * ((u / a) ** 2 + (v / b) ** 2 + ((z - cz) / c) ** 2 <= 1)
    return reduced(total, (2, 2, 2))


def picture(path: Path, folder: Path) -> None:
    """Draw the page's picture: a slice of a phantom, and a section across its slices."""
    truth = np.clip(phantom(128), 0, 0.4) * 2500
    small = reduced(truth, (SCALE,) * 3)
    made = by_upres(small, "fast", folder, through_plane=True)
    large = cubic(small, (SCALE,) * 3)
    repeated = small.repeat(SCALE, 0).repeat(SCALE, 1).repeat(SCALE, 2)
    names = ("input", "bicubic", "upres", "truth")
    rows = []
    for section in (lambda v: v[20:108, :64, 48].T, lambda v: v[20:108, 50, 32:96].T):
        parts = []
        for volume in (repeated, large, made, truth):
            part = np.clip(section(volume) / 1000, 0, 1)[::-1]
            parts.append(np.kron(np.rint(part * 255), np.ones((3, 3))))
        rows.append(np.concatenate(parts, axis=1))
    blank = np.zeros((18, rows[0].shape[1]))
    canvas = PIL.Image.fromarray(np.concatenate([blank, *rows]).astype(np.uint8))
    draw = PIL.ImageDraw.Draw(canvas)
    for number, name in enumerate(names):
        draw.text((number * canvas.width // 4 + 6, 4), name, fill=255)
    canvas.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).parents[1]
    data = root.parent / "shared" / "data" / "inputs" / "medical"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--output", type=Path, default=root / "benchmarks" / "MEDICAL.md")
    parser.add_argument("--picture", action="store_true", help="draw docs/medical.png instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.picture:
            picture(root / "docs" / "medical.png", Path(name))
        else:
            options.output.write_text(page(volumes(options.data), Path(name)), "utf-8")


if __name__ == "__main__":
    main()
