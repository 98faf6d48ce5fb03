"""The report on an evaluation: one HTML page with tables, plots and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from upres.card import Model
from upres.errors import InputError
from upres.evaluation import pictures, plots
from upres.evaluation.benchmark import Enlarger, Evaluation, SetResult, enlarge_rgb8
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import find_pairs, read_pair
from upres.evaluation.pages import write_page
from upres.evaluation.tables import COST_NOTE, LR_NOTE, figures, seconds_text, short_number
from upres.raster.resize import bicubic


@dataclass(frozen=True)
class Measure:
    """A column of the report's tables."""

    key: str
    title: str
    explained: str
    text: Callable[[float | None], str]
    better: Callable[..., float] | None
    """``max`` or ``min``."""


def _decimals(count: int) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else f"{value:.{count}f}".replace("inf", "∞")


QUALITY = (
    Measure("psnr", "PSNR", "dB, higher is better", _decimals(2), max),
    Measure("ssim", "SSIM", "at most 1, higher is better", _decimals(4), max),
    Measure("mse", "MSE", "squared grey levels, lower is better", _decimals(2), min),
    Measure("mae", "MAE", "grey levels, lower is better", _decimals(3), min),
    Measure(
        "lr_psnr", "LR-PSNR", "agreement with the input, dB, higher is better", _decimals(2), max
    ),
)
SECONDS = Measure("seconds", "s/image", "seconds a picture, lower is better", seconds_text, min)
COST = (
    Measure("parameters", "parameters", "", short_number, None),
    Measure("multiply_adds", "multiply-adds", "for a 1280x720 output", short_number, None),
    SECONDS,
)


def check_shown(names: Sequence[str], folders: Sequence[Path], scale: int) -> None:
    """Raise ``InputError`` if a picture that is to be shown is in none of the sets."""
    known = [pair.name for folder in folders for pair in find_pairs(folder, scale)]
    for name in names:
        if not any(_is_called(picture, name) for picture in known):
            raise InputError(
                f"{name}: no picture of the sets is called so; there are {', '.join(known[:20])}"
                + (" and others" if len(known) > 20 else "")
            )


def write_report(
    evaluation: Evaluation,
    models: Sequence[Model],
    path: Path,
    *,
    show: Sequence[str] = (),
    enlarge: Enlarger | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write the report on ``models``, in the order they were evaluated in, to ``path``.

    ``show`` names the pictures to show, with or without suffix; by default they are the
    two of each set on which the models differ most from bicubic (at x1 the input). They are
    enlarged once more, so that an evaluation need not keep any. ``enlarge`` and ``progress`` are as
    for ``evaluate``.

    Raises ``OutputError`` if it cannot be written.
    """
    sections = []
    for number, result in enumerate(evaluation.sets):
        # Set14 comes twice, with the same pictures.
        again = result.folder in (other.folder for other in evaluation.sets[:number])
        shown: list[pictures.Shown] = []
        if not again:
            names = [
                image.image
                for image in result.methods[0].images
                if any(_is_called(image.image, name) for name in show)
            ]
            chosen = names if show else pictures.most_different(result)
            shown = list(
                _shown(result, models, chosen, evaluation.jpeg, enlarge or enlarge_rgb8, progress)
            )
        sections.append(_section(result, shown, evaluation, f"set{number}"))
    write_page(
        path,
        "report.html.jinja",
        evaluation=evaluation,
        date=evaluation.date.replace("T", " ").replace("+00:00", " UTC"),
        methods=[method.method for method in evaluation.sets[0].methods],
        colours=[plots.colour(n) for n in range(len(evaluation.sets[0].methods))],
        notes=[LR_NOTE, COST_NOTE],
        sections=sections,
        gradient=pictures.MAP_GRADIENT,
        number=_decimals(2),
    )


def _is_called(picture: str, name: str) -> bool:
    return name in (picture, Path(picture).stem)


def _shown(
    result: SetResult,
    models: Sequence[Model],
    names: Sequence[str],
    jpeg: Jpeg | None,
    enlarge: Enlarger,
    progress: Callable[[str], None] | None,
) -> Iterator[pictures.Shown]:
    scale = models[0].card.scale
    pairs = {pair.name: pair for pair in find_pairs(result.folder, scale)}
    for name in names:
        if progress:
            progress(f"report: {result.dataset}, {name}")
        hr, lr = read_pair(pairs[name], scale, jpeg)
        images = [bicubic(lr, scale=scale), *(enlarge(lr, model) for model in models)]
        scores = [
            next(image.scores.psnr for image in method.images if image.image == name)
            for method in result.methods
        ]
        labels = [method.method for method in result.methods]
        yield pictures.show(name, hr, list(zip(labels, images, scores, strict=True)), border=scale)


def _section(
    result: SetResult, shown: Sequence[pictures.Shown], evaluation: Evaluation, key: str
) -> dict[str, Any]:
    """One set as the template needs it."""
    rows = [
        dict(list(figures(method))[-1][1])
        | {"parameters": method.parameters, "multiply_adds": method.multiply_adds}
        for method in result.methods
    ]
    made = "made by MATLAB's bicubic" if evaluation.scale > 1 else "the pictures themselves"
    jpeg = evaluation.jpeg
    return {
        "key": key,
        "name": result.dataset,
        "count": len(result.methods[0].images),
        "lr": ("the set's own" if result.lr_from_files else made)
        + (f", as JPEG of quality {jpeg.text}" if jpeg else ""),
        "measures": [*QUALITY, *COST],
        "rows": [
            {"method": method.method, "cells": cells}
            for method, cells in zip(result.methods, _cells(rows, [*QUALITY, *COST]), strict=True)
        ],
        "plots": _plots(result, key),
        "image_measures": [*QUALITY, SECONDS],
        "images": _images(result, {picture.name for picture in shown}),
        "shown": shown,
    }


def _cells(
    rows: Sequence[dict[str, float | None]], measures: Sequence[Measure]
) -> list[list[dict[str, Any]]]:
    """Value, text, and whether none of the column is better, by row and column."""
    best = {}
    for m in measures:
        values = [value for row in rows if (value := row[m.key]) is not None]
        # Values that are printed alike are equally good.
        best[m.key] = m.text(m.better(values)) if m.better and len(values) > 1 else None
    return [
        [
            {
                "value": _sortable(row[m.key]),
                "text": m.text(row[m.key]),
                "best": m.text(row[m.key]) == best[m.key],
            }
            for m in measures
        ]
        for row in rows
    ]


def _sortable(value: float | None) -> str:
    """As JavaScript's ``Number`` reads it; empty for a missing value."""
    if value is None:
        return ""
    return "Infinity" if value == math.inf else repr(value)


def _images(result: SetResult, shown: set[str]) -> list[dict[str, Any]]:
    """Each picture's name, whether it is shown, and by method its cells."""
    measures = [*QUALITY, SECONDS]
    by_method = [list(figures(method))[:-1] for method in result.methods]
    return [
        {
            "name": name,
            "shown": name in shown,
            "methods": _cells([rows[number][1] for rows in by_method], measures),
        }
        for number, (name, _) in enumerate(by_method[0])
    ]


def _plots(result: SetResult, key: str) -> list[Markup]:
    """PSNR against seconds and against multiply-adds."""
    bicubic_row, *models = result.methods
    found = []
    seconds = [method.seconds for method in models]
    work = [method.multiply_adds for method in models]
    for name, label, costs in (
        ("seconds", "seconds a picture", seconds),
        ("work", "multiply-adds for 1280x720", work),
    ):
        svg = plots.scatter(
            [
                plots.Point(method.method, cost, method.means.psnr, number)
                for number, (method, cost) in enumerate(zip(models, costs, strict=True), 1)
                if cost is not None
            ],
            baseline=(bicubic_row.method, bicubic_row.means.psnr),
            x_label=f"{label} (logarithmic)",
            text=_tick,
            name=f"{key}-{name}",
        )
        if svg is not None:
            title = f"PSNR against {label}, {result.dataset}"
            found.append(Markup(plots.inline(svg, title=title)))
    return found


def _tick(value: float) -> str:
    """At most one digit that is not zero: ``0.05``, ``20G``."""
    if value < 1000:
        return f"{value:g}"
    return re.sub(r"\.0+(?=\D)", "", short_number(value))
