"""Whole evaluations and comparisons: everything that is written of one, in one folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from upres.card import Model
from upres.errors import ModelError, Remedy, UsageError, needs_extra
from upres.evaluation import benchmark, tables
from upres.evaluation.bounds import evaluate_bounds, write_bounds_csv
from upres.evaluation.compression import Jpeg
from upres.evaluation.runs import TrainingRun, read_runs
from upres.files import make_folder
from upres.head import head_card_of


def evaluate_into(
    folder: Path,
    models: Sequence[Model],
    sets: Sequence[Path],
    *,
    sources: Sequence[Path] | None = None,
    jpeg: Jpeg | None = None,
    show: Sequence[str] = (),
    report: bool = True,
    bounds: bool = False,
    progress: Callable[[str], None] | None = None,
) -> tuple[benchmark.Evaluation, list[Path]]:
    """Evaluate ``models`` on ``sets`` and write JSON, CSV and, with ``report``, HTML.

    With ``bounds``, how errors lie in their bounds is measured, too. ``sources`` are as for
    ``benchmark.evaluate``; ``show`` names the pictures that the report
    shows, see ``report.write_report``. Mistakes that can be found before the work are found then.

    Raises as ``benchmark.evaluate`` does; ``UsageError`` if pictures are to be shown in no
    report, ``MissingExtraError`` if the report's packages are missing, ``InputError`` if
    no picture is called as one of ``show``, ``OutputError`` if ``folder`` cannot be
    written.
    """
    if report:
        with needs_extra("the report", "eval", Remedy("report", "does without", False)):
            from upres.evaluation.report import check_shown, write_report

        check_shown(show, sets, models[0].card.scale)
    elif show:
        raise UsageError(
            f"{show[0]}: to be shown, but there is no report to show it in",
            Remedy("report", "makes one", True),
        )
    make_folder(folder)
    if bounds and (bare := next((m for m in models if head_card_of(m) is None), None)):
        raise ModelError(f"{bare.path}: has no head to bound errors: upres calibrate makes one")
    evaluation = benchmark.evaluate(models, sets, sources=sources, jpeg=jpeg, progress=progress)
    if bounds:
        found = evaluate_bounds(models, sets, sources=sources, jpeg=jpeg, progress=progress)
        evaluation = dataclasses.replace(evaluation, bounds=tuple(found))
    stem = tables.file_stem([model.card.name for model in models], evaluation.scale)
    json, csv, html = (folder / f"{stem}{suffix}" for suffix in (".json", ".csv", ".html"))
    tables.write_json(evaluation, json)
    tables.write_csv(evaluation, csv)
    written = [json, csv]
    if bounds:
        written.append(folder / f"{stem}-bounds.csv")
        write_bounds_csv(evaluation.bounds, written[-1])
    if not report:
        return evaluation, written
    write_report(evaluation, models, html, show=show, progress=progress)
    return evaluation, [html, *written]


def compare_into(folder: Path, runs: Sequence[Path]) -> tuple[list[TrainingRun], list[Path]]:
    """Compare training runs and write the page, the table as CSV and the curves as SVG.

    Raises as ``read_runs`` does; ``MissingExtraError`` if packages are missing,
    ``OutputError`` if ``folder`` cannot be written.
    """
    with needs_extra("upres compare", "eval"):
        from upres.evaluation.comparison_page import write_comparison, write_curves
    from upres.evaluation.comparison import write_comparison_csv

    loaded = read_runs(runs)
    make_folder(folder)
    written = [folder / name for name in ("compare.html", "compare.csv", "curves.svg")]
    for path, write in zip(
        written, (write_comparison, write_comparison_csv, write_curves), strict=True
    ):
        write(loaded, path)
    return loaded, written
