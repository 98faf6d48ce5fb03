"""Writes into docs/mixture.md what the comparison of training pictures came to.

    python benchmarks/mixture.py --runs RUNS --evaluation EVALUATION

``RUNS`` has a folder for each recipe of ``recipes/mixture``. ``EVALUATION`` has one for each, and
``shipped``, with the JSON file of ``upres evaluate --data valid.tar --data valid-camera.tar``. Runs
without one are left out of the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from measuring import table

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "mixture.md"
RECIPES = HERE.parent / "recipes" / "mixture"

RUNS = ("present", "pool", "both", "native", "gentle")
GROUPS = ("cameras", "pool's photographs", "drawings")

Scores = dict[str, float]
"""PSNR in dB by the column of the table."""


def fill(name: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between the page's comments ``<!-- name -->`` and ``<!-- end -->``.

    Raises ``ValueError`` if the page has not just one such place.
    """
    old = page.read_text("utf-8")
    place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    new, count = place.subn(lambda found: found[1] + text + found[2], old)
    if count != 1:
        raise ValueError(f"{page}: has {count} places for {name!r} instead of one")
    page.write_text(new, "utf-8")


def group(image: str, drawings: Iterable[str]) -> str:
    """Which of ``GROUPS`` a picture of valid-camera.tar belongs to."""
    stem = image.partition(".")[0]
    if stem == "painting" or stem in drawings:
        return "drawings"
    return "pool's photographs" if stem.startswith("pool-") else "cameras"


def scores(evaluation: Mapping[str, Any], drawings: Iterable[str]) -> dict[str, Scores]:
    """PSNR of each method of an evaluation: of both sets, and of each group of the second."""
    found: dict[str, Scores] = {}
    for each in evaluation["sets"]:
        for method in each["methods"]:
            own = found.setdefault(method["method"], {})
            own[each["set"]] = method["mean"]["psnr"]
            if each["set"] == "valid-camera":
                for name in GROUPS:
                    own[name] = fmean(
                        image["psnr"]
                        for image in method["images"]
                        if group(image["image"], drawings) == name
                    )
    return found


def drawings_held_out() -> set[str]:
    """Stems of the drawings that valid-camera.tar has of the pool."""
    from camera import DRAWINGS

    with (RECIPES / "held-out.csv").open(encoding="utf-8", newline="") as file:
        return {f"pool-{row['id']}" for row in csv.DictReader(file) if row["package"] in DRAWINGS}


def told(recipe: Mapping[str, Any]) -> list[str]:
    """The recipe's pictures, the factors that they are shrunk by, and its steps."""
    shards = set(recipe["data"]["train"])
    present, pool = "train-0.tar" in shards, "train-pool.tar" in shards
    pictures = "both" if present and pool else "present pack" if present else "pool"
    factors = ", ".join(f"{factor:g}" for factor in (1, *recipe["data"].get("shrink", [])))
    return [pictures, factors, f"{recipe['optimiser']['steps']:,}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("runs", "evaluation"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    drawings = drawings_held_out()
    found: dict[str, Scores] = {}
    for name in ("shipped", *RUNS):
        for path in sorted((arguments.evaluation / name).glob("*.json")):
            found |= scores(json.loads(path.read_text("utf-8")), drawings)
    columns = ("valid", "valid-camera", *GROUPS)
    rows = []
    for method in ("bicubic", *(f"{name} x2" for name in ("fast", "balanced", *RUNS))):
        if method not in found:
            continue
        about = ["-"] * 3
        recipe = arguments.runs / method.removesuffix(" x2") / "recipe.toml"
        if recipe.is_file():
            about = told(tomllib.loads(recipe.read_text("utf-8")))
        rows.append([f"`{method}`", *about, *(f"{found[method][name]:.2f}" for name in columns)])
    header = ["network", "pictures", "sizes", "steps", "`valid.tar`", "`valid-camera.tar`", *GROUPS]
    fill("comparison", table(header, rows))


if __name__ == "__main__":
    main()
