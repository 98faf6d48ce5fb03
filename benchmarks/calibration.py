"""Makes the pictures by which error bounds are calibrated.

    python benchmarks/calibration.py --pool POOL --output FOLDER

``POOL`` is what ``../shared/tools/build_pool.py`` wrote. In ``FOLDER``:

- ``calibration.tar``: a square each of pictures that trained no shipped model, PNG. A third are as
  sharp as the pool has them, the others are shrunk by bicubic to 0.75 and to a half.
- ``calibration.csv``: those pictures with their licences; ``recipes/bounds`` has it.

Left out are pictures that ``recipes/sources.csv`` names, by the pool's own list or by a file's
name, and those of ``valid-camera.tar``. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pyvips

from upres.formats.archives import read_tar
from upres.formats.image.vips import read_rgb8
from upres.raster.resize import bicubic

RECIPES = Path(__file__).resolve().parents[1] / "recipes"

SHRINK = (1.0, 0.75, 0.5)

SIDE = 252
"""Of the squares, in pixels: a multiple of 2, 3 and 4."""

COLUMNS = ("crop", "package", "file", "kind", "licence", "shrink")

Row = Mapping[str, str]


def rows_of(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(name: str) -> int:
    """A number that only a name decides."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def chosen(pictures: Iterable[Row], used: set[str], held_out: set[str]) -> list[Row]:
    """The pictures that no training and no validation has seen, in the order of their names."""
    fresh = (
        row
        for row in pictures
        if not row["in_present_pack"]
        and row["id"] not in held_out
        and PurePosixPath(row["path"]).name not in used
    )
    return sorted(fresh, key=lambda row: row["id"])


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    used = {row["file"] for row in rows_of(RECIPES / "sources.csv")}
    held_out = {row["id"] for row in rows_of(RECIPES / "mixture" / "held-out.csv")}
    pictures = chosen(rows_of(options.pool / "PICTURES.csv"), used, held_out)
    contents = {
        name: content
        for shard in sorted(options.pool.glob("train-*.tar"))
        for name, content in read_tar(shard)
    }
    found = []
    options.output.mkdir(parents=True, exist_ok=True)
    with tarfile.open(options.output / "calibration.tar", "w") as tar:
        for row in pictures:
            crops = sorted(name for name in contents if name.startswith(f"{row['id']}_"))
            if not crops:
                continue
            crop = crops[number(row["id"]) % len(crops)]
            factor = SHRINK[number(f"{row['id']} shrink") % len(SHRINK)]
            image = read_rgb8(contents[crop])
            image = image if factor == 1 else bicubic(image, scale=factor)
            top, left = (
                number(f"{row['id']} {axis}") % (length - SIDE + 1)
                for axis, length in enumerate(image.shape[:2])
            )
            image = image[top : top + SIDE, left : left + SIDE]
            content = pyvips.Image.new_from_array(image).pngsave_buffer(compression=9)
            member = tarfile.TarInfo(f"{PurePosixPath(crop).stem}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            found.append({**row, "crop": member.name, "file": row["path"], "shrink": factor})
    with (options.output / "calibration.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"{len(found)} pictures")


if __name__ == "__main__":
    main()
