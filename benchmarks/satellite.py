"""Measures results on satellite pictures and heights, and writes the result as Markdown.

`docs/satellite.md` goes by it. The files lie in `../shared/data/inputs/geotiff`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import onnx
import pyvips
import rasterio
from numpy.typing import NDArray
from onnx import numpy_helper

import upres
from measuring import Item, machine, measure, peak_memory, ratios, spread, table
from upres.card import CARD_KEY
from upres.enlarging.api import enlarge_array
from upres.enlarging.options import Options
from upres.models import open_model
from upres.raster.arrays import ArraySource
from upres.raster.pixels import LUMA
from upres.raster.resize import bicubic

Samples = NDArray[np.float64]
"""Bands x height x width."""

LANDSAT, SENTINEL, DEM = "L7_ETMs.tif", "sent2_L2A_2024-08-24.tif", "olinda_dem_utm25s.tif"
NEAR_INFRARED = {LANDSAT: (3, 2), SENTINEL: (3, 2)}
"""The bands of near infrared and red, from 0."""
BORDER = 4
"""Of the reference, left out on each side."""
SIDE = 10_980
"""Of a Sentinel-2 tile of 10 m."""


def read(path: Path) -> Samples:
    with rasterio.open(path) as file:
        samples: Samples = file.read().astype(np.float64)
    return samples


def by_bicubic(samples: Samples) -> Samples:
    _, height, width = samples.shape
    return np.stack([bicubic(band, size=(height // 2, width // 2)) for band in samples])


def by_mean(samples: Samples) -> Samples:
    count, height, width = samples.shape
    return samples.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))


def in_type(samples: Samples, dtype: Any) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return samples.astype(dtype)
    return np.clip(
        np.round(samples), *(getattr(np.iinfo(dtype), n) for n in ("min", "max"))
    ).astype(dtype)


def reduced(path: Path, target: Path, reduce: Callable[[Samples], Samples]) -> Samples:
    """Write the file at half the resolution; return the reference, its sides even."""
    with rasterio.open(path) as file:
        profile, whole = file.profile, file.read().astype(np.float64)
    _, height, width = whole.shape
    whole = whole[:, : height // 2 * 2, : width // 2 * 2]
    small = in_type(reduce(whole), profile["dtype"])
    kept = {name: profile[name] for name in ("driver", "dtype", "count", "crs", "nodata")}
    transform = profile["transform"] @ rasterio.Affine.scale(2)
    sides = {"height": small.shape[1], "width": small.shape[2], "transform": transform}
    with rasterio.open(target, "w", **kept, **sides) as file:
        file.write(small)
    return whole


def inner(samples: Samples) -> Samples:
    return samples[:, BORDER:-BORDER, BORDER:-BORDER]


def known(reference: Samples, result: Samples) -> tuple[Samples, Samples]:
    """The pixels, bands x pixels, that count and are there in both."""
    pair = inner(reference).reshape(len(reference), -1), inner(result).reshape(len(result), -1)
    there = np.isfinite(pair[0]).all(0) & np.isfinite(pair[1]).all(0)
    return pair[0][:, there], pair[1][:, there]


def rmse(reference: Samples, result: Samples) -> list[float]:
    one, other = known(reference, result)
    return [float(value) for value in np.sqrt(np.square(one - other).mean(1))]


def psnr(reference: Samples, result: Samples, peak: float) -> list[float]:
    return [20 * float(np.log10(peak / error)) for error in rmse(reference, result)]


def spectral_angle(reference: Samples, result: Samples) -> float:
    """The mean angle between the spectra of a pixel, in degrees (Kruse and others, 1993).

    The distance "sad" of opensr-test 1.3.3, pixel by pixel, is the same to five digits.
    """
    one, other = known(reference, result)
    lengths = np.sqrt(np.square(one).sum(0) * np.square(other).sum(0))
    cosines = np.clip((one * other).sum(0) / np.where(lengths, lengths, 1), -1, 1)
    return float(np.degrees(np.arccos(cosines)).mean())


def ndvi_error(reference: Samples, result: Samples, bands: tuple[int, int]) -> float:
    """The mean difference of (near infrared - red) / (near infrared + red)."""
    one, other = (
        (each[bands[0]] - each[bands[1]]) / np.maximum(each[bands[0]] + each[bands[1]], 1e-9)
        for each in known(reference, result)
    )
    return float(np.abs(one - other).mean())


def triples(small: NDArray[Any], model: upres.Model) -> NDArray[Any]:
    """Six bands as two RGB pictures, for comparison."""
    parts = [
        upres.enlarge(np.ascontiguousarray(np.moveaxis(small[at : at + 3], 0, 2)), model=model)
        for at in (0, 3)
    ]
    return np.moveaxis(np.concatenate(parts, axis=2), 2, 0)


def results(small: Path, folder: Path, model: upres.Model) -> dict[str, Samples]:
    """By way, the result of a file that is half as large as its reference."""
    with rasterio.open(small) as file:
        given = file.read()
    size = (2 * given.shape[1], 2 * given.shape[2])
    smooth = np.stack([bicubic(band.astype(np.float64), size=size) for band in given])
    found = {"bicubic": in_type(smooth, given.dtype).astype(np.float64)}
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("upres", {}),
        ("upres, means kept", {"keep_means": True}),
        ("upres, not made to agree", {"consistent": False}),
    )
    for name, options in ways:
        upres.enlarge_file(small, folder / "large.tif", model=model, existing="replace", **options)
        found[name] = read(folder / "large.tif")
    if len(given) == 6:
        found["upres, three bands as RGB"] = triples(given, model).astype(np.float64)
    return found


def spectral_rows(
    path: Path, folder: Path, reduce: Callable[[Samples], Samples], model: upres.Model
):
    reference = reduced(path, folder / "small.tif", reduce)
    with rasterio.open(path) as file:
        peak = 255.0 if file.dtypes[0] == "uint8" else float(np.nanmax(reference))
    for name, result in results(folder / "small.tif", folder, model).items():
        each = psnr(reference, result, peak)
        yield [
            name,
            *(f"{value:.2f}" for value in each),
            f"{fmean(each):.2f}",
            f"{spectral_angle(reference, result):.2f}",
            f"{ndvi_error(reference, result, NEAR_INFRARED[path.name]):.4f}",
        ]


def height_rows(
    path: Path, folder: Path, reduce: Callable[[Samples], Samples], model: upres.Model
) -> Iterator[list[str]]:
    reference = reduced(path, folder / "small.tif", reduce)
    for name, result in results(folder / "small.tif", folder, model).items():
        yield [name, f"{rmse(reference, result)[0]:.2f}"]


def disagreement(path: Path, folder: Path, model: upres.Model) -> list[str]:
    """How far a result, reduced again, is from its input at most, before and after rounding."""
    with rasterio.open(path) as file:
        profile, given = file.profile, file.read()
    cells = [path.name]
    for dtype in ("float32", profile["dtype"]):
        names = ("driver", "count", "height", "width", "crs", "transform")
        kept = {name: profile[name] for name in names}
        with rasterio.open(folder / "given.tif", "w", dtype=dtype, **kept) as file:
            file.write(given.astype(dtype))
        upres.enlarge_file(
            folder / "given.tif", folder / "large.tif", scale=2, model=model, existing="replace"
        )
        back = by_bicubic(read(folder / "large.tif"))
        differences = np.abs(back - given)
        cells.append(f"{np.nanmax(differences):.4f}")
    cells.append(f"{np.nanpercentile(differences, 99):.4f}")
    return cells


def folded(model: upres.Model, target: Path) -> upres.Model:
    """The network for one channel that a shipped one is, where all three of its inputs are alike.

    The weights of the first layer are added up, and those of the last one weighted by luma.
    """
    graph = onnx.load(model.path)
    for tensor in graph.graph.initializer:
        name, values = tensor.name.removesuffix(".half"), numpy_helper.to_array(tensor)
        wide = values.astype(np.float32)
        if name == "head.weight":
            wide = wide.sum(1, keepdims=True)
        elif name in ("tail.weight", "tail.bias"):
            phases = wide.reshape(3, -1, *wide.shape[1:])
            wide = np.tensordot(LUMA, phases, 1)
        elif name == "repeat":
            wide = np.ones((wide.shape[0] // 3, 1, *wide.shape[2:]), np.float32)
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(wide.astype(values.dtype), tensor.name))
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = 1
    del graph.graph.value_info[:]
    for entry in graph.metadata_props:
        if entry.key == CARD_KEY:
            entry.value = json.dumps(json.loads(entry.value) | {"channels": 1})
    onnx.save(graph, target)
    return open_model(target)


def single_channel_rows(path: Path, folder: Path, rounds: int) -> list[list[str]]:
    """The gain of networks of one channel: the same result, and the time of six bands."""
    given = np.moveaxis(read(path), 0, 2).astype(np.uint8)
    source = ArraySource(given, bands=["other"] * given.shape[2])
    rows = []
    for name in ("fast", "fast-int8"):
        model = open_model(name, scale=2)
        narrow = folded(model, folder / f"{name}.onnx")
        made = [enlarge_array(source, Options(model=each)).astype(int) for each in (model, narrow)]
        seconds = measure(
            {
                number: Item(lambda each=each: enlarge_array(source, Options(model=each)))
                for number, each in enumerate((model, narrow))
            },
            rounds,
        )
        difference = int(np.abs(made[0] - made[1]).max())
        rows.append([f"{name} x2", spread(ratios(seconds[0], seconds[1])), str(difference)])
    return rows


def write_tile(path: Path, side: int) -> None:
    """Four bands of 16 bits in tiles, smooth, with no data in places."""
    seed = np.random.default_rng(0).integers(100, 4000, (4, 64, 64)).astype(np.float64)
    tile = np.stack([bicubic(band, size=(512, 512)) for band in seed]).astype(np.uint16)
    tile[:, :64, :64] = 0
    row = np.tile(tile, (1, 1, side // 512 + 1))[:, :, :side]
    profile = {"height": side, "width": side, "count": 4, "dtype": "uint16", "nodata": 0}
    stored = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000)
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, **profile, **stored
    ) as file:
        for top in range(0, side, 512):
            rows = min(512, side - top)
            window = rasterio.windows.Window(0, top, side, rows)
            file.write(row[:, :rows], window=window)


def memory_row(folder: Path, side: int) -> list[str]:
    """Of the command, its result included, which is four times as large."""
    write_tile(folder / "tile.tif", side)
    command = [sys.executable, "-m", "upres", "enlarge", "tile.tif", "--scale", "2", "--quiet"]
    command += ["--force", "--max-pixels", str(4 * side * side), "--output", "large.tif"]
    used = peak_memory(command, folder)
    return [f"{side:,} x {side:,} x 4, uint16", f"{used:.0f}"]


def draw(path: Path, folder: Path, target: Path, model: upres.Model) -> None:
    """A part of a picture in false colours: the small one, bicubic, upres and the reference."""
    reference = reduced(path, folder / "small.tif", by_bicubic)
    found = results(folder / "small.tif", folder, model)
    small = read(folder / "small.tif").repeat(2, 1).repeat(2, 2)
    tiles = []
    for samples in (small, found["bicubic"], found["upres"], reference):
        part = samples[[3, 2, 1], 40:220, 100:280]
        low, high = (np.percentile(reference[[3, 2, 1]], p, axis=(1, 2)) for p in (1, 99))
        shown = (part - low[:, None, None]) / (high - low)[:, None, None]
        tiles += [np.moveaxis(np.clip(shown, 0, 1), 0, 2), np.ones((180, 4, 3))]
    row = np.concatenate(tiles[:-1], axis=1)
    picture = np.round(row * 255).astype(np.uint8)
    pyvips.Image.new_from_array(picture).copy(interpretation="srgb").write_to_file(str(target))


def block(title: str, text: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{text}\n\n{table(head, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/inputs/geotiff"))
    parser.add_argument("--model", default="fast")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=SIDE, help="of the picture for memory; 0: none")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("SATELLITE.md"))
    parser.add_argument("--picture", type=Path, help="draw this instead, as docs/satellite.png")
    arguments = parser.parse_args()
    if arguments.picture:
        with tempfile.TemporaryDirectory() as name:
            model = open_model(arguments.model, scale=2)
            draw(arguments.data / LANDSAT, Path(name), arguments.picture, model)
        return
    about, data = machine(), arguments.data
    model = open_model(arguments.model, scale=2)
    blocks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for how, reduce in (("MATLAB's bicubic", by_bicubic), ("the mean of 2 x 2", by_mean)):
            for title, path, bands in (
                ("Landsat 7", data / LANDSAT, ("1", "2", "3", "4", "5", "7")),
                ("Sentinel-2", data / SENTINEL, ("B02", "B03", "B04", "B08")),
            ):
                head = [title, *bands, "mean", "spectral angle", "NDVI error"]
                rows = list(spectral_rows(path, folder, reduce, model))
                text = "PSNR in dB by band, the mean angle in degrees, the mean error of NDVI."
                blocks.append(block(f"{title}, reduced by {how}", text, head, rows))
                print(blocks[-1], flush=True)
            rows = list(height_rows(data / DEM, folder, reduce, model))
            blocks.append(block(f"Heights, reduced by {how}", "RMSE.", ["DEM", "m"], rows))
            print(blocks[-1], flush=True)
        again = [disagreement(data / each, folder, model) for each in (LANDSAT, SENTINEL, DEM)]
        blocks.append(
            block(
                "Reduced again",
                "The largest difference of a result, reduced by MATLAB's bicubic, from its input, "
                "in counts: of float32, which is not rounded, and in the file's own type. Whole "
                "numbers differ by rounding, and more where values would lie beyond the range of "
                "the type.",
                ["file", "float32", "own type", "own type, 99 of 100 samples"],
                again,
            )
        )
        print(blocks[-1], flush=True)
        blocks.append(
            block(
                "A network of one channel",
                "How many times faster six bands are by the same network with its three equal "
                "inputs folded into one and its outputs into luma, and by how many counts the "
                "results differ at most. Less than twice: none is shipped.",
                ["model", "times", "counts"],
                single_channel_rows(data / LANDSAT, folder, arguments.rounds),
            )
        )
        print(blocks[-1], flush=True)
        if arguments.side:
            text = "The largest resident set of `upres enlarge --scale 2`, in MiB."
            row = memory_row(folder, arguments.side)
            blocks.append(block("Memory", text, ["picture", "MiB"], [row]))
    text = f"""# Satellite pictures and heights

Written by `benchmarks/satellite.py`.

{about}

Protocol: a file's samples are the reference. They are halved in width and height, each band by \
itself, and rounded to the file's type (whole numbers only); the file that is made of them is \
enlarged twice by {model.label}, as `upres enlarge --scale 2` does it, and compared with the \
reference. The outermost {BORDER} pixels do not count. The peak of PSNR is 255 for bytes, and the \
largest sample of the reference for others. Bicubic is MATLAB's. None of the files was trained on.

{chr(10).join(blocks)}"""
    arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
