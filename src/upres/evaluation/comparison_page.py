"""The comparison of training runs as an HTML page, and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from upres.evaluation import plots
from upres.evaluation.comparison import (
    COLUMNS,
    MISSING,
    by_key,
    cautions,
    cell,
    differences,
    result,
    sortable,
)
from upres.evaluation.pages import write_page
from upres.evaluation.runs import SMOOTHING, TrainingRun
from upres.files import replacing


def panels(runs: Sequence[TrainingRun]) -> list[plots.Panel]:
    """Validation PSNR against steps and seconds, and loss against steps, where there are."""
    by_step, by_second, losses = [], [], []
    for number, run in enumerate(runs):
        rows = [row for row, _ in run.validations]
        psnr = [value for _, value in run.validations]
        if rows:
            by_step.append(plots.Curve(run.label, [row.step for row in rows], psnr, number))
            by_second.append(plots.Curve(run.label, [row.seconds for row in rows], psnr, number))
        if run.log:
            steps = [row.step for row in run.log]
            losses.append(plots.Curve(run.label, steps, run.smoothed_loss, number))
    found = (
        plots.Panel(by_step, "steps", "validation PSNR (dB)"),
        plots.Panel(by_second, "seconds of training", "validation PSNR (dB)"),
        plots.Panel(losses, "steps", f"loss (mean of {SMOOTHING:.0%} of the log)"),
    )
    return [panel for panel in found if panel.curves]


def write_curves(runs: Sequence[TrainingRun], path: Path) -> None:
    """Write the panels side by side as one SVG. Raises ``OutputError``."""
    svg = plots.curves(panels(runs), name="curves")
    with replacing(path) as temporary:
        temporary.write_text(svg, encoding="utf-8")


def write_comparison(runs: Sequence[TrainingRun], path: Path) -> None:
    """Write the comparison as one self-contained HTML page. Raises ``OutputError``."""
    rows = [result(run) for run in runs]
    figures = [
        Markup(
            plots.inline(
                plots.curves([panel], name=f"curves{number}", legend=False),
                title=f"{panel.y_label} against {panel.x_label}",
            )
        )
        for number, panel in enumerate(panels(runs))
    ]
    recipes = _differing(runs, [run.recipe for run in runs])
    write_page(
        path,
        "compare.html.jinja",
        runs=runs,
        keys=[(plots.colour(number), plots.dashes(number)) for number in range(len(runs))],
        cautions=cautions(runs),
        columns=[(title, explained) for _, title, explained, _ in COLUMNS],
        rows=[
            [
                {"value": sortable(row[key]), "text": cell(row, key, text)}
                for key, _, _, text in COLUMNS
            ]
            for row in rows
        ],
        plots=figures,
        recipes=recipes,
        alike=len(by_key([run.recipe for run in runs])) - len(recipes["rows"]),
        environments=_differing(runs, [run.environment for run in runs]),
        missing=MISSING,
    )


def _differing(runs: Sequence[TrainingRun], values: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The differences as the template needs them; a run without any values has no column."""
    known = [number for number, each in enumerate(values) if each]
    return {
        "columns": [(number, runs[number].label) for number in known],
        "rows": differences([values[number] for number in known]),
    }
