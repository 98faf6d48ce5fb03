"""Makes the second validation set, and what is left of the pool to train on.

    python benchmarks/camera.py --pool POOL --inputs ../shared/data/inputs/photo --output OUT

``POOL`` is what ``../shared/tools/build_pool.py`` wrote. In ``OUT``:

- ``valid-camera.tar``: camera photographs as they are and halved, a painting, and pictures of the
  pool that were never shrunk, photographs and drawings. 384 pixels a side, PNG.
- ``train-pool.tar``: the pool without every crop of a picture that is in it.
- ``held-out.csv``: those pictures, with their crops and licences; ``recipes/mixture`` has it.

The same input gives the same bytes. The inputs' licences are not known, so the set may be measured
on and not passed on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.evaluation.datasets import Rgb8
from upres.formats.archives import read_tar
from upres.formats.image.vips import read_rgb8
from upres.raster.resize import bicubic

SIDE = 384
PAINTING_SIDE = 256

CAMERAS = ("Canon PowerShot S40 (1).jpg", "HTC One.jpg", "Nikon D70.jpg")
"""JPEG files of quality 95 to 97, straight from a camera. The other photographs of the inputs are
too small, or of quality 75 and less."""
PAINTING = "sample.png"

DRAWINGS = ("reform-handbook", "glgrib-data")
"""The pool's packages whose unshrunk pictures are drawings and maps."""
PHOTOGRAPHS = ("photo", "wallpaper")
"""The pool's kinds that are photographs, but for ``DRAWINGS``."""
LEAST_QUALITY = 95
HELD_OUT = {"photographs": 14, "drawings": 4}

Row = dict[str, str]


def detail(image: Rgb8, side: int) -> list[tuple[float, int, int]]:
    """(mean gradient, top, left) of every square of a grid, most detailed first."""
    grey = image.astype(np.float64).mean(2)
    steps = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    tops, lefts = (range(0, length - side + 1, side // 2) for length in grey.shape)
    squares = (
        (float(steps[top : top + side - 1, left : left + side - 1].mean()), top, left)
        for top in tops
        for left in lefts
    )
    return sorted(squares, reverse=True)


def crops(image: Rgb8, side: int, ranks: Iterable[float]) -> Iterator[Rgb8]:
    """Squares of ``image``, by their rank in detail: 0 has the most of all, 1 the least."""
    squares = detail(image, side)
    for rank in ranks:
        _, top, left = squares[round(rank * (len(squares) - 1))]
        yield image[top : top + side, left : left + side]


def held_out(pictures: Iterable[Row]) -> list[Row]:
    """Pictures of the pool to be left out of training, the same whatever their order.

    They are unshrunk, lossless or nearly so, and not in the present pack. Of those of each kind
    the SHA-256 of the name decides.
    """
    groups: dict[str, list[Row]] = {name: [] for name in HELD_OUT}
    for row in pictures:
        fine = not row["quality"] or int(row["quality"]) >= LEAST_QUALITY
        if row["shrink"] == "1" and fine and not row["in_present_pack"]:
            if row["package"] in DRAWINGS:
                groups["drawings"].append(row)
            elif row["kind"] in PHOTOGRAPHS:
                groups["photographs"].append(row)
    return [
        row
        for name, rows in groups.items()
        for row in sorted(rows, key=lambda r: hashlib.sha256(r["id"].encode()).hexdigest())[
            : HELD_OUT[name]
        ]
    ]


def picture_of(crop: str) -> str:
    """The pool's picture that a crop is of."""
    return crop.partition("_")[0]


def camera_crops(inputs: Path) -> Iterator[tuple[str, Rgb8]]:
    """Of every camera photograph, two crops at native size and two at half of it."""
    for name in CAMERAS:
        native = read_rgb8(inputs / name)
        half: NDArray[np.uint8] = bicubic(native, scale=0.5)
        stem = name.partition(".")[0].split()[0].lower()
        for size, image in (("native", native), ("half", half)):
            for number, crop in enumerate(crops(image, SIDE, (0, 0.25))):
                yield f"{stem}-{size}-{number}", crop
    [crop] = crops(read_rgb8(inputs / PAINTING), PAINTING_SIDE, (0,))
    yield "painting", crop


def pool_crops(pool: Mapping[str, bytes], rows: Iterable[Row]) -> Iterator[tuple[str, Rgb8]]:
    """Of every held-out picture's first crop the square with the most detail."""
    for row in rows:
        name = min(name for name in pool if picture_of(name) == row["id"])
        [crop] = crops(read_rgb8(pool[name], name=name), SIDE, (0,))
        yield f"pool-{row['id']}", crop


def write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def png(image: Rgb8) -> bytes:
    content: bytes = pyvips.Image.new_from_array(np.ascontiguousarray(image)).pngsave_buffer()
    return content


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("pool", "inputs", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    with (arguments.pool / "PICTURES.csv").open(encoding="utf-8", newline="") as file:
        chosen = held_out(csv.DictReader(file))
    shards = sorted(arguments.pool.glob("train-*.tar"))
    pool = {name: content for shard in shards for name, content in read_tar(shard)}
    out = {row["id"] for row in chosen}

    images = [*camera_crops(arguments.inputs), *pool_crops(pool, chosen)]
    write_tar(output / "valid-camera.tar", ((f"{name}.png", png(image)) for name, image in images))
    rest = [(name, content) for name, content in pool.items() if picture_of(name) not in out]
    write_tar(output / "train-pool.tar", rest)
    columns = ("id", "package", "path", "kind", "licence", "holder")
    with (output / "held-out.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*columns, "crops"])
        for row in chosen:
            names = sorted(name for name in pool if picture_of(name) == row["id"])
            table.writerow([*(row[column] for column in columns), " ".join(names)])
    print(
        f"{len(images)} pictures to validate on; {len(rest)} of the pool's {len(pool)} crops left"
    )


if __name__ == "__main__":
    main()
