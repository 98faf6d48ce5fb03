"""Writes docs/results.md and its pictures: the scores of the shipped models, and their looks.

Figures come from the models' cards and from ``speed.json``, which ``bench.py`` writes; prose
is in ``results.md.jinja``. Only the pictures need ``valid.tar``.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import upres
from measuring import table
from published import EARLY, OTHERS, PUBLISHED
from upres.card import ModelCard, SetScore
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import Rgb8, find_pairs, read_pair
from upres.evaluation.plots import Point, scatter
from upres.evaluation.tables import short_number
from upres.models import INT8, open_model, shipped_models
from upres.raster.metrics import PROTOCOL, PROTOCOL_AT_X1
from upres.raster.resize import bicubic

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "results.md"
PICTURES = HERE.parent / "docs" / "results"
SPEED = HERE / "speed.json"
BESIDE = HERE / "others.json"
SOURCES = HERE.parent / "recipes" / "sources.csv"
VALID = HERE.parents[1] / "shared" / "data" / "train" / "valid.tar"

OUTPUT = [1280, 720]

Cards = Mapping[tuple[str, int], ModelCard]
"""By a model's name and scale."""

SET14_AS_GREY = "Set14 (grey as grey)"
SETS = ("Set5", "Set14", SET14_AS_GREY, "B100")


@dataclass(frozen=True)
class Place:
    """A square of a validation picture."""

    name: str
    """Of its file in docs/results."""
    crop: str
    left: int
    top: int
    text: str


SIDE, ZOOM, GAP = 96, 3, 8
"""Of a square, in pixels of the enlarged picture; how large they are shown; between squares."""

# Chosen by eye among all 32 validation pictures, for difficulty at x4: one pattern that can
# be told from its remains and one that cannot, the only lettering, and the finest hair.
PLACES_SCALE = 4
PLACES = (
    Place("rays", "5e50a1f121_0.jpg", 178, 178, "Thin rays at all angles"),
    Place("railing", "a2f0fec38f_0.jpg", 0, 236, "A railing, finer than the input's pixels"),
    Place("lettering", "2d19f08670_0.jpg", 168, 306, "Lettering"),
    Place("hair", "11b6992bcd_0.jpg", 72, 176, "A feeler and hair"),
)

# By scale. A smooth fruit before dark leaves, and letters on a plain ground: there JPEG's blocks
# and ringing show most.
PHOTOS = {
    1: Place("photograph-x1", "2d19f08670_0.jpg", 168, 306, "Lettering"),
    2: Place("photograph", "c63a2cfe82_0.jpg", 250, 230, "Fruit and leaves"),
    4: Place("photograph-x4", "2d19f08670_0.jpg", 250, 280, "Letters"),
}
PHOTO_QUALITY = 40


def shipped_cards() -> dict[tuple[str, int], ModelCard]:
    return {
        (name, scale): open_model(name, scale=scale).card
        for name, scales in shipped_models().items()
        for scale in sorted(scales)
    }


def score_text(score: SetScore | None, original: SetScore | None) -> str:
    """PSNR / SSIM; ``original`` is that of the model that this one was quantised from."""
    if score is None:
        return "-"
    difference = f" ({score.psnr - original.psnr:+.2f})" if original else ""
    return f"{score.psnr:.2f} / {score.ssim:.4f}{difference}"


def score_table(cards: Cards, scale: int, protocol: str) -> str:
    """The models of that scale that have scores by that protocol, from worst to best.

    Those that others published by the same protocol stand between them.
    """
    scores = {
        name: {score.dataset: score for score in card.scores}
        for (name, own), card in cards.items()
        if own == scale and card.protocol == protocol
    }
    found = {dataset for by_set in scores.values() for dataset in by_set}
    sets = [name for name in SETS if name in found] + sorted(found.difference(SETS))
    rows: list[tuple[float, list[str]]] = []
    for name, by_set in scores.items():
        originals = scores.get(name.removesuffix(INT8), {}) if name.endswith(INT8) else {}
        texts = [score_text(by_set.get(each), originals.get(each)) for each in sets]
        count = short_number(cards[name, scale].parameter_count)
        order = by_set[sets[0]].psnr if sets[0] in by_set else 0.0
        rows.append((order, [f"**`{name}`**", count, *texts]))
    for name, (count, by_scale) in PUBLISHED.items():
        if protocol == PROTOCOL and scale in by_scale:
            set14 = SET14_AS_GREY if name in EARLY else "Set14"
            psnr = dict(zip(("Set5", set14, "B100"), by_scale[scale], strict=True))
            texts = [f"{psnr[each]:.2f}" if each in psnr else "-" for each in sets]
            rows.append((psnr["Set5"], [name, count, *texts]))
    rows.sort(key=lambda row: row[0])
    return table([f"x{scale}", "parameters", *sets], [row for _, row in rows])


def score_groups(cards: Cards) -> list[dict[str, Any]]:
    """For each protocol, its tables, one for each scale."""
    scored = {key: card for key, card in cards.items() if card.protocol and card.scores}
    # The field's own first.
    found = {card.protocol or "" for card in scored.values()}
    protocols = sorted(found, key=lambda protocol: (protocol != PROTOCOL, protocol))
    return [
        {
            "protocol": protocol,
            "tables": [
                score_table(scored, scale, protocol)
                for scale in sorted({s for (_, s), c in scored.items() if c.protocol == protocol})
            ],
        }
        for protocol in protocols
    ]


def read_speed() -> dict[str, Any] | None:
    """The figures that ``bench.py`` measured; None if it was not run.

    Raises ``ValueError`` if that was a smoke run.
    """
    if not SPEED.exists():
        return None
    speed: dict[str, Any] = json.loads(SPEED.read_text("utf-8"))
    if speed["output"] != OUTPUT:
        raise ValueError(f"{SPEED}: of a smoke run; run benchmarks/bench.py without --quick")
    return speed


def read_beside() -> dict[str, Any] | None:
    """The figures that ``others.py`` measured of others' models; None if it was not run.

    Raises ``ValueError`` if that was a smoke run.
    """
    if not BESIDE.exists():
        return None
    beside: dict[str, Any] = json.loads(BESIDE.read_text("utf-8"))
    if beside["output"] != OUTPUT:
        raise ValueError(f"{BESIDE}: of a smoke run; run benchmarks/others.py without --quick")
    return beside


def others_beside(beside: Mapping[str, Any] | None, scale: int) -> list[dict[str, Any]]:
    """Others' models of that scale that were timed beside upres, in one run."""
    found = beside["models"] if beside else []
    return [own for own in found if own["scale"] == scale and not own["ours"]]


def clean_psnr(card: ModelCard) -> float | None:
    """PSNR on Set5 by the field's protocol."""
    scores = card.scores if card.protocol == PROTOCOL else ()
    return next((score.psnr for score in scores if score.dataset == "Set5"), None)


def speed_table(
    cards: Cards,
    speed: Mapping[str, Any] | None,
    scale: int,
    beside: Mapping[str, Any] | None = None,
) -> str:
    """All methods of that scale, from the fastest on."""
    rows: list[tuple[float, list[str]]] = []
    for (name, own), card in cards.items():
        figures = speed["models"].get(f"{name}-x{scale}") if speed and own == scale else None
        if figures is None:
            continue
        seconds, psnr = figures["enlarge_seconds"], clean_psnr(card)
        row = [f"**`{name}`**", f"{seconds:.3f}", f"{figures['network_seconds']:.3f}"]
        row += [f"{figures['gflops']:.0f}", f"{figures['share_of_peak']:.0%}"]
        rows.append((seconds, [*row, "-" if psnr is None else f"{psnr:.2f}"]))
    for own in others_beside(beside, scale):
        seconds, psnr = own["enlarge_seconds"], own["psnr"].get("Set5")
        row = [own["name"], f"{seconds:.3f}", f"{own['network_seconds']:.3f}"]
        row += [f"{own['gflop'] / own['network_seconds']:.0f}", f"{own['share_of_peak']:.0%}"]
        rows.append((seconds, [*row, "-" if psnr is None else f"{psnr:.2f}"]))
    for other, (seconds, quality) in OTHERS.get(scale, {}).items():
        text = quality if isinstance(quality, str) else f"{quality:.2f}"
        rows.append((seconds, [other, str(seconds), "-", "-", "-", text]))
    rows.sort(key=lambda row: row[0])
    header = [f"x{scale}", "seconds", "of the network", "GFLOP/s", "of the peak", "Set5, dB"]
    return table(header, [row for _, row in rows])


def speed_plot(
    cards: Cards,
    speed: Mapping[str, Any] | None,
    scale: int,
    beside: Mapping[str, Any] | None = None,
) -> str | None:
    points = [
        Point(name, seconds, quality, 0, elsewhere=True)
        for name, (seconds, quality) in OTHERS[scale].items()
        if isinstance(quality, float)
    ]
    for number, name in enumerate(dict.fromkeys(name for name, _ in cards)):
        card = cards.get((name, scale))
        figures = speed["models"].get(f"{name}-x{scale}") if speed else None
        psnr = clean_psnr(card) if card else None
        if figures is not None and psnr is not None:
            points.append(Point(name, figures["enlarge_seconds"], psnr, number))
    count = len({name for name, _ in cards})
    for number, own in enumerate(others_beside(beside, scale), count):
        if (psnr := own["psnr"].get("Set5")) is not None:
            points.append(Point(own["name"], own["enlarge_seconds"], psnr, number))
    return scatter(
        points,
        baseline=None,
        x_label=f"seconds to {OUTPUT[0]}x{OUTPUT[1]}, x{scale}",
        text=lambda seconds: f"{seconds:g}",
        name=f"results-x{scale}",
        size=(7.5, 5),
        ground="white",
    )


def write_squares(place: Place, pictures: Sequence[Rgb8]) -> None:
    """The place in each picture, side by side; pixels are repeated, so that nothing is hidden."""
    squares = [
        pyvips.Image.new_from_array(picture).crop(place.left, place.top, SIDE, SIDE)
        for picture in pictures
    ]
    row = pyvips.Image.arrayjoin(squares, across=len(squares)).zoom(ZOOM, ZOOM)
    squares = [row.crop(i * SIDE * ZOOM, 0, SIDE * ZOOM, SIDE * ZOOM) for i in range(len(squares))]
    joined = pyvips.Image.arrayjoin(squares, across=len(squares), shim=GAP, background=255)
    joined.pngsave(str(PICTURES / f"{place.name}.png"), compression=9, keep="none")


def places_models(cards: Cards) -> list[str]:
    """Whom the places show: int8 looks as its fp32 does, and photo has pictures of its own."""
    return [
        name
        for (name, scale), card in cards.items()
        if scale == PLACES_SCALE and card.degradation == "bicubic" and not name.endswith(INT8)
    ]


def photo_places(cards: Cards) -> dict[int, Place]:
    """By scale, a place that shows photo, where it is shipped."""
    return {scale: place for scale, place in PHOTOS.items() if ("photo", scale) in cards}


def photo_row(scale: int) -> list[str]:
    """The pictures of a place that shows photo, from left to right."""
    before = ["the input"] if scale == 1 else ["bicubic", "`fast`"]
    return [*before, "`photo`", "the truth"]


def write_pictures(cards: Cards) -> None:
    def enlarged(lr: Rgb8, scale: int, models: Sequence[str]) -> list[Rgb8]:
        # int8 where the processor has it would make other pictures on other machines.
        results = [
            upres.enlarge(lr, scale=scale, model=model, precision="fp32") for model in models
        ]
        return [bicubic(lr, scale=scale), *results]

    pairs = {pair.name: pair for pair in find_pairs(VALID, PLACES_SCALE)}
    for place in PLACES:
        hr, lr = read_pair(pairs[place.crop], PLACES_SCALE)
        repeated = np.repeat(np.repeat(lr, PLACES_SCALE, axis=0), PLACES_SCALE, axis=1)
        results = enlarged(lr, PLACES_SCALE, places_models(cards))
        write_squares(place, [repeated, *results, hr])
    jpeg = Jpeg(PHOTO_QUALITY, PHOTO_QUALITY)
    for scale, place in photo_places(cards).items():
        hr, lr = read_pair(pairs[place.crop], scale, jpeg)
        models = ["photo"] if scale == 1 else ["fast", "photo"]
        write_squares(place, [*enlarged(lr, scale, models), hr])


def photo_table(cards: Cards) -> str:
    """The scores of photo and its variants, of all scales; empty if there are none."""
    photo = {key: card for key, card in cards.items() if key[0] in ("photo", f"photo{INT8}")}
    sets = list(dict.fromkeys(score.dataset for card in photo.values() for score in card.scores))
    rows = []
    for (name, scale), card in sorted(photo.items(), key=lambda item: item[0][::-1]):
        by_set = {score.dataset: score for score in card.scores}
        rows.append([f"`{name}` x{scale}", *(score_text(by_set.get(each), None) for each in sets)])
    return table(["model", *sets], rows) if sets else ""


def page(cards: Cards) -> str:
    """The page's text; its pictures need not be there."""
    with SOURCES.open(encoding="utf-8", newline="") as file:
        sources = {row["crop"]: row for row in csv.DictReader(file)}
    train = [row for row in sources.values() if row["split"] == "train"]
    speed, beside = read_speed(), read_beside()
    timed = {s for name, s in cards if f"{name}-x{s}" in speed["models"]} if speed else set()
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("results.md.jinja").render(
        groups=score_groups(cards),
        field_protocol=PROTOCOL,
        restored_protocol=PROTOCOL_AT_X1,
        unscored=[f"`{name}` x{scale}" for (name, scale), card in cards.items() if not card.scores],
        speed=speed,
        beside=beside,
        speed_tables=[
            speed_table(cards, speed, scale, beside) for scale in sorted(timed | {*OTHERS})
        ],
        plots=sorted(OTHERS),
        places=PLACES,
        places_scale=PLACES_SCALE,
        places_models=places_models(cards),
        photos=photo_places(cards),
        photo_row=photo_row,
        photo_quality=PHOTO_QUALITY,
        photo_table=photo_table(cards),
        sources=sources,
        crops=len(train),
        files=len({(row["package"], row["file"]) for row in train}),
        licences=table(["licence", "crops"], counts(row["licence"] for row in train)),
        packages=counts(row["package"] for row in train),
    )


def counts(values: Iterable[str]) -> list[list[str]]:
    """How often each occurs, the most frequent first, then by name."""
    counted = Counter(values).items()
    return [[value, str(n)] for value, n in sorted(counted, key=lambda item: (-item[1], item[0]))]


def main() -> None:
    cards = shipped_cards()
    PICTURES.mkdir(exist_ok=True)
    speed, beside = read_speed(), read_beside()
    for scale in OTHERS:
        plot = speed_plot(cards, speed, scale, beside)
        assert plot is not None  # the others are on it in any case
        (PICTURES / f"speed-x{scale}.svg").write_text(plot, encoding="utf-8")
    write_pictures(cards)
    PAGE.write_text(page(cards), encoding="utf-8")
    print(f"wrote {PAGE} and {PICTURES}")


if __name__ == "__main__":
    main()
