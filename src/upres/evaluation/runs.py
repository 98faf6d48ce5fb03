"""Training runs as their folders tell of them; no torch is needed to read one."""

from __future__ import annotations

import csv
import json
import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upres.engine.complexity import multiply_adds, parameter_count
from upres.errors import InputError, UsageError
from upres.evaluation.models import tell_apart
from upres.models import read_model

SMOOTHING = 0.05
"""The part of a run's log rows that a smoothed loss is the mean of."""


@dataclass(frozen=True)
class LogRow:
    """One row of a run's log."""

    step: int
    loss: float
    it_per_s: float
    valid_psnr: float | None
    """In dB; None where there was no validation."""
    seconds: float
    """Of training, until this step."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run: its recipe, where it ran, and how it went."""

    label: str
    folder: Path
    recipe: Mapping[str, str]
    """Values by flattened key (``optimiser.steps``), as text; empty for a run of before
    recipes were kept."""
    environment: Mapping[str, str]
    """As ``recipe``."""
    log: tuple[LogRow, ...]
    seconds_estimated: bool
    """Whether the log has no seconds, so that they come from its steps a second."""
    model: Path | None
    parameters: int | None
    multiply_adds: int | None
    """For a 1280x720 output, as ``parameters`` of the run's model file."""

    @property
    def steps(self) -> int:
        """Steps that the log has seen."""
        return self.log[-1].step if self.log else 0

    @property
    def seconds(self) -> float | None:
        """Seconds of training until the log's last row; None for an empty log."""
        return self.log[-1].seconds if self.log else None

    @property
    def it_per_s(self) -> float | None:
        """The log's median of steps a second; None for an empty log."""
        return statistics.median(row.it_per_s for row in self.log) if self.log else None

    @property
    def planned(self) -> int | None:
        """Steps that the recipe asks for."""
        text = self.recipe.get("optimiser.steps", "")
        return int(text) if text.isdigit() else None

    @property
    def state(self) -> str:
        """``finished``, or how far the run has come."""
        if not self.log:
            return "no steps yet"
        if self.planned is None:
            return "finished" if self.model else f"step {self.steps:,}"
        if self.steps < self.planned:
            return f"step {self.steps:,} of {self.planned:,}"
        return "finished"

    @property
    def validations(self) -> list[tuple[LogRow, float]]:
        """The rows with a validation, and its PSNR in dB."""
        return [(row, row.valid_psnr) for row in self.log if row.valid_psnr is not None]

    @property
    def best(self) -> tuple[LogRow, float] | None:
        """The first of the validations with the highest PSNR."""
        return max(self.validations, key=lambda each: each[1], default=None)

    @property
    def smoothed_loss(self) -> list[float]:
        """For each row the mean loss of it and those before it, ``SMOOTHING`` of all.

        Losses that are not finite are left out; where all are, so is the mean.
        """
        losses = [row.loss for row in self.log]
        window = max(1, round(SMOOTHING * len(losses)))
        means = []
        for stop in range(1, len(losses) + 1):
            part = [x for x in losses[max(0, stop - window) : stop] if math.isfinite(x)]
            means.append(statistics.fmean(part) if part else math.nan)
        return means


def read_runs(folders: Sequence[Path]) -> list[TrainingRun]:
    """Read runs' folders; runs of one name are told apart by their labels.

    Raises ``InputError`` if a folder holds no run or a file in it cannot be read,
    ``ModelError`` if a run's model cannot, ``UsageError`` if a run is given twice.
    """
    paths = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise UsageError(f"{folder}: given twice; name each run once")
    labels = tell_apart([path.name for path in paths], paths)
    return [_read_run(folder, label) for folder, label in zip(folders, labels, strict=True)]


def _read_run(folder: Path, label: str) -> TrainingRun:
    recipe_path, log_path = folder / "recipe.toml", folder / "log.csv"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a training run")
    if not recipe_path.is_file() and not log_path.is_file():
        raise InputError(f"{folder}: not a training run: it has neither recipe.toml nor log.csv")
    recipe = flatten(_read(recipe_path, tomllib.loads))
    log, estimated = _read_log(log_path)
    model = _model(folder, recipe)
    loaded = None if model is None else read_model(model)
    return TrainingRun(
        label=label,
        folder=folder,
        recipe=recipe,
        environment=flatten(_read(folder / "environment.json", json.loads)),
        log=log,
        seconds_estimated=estimated,
        model=model,
        parameters=None if loaded is None else parameter_count(loaded),
        multiply_adds=None if loaded is None else multiply_adds(loaded),
    )


def _read(path: Path, parse: Any) -> dict[str, Any]:
    """A TOML or JSON file's content; nothing if there is no such file."""
    if not path.exists():
        return {}
    try:
        values = parse(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read this file: {error.strerror}") from None
    except ValueError as error:  # of both parsers, and of bytes that are no UTF-8
        raise InputError(f"{path}: damaged: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: damaged: it holds no table of keys and values")
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as one, from dotted keys to text: strings bare, all else as JSON."""
    result: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= flatten(value, f"{prefix}{key}.")
        elif key == "command" and isinstance(value, list):
            result[prefix + key] = " ".join(map(str, value))
        elif isinstance(value, str):
            result[prefix + key] = value
        else:
            result[prefix + key] = json.dumps(value, ensure_ascii=False, default=str)
    return result


def _read_log(path: Path) -> tuple[tuple[LogRow, ...], bool]:
    """The log's rows, and whether their seconds had to be estimated."""
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read this log: {error}") from None
    # A run in progress may be in the middle of writing its last line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.DictReader(lines)
    columns = reader.fieldnames or []
    missing = {"step", "loss", "it_per_s", "valid_psnr"} - set(columns)
    if columns and missing:
        raise InputError(f"{path}: not a training run's log: it has no column {min(missing)}")
    estimated = "seconds" not in columns
    rows: list[LogRow] = []
    for values in reader:
        try:
            rows.append(_row(values, rows[-1] if rows else None))
        except (TypeError, ValueError):
            line = lines[reader.line_num - 1]
            raise InputError(
                f"{path}: line {reader.line_num} is not a row of a log: {line[:80]}"
            ) from None
    return tuple(rows), estimated and bool(rows)


def _row(values: Mapping[str, str], previous: LogRow | None) -> LogRow:
    step, speed = int(values["step"]), float(values["it_per_s"])
    if "seconds" in values:
        seconds = float(values["seconds"])
    else:
        before = previous or LogRow(0, 0.0, 0.0, None, 0.0)
        seconds = before.seconds + ((step - before.step) / speed if speed > 0 else 0.0)
    psnr = values["valid_psnr"]
    return LogRow(step, float(values["loss"]), speed, float(psnr) if psnr else None, seconds)


def _model(folder: Path, recipe: Mapping[str, str]) -> Path | None:
    """The run's model: named after its recipe, else the only one there is."""
    own = folder / f"{recipe.get('name')}-x{recipe.get('scale')}.onnx"
    found = sorted(folder.glob("*.onnx"))
    if own in found:
        return own
    return found[0] if len(found) == 1 else None
