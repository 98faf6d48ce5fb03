"""Enlarge a photograph fourfold, and show it beside bicubic: ``make demo`` runs this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.enlarging.files import enlarge_to
from upres.enlarging.options import Options
from upres.formats.image.vips import read_rgb8
from upres.raster.resize import bicubic

HERE = Path(__file__).parent
PHOTO = HERE / "chelsea.png"
OUT = HERE / "out"
SCALE = 4

# Where it matters, in pixels of the photograph: left, top, width, height.
CROPS = [(140, 90, 60, 44), (240, 34, 60, 44)]
PANEL_WIDTH = 480
GAP = 8


def panels(image: NDArray[np.uint8], factor: int) -> list[pyvips.Image]:
    """The crops of an image that is ``factor`` times the photograph, all of one width."""
    whole = pyvips.Image.new_from_array(image)
    result = []
    for crop in CROPS:
        part = whole.crop(*(side * factor for side in crop))
        # Pixels are repeated, so that the image is seen and not the zoom.
        zoom = PANEL_WIDTH // part.width
        result.append(part.zoom(zoom, zoom))
    return result


def main() -> None:
    """Write the enlarged photograph and the comparison, and name them."""
    OUT.mkdir(exist_ok=True)
    enlarged = OUT / f"{PHOTO.stem}_x{SCALE}.png"
    enlarge_to(PHOTO, enlarged, Options(scale=SCALE))
    photo = read_rgb8(PHOTO)
    columns = [
        panels(photo, 1),
        panels(bicubic(photo, scale=SCALE), SCALE),
        panels(read_rgb8(enlarged), SCALE),
    ]
    # Their own picture, as a bare machine has no fonts: input, bicubic, upres.
    labels = pyvips.Image.new_from_file(str(HERE / "labels.png"))
    cells = [panel for row in zip(*columns, strict=True) for panel in row]
    grid = pyvips.Image.arrayjoin(cells, across=3, shim=GAP, background=255)
    comparison = labels.join(grid, "vertical", expand=True)
    path = OUT / "comparison.png"
    comparison.pngsave(str(path))
    print(f"enlarged photograph: {enlarged.relative_to(HERE.parent)}")
    print(f"input, bicubic and upres side by side: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
