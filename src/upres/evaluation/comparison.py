"""Training runs side by side: their differences, cautions, and their results."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from upres.evaluation.runs import SMOOTHING, TrainingRun
from upres.evaluation.tables import short_number
from upres.files import replacing

MISSING = "(not there)"

COMPARISON_COLUMNS = (
    *("run", "folder", "state", "best_psnr", "best_step", "last_psnr", "loss", "steps"),
    *("planned_steps", "seconds", "seconds_estimated", "it_per_s", "parameters", "multiply_adds"),
)


def differences(values: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The keys whose values are not the same in all, with each one's value or ``MISSING``."""
    return {key: row for key, row in by_key(values).items() if len(set(row)) > 1}


def by_key(values: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Each key that any has, with each one's value or ``MISSING``."""
    keys = dict.fromkeys(key for each in values for key in each)
    return {key: [each.get(key, MISSING) for each in values] for key in keys}


def cautions(runs: Sequence[TrainingRun]) -> list[str]:
    """Cautions for a reader who compares the runs' figures, a sentence each."""
    found = []
    recipes = differences([run.recipe for run in runs if run.recipe])
    if "scale" in recipes:
        found.append("The runs enlarge by different scales: their PSNRs do not compare.")
    if "data.valid" in recipes:
        found.append("The runs validate on different pictures: their PSNRs do not compare.")
    # Where a recipe names none it is bicubic, the only one that does not draw from the seed.
    degradations = [run.recipe.get("data.degradation", "bicubic") for run in runs if run.recipe]
    if len(set(degradations)) > 1 or ("seed" in recipes and set(degradations) != {"bicubic"}):
        found.append(
            "The runs validate on pictures degraded in different ways: their PSNRs do not compare."
        )
    # A teacher's output is a part of the loss.
    if any(key.startswith(("loss", "optimiser.loss", "teacher")) for key in recipes):
        found.append("The runs minimise different losses: their losses do not compare.")
    machines = differences([run.environment for run in runs if run.environment])
    changed = [key for key in ("device", "threads", "processes") if key in machines]
    if changed:
        found.append(
            f"The runs differ in {' and '.join(changed)}: their seconds and it/s do not compare."
        )
    for run in runs:
        if not run.recipe and len(runs) > 1:
            found.append(f"{run.label} has no recipe.toml: whether its PSNR compares is not known.")
        if run.seconds_estimated:
            found.append(
                f"{run.label}'s log has no seconds: they are worked out from its it/s, and "
                "leave out validation."
            )
    return found


def result(run: TrainingRun) -> dict[str, Any]:
    """The run's row of the table, by the names of ``COMPARISON_COLUMNS``; None for nothing."""
    best, validations = run.best, run.validations
    return {
        "run": run.label,
        "folder": str(run.folder),
        "state": run.state,
        "best_psnr": best and best[1],
        "best_step": best and best[0].step,
        "last_psnr": validations[-1][1] if validations else None,
        "loss": run.smoothed_loss[-1] if run.log else None,
        "steps": run.steps,
        "planned_steps": run.planned,
        "seconds": run.seconds,
        "seconds_estimated": run.seconds_estimated,
        "it_per_s": run.it_per_s,
        "parameters": run.parameters,
        "multiply_adds": run.multiply_adds,
    }


def _text(format_spec: str) -> Callable[[Any], str]:
    return lambda value: "-" if value is None else format(value, format_spec)


# Key in ``result``, title, explanation, and how it is written.
COLUMNS: tuple[tuple[str, str, str, Callable[[Any], str]], ...] = (
    ("state", "state", "", str),
    ("best_psnr", "best PSNR", "of validations, dB", _text(".3f")),
    ("best_step", "at step", "of the best validation", _text(",")),
    ("last_psnr", "last PSNR", "of validations, dB", _text(".3f")),
    ("loss", "loss", f"mean of the log's last {SMOOTHING:.0%}", _text(".5f")),
    ("steps", "steps", "", _text(",")),
    ("seconds", "seconds", "of training", _text(",.0f")),
    ("it_per_s", "it/s", "median", _text(".3g")),
    ("parameters", "parameters", "", short_number),
    ("multiply_adds", "multiply-adds", "for a 1280x720 output", short_number),
)


def comparison_table(runs: Sequence[TrainingRun]) -> Table:
    """The final table, for the terminal."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0)
    shown.add_column("run", min_width=5, overflow="fold")
    shown.add_column("state", min_width=8)
    narrow = {"parameters": "para-\nmeters", "multiply-adds": "mult.-\nadds"}
    for _, title, _, _ in COLUMNS[1:]:
        short = narrow.get(title, title.replace(" ", "\n"))
        shown.add_column(short, justify="right", no_wrap=True)
    for run in runs:
        row = result(run)
        shown.add_row(run.label, *(cell(row, key, text) for key, _, _, text in COLUMNS))
    return shown


def cell(row: Mapping[str, Any], key: str, text: Callable[[Any], str]) -> str:
    """The text in a table for a run's ``result``."""
    about = "≈" if key == "seconds" and row["seconds_estimated"] else ""
    return about + text(row[key])


def sortable(value: Any) -> Any:
    """The page sorts by this; empty for nothing and for a loss that is not a number."""
    return "" if value is None or value != value else value


def write_comparison_csv(runs: Sequence[TrainingRun], path: Path) -> None:
    """Write the final table; a missing value is empty. Raises ``OutputError``."""
    content = io.StringIO()
    writer = csv.DictWriter(content, COMPARISON_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result(run) for run in runs)
    with replacing(path) as temporary:
        temporary.write_text(content.getvalue(), encoding="utf-8", newline="")
