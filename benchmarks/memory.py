"""Measures how much memory `upres enlarge` takes, and writes the result as Markdown.

With `--gigapixel`, a PNG becomes a TIFF of 2^30 pixels besides, which takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measuring import machine, peak_memory, table, write_picture
from upres.models import DEFAULT_MODEL, open_model

LIMIT = 450
"""MiB that the process may hold, whatever the size of the picture."""

GIGAPIXEL_LIMIT = 500
"""The same for a result of 2^30 pixels."""

RUNS = [("png", 1000), ("png", 4000), ("png", 10000)]
RUNS += [(suffix, 20000) for suffix in ("png", "jpg", "tif")]
STRIPS = [
    (suffix, height, width)
    for suffix in ("png", "tif")
    for height, width in ((1200, 200_000), (200_000, 1200))
]
"""Results that are very wide, or high; JPEG has no such sides."""

WHOLE = [("webp", 8000), ("avif", 4000), ("gif", 4000)]
"""Their encoders want the whole picture: they are not bounded, and take other sizes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("MEMORY.md"))
    parser.add_argument("--gigapixel", action="store_true")
    parser.add_argument("--only-gigapixel", action="store_true")
    arguments = parser.parse_args()
    model = open_model(DEFAULT_MODEL)
    scale = model.card.scale
    facts = machine()
    rows, most = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows.append(
            ["bare Python", "-", f"{peak_memory([sys.executable, '-c', 'pass'], folder):.0f}"]
        )

        def peak(source: str, suffix: str, height: int, width: int) -> float:
            print(f"{source} to {suffix}, {width}x{height}", file=sys.stderr)
            write_picture(folder / source, height // scale, width // scale)
            command = [sys.executable, "-m", "upres", "enlarge", source, "--quiet", "--force"]
            command += ["--model", DEFAULT_MODEL]  # else JPEG would be another's
            used = peak_memory([*command, "--output", f"out.{suffix}"], folder)
            size = f"{height * width / 1e6:.0f}"
            if height != width:
                size += f", {width}x{height}"
            rows.append([f"{source} to {suffix}", size, f"{used:.0f}"])
            return used

        if not arguments.only_gigapixel:
            bounded = [(suffix, side, side) for suffix, side in RUNS] + STRIPS
            most = max(peak(f"in.{suffix}", suffix, *size) for suffix, *size in bounded)
            for suffix, side in WHOLE:
                peak("in.png", suffix, side, side)
        giga = ""
        if arguments.gigapixel or arguments.only_gigapixel:
            used = peak("in.png", "tif", 2**15, 2**15)
            fits = "below" if used < GIGAPIXEL_LIMIT else "**not below**"
            giga = (
                f"\nThe result of 2^30 pixels takes {used:.0f} MiB: {fits} {GIGAPIXEL_LIMIT} MiB.\n"
            )
    verdict = "below" if most < LIMIT else "**not below**"
    told = (
        f"PNG, JPEG and TIFF take {most:.0f} MiB at most: {verdict} the {LIMIT} MiB that they may. "
    )
    if arguments.only_gigapixel:
        told = ""
    text = f"""# Memory

Written by `benchmarks/memory.py` (`make bench`).

{facts}

`upres enlarge` of one picture with {model.label}: the largest resident set of the whole process.

{table(["picture", "output, megapixels", "peak memory, MiB"], rows)}

{told}The
encoders of WebP, AVIF and GIF want the whole picture at once. A picture that would take more than
half of the machine's memory is refused before the work.
{giga}"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
