"""Measures how much memory `upres enlarge` takes, and writes the result as Markdown."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measuring import machine, peak_memory, table, write_picture
from upres.models import DEFAULT_MODEL, open_model

LIMIT = 700
"""MiB that the process may hold, whatever the size of the picture."""

RUNS = [("png", 1000), ("png", 4000), ("png", 10000)]
RUNS += [(suffix, 20000) for suffix in ("png", "jpg", "tif")]
WHOLE = [("webp", 8000), ("avif", 4000), ("gif", 4000)]
"""Their encoders want the whole picture: they are not bounded, and take other sizes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("MEMORY.md"))
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
        for suffix, side in RUNS + WHOLE:
            whole = (suffix, side) in WHOLE
            print(f"{suffix}, {side}x{side}", file=sys.stderr)
            source = "in.png" if whole else f"in.{suffix}"
            write_picture(folder / source, side // scale, side // scale)
            command = [sys.executable, "-m", "upres", "enlarge", source, "--quiet", "--force"]
            command += ["--model", DEFAULT_MODEL]  # else JPEG would be another's
            used = peak_memory([*command, "--output", f"out.{suffix}"], folder)
            rows.append([f"{source} to {suffix}", f"{side**2 / 1e6:.0f}", f"{used:.0f}"])
            if not whole:
                most = max(most, used)
    verdict = "below" if most < LIMIT else "**not below**"
    text = f"""# Memory

Written by `benchmarks/memory.py` (`make bench`).

{facts}

`upres enlarge` of one picture with {model.label}: the largest resident set of the whole process.

{table(["picture", "output, megapixels", "peak memory, MiB"], rows)}

PNG, JPEG and TIFF take {most:.0f} MiB at most: {verdict} the {LIMIT} MiB that they may. The
encoders of WebP, AVIF and GIF want the whole picture at once. A picture that would take more than
half of the machine's memory is refused before the work.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
