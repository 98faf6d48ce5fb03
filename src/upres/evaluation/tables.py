"""What an evaluation found: on the screen, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from upres.evaluation.benchmark import Evaluation, ImageResult, MethodResult
from upres.formats import replacing
from upres.metrics import Scores

CSV_COLUMNS = ("set", "scale", "method", "image", "psnr", "ssim", "mse", "mae", "seconds")

MEAN = "mean"
"""In the CSV's column of images, the row of a set's means. No picture has this name, as
pictures' names have suffixes."""


def table(evaluation: Evaluation) -> Table:
    """One row for each set and method, of means; the protocol stands below."""
    result = Table(title=f"x{evaluation.scale}", caption=evaluation.protocol)
    result.add_column("set")
    result.add_column("images", justify="right")
    result.add_column("method")
    for column in ("PSNR", "SSIM", "MSE", "MAE", "s/image"):
        result.add_column(column, justify="right")
    for each in evaluation.sets:
        for method in each.methods:
            means = method.means
            result.add_row(
                each.dataset,
                str(len(method.images)),
                method.method,
                f"{means.psnr:.2f}",
                f"{means.ssim:.4f}",
                f"{means.mse:.2f}",
                f"{means.mae:.3f}",
                "-" if method.seconds is None else f"{method.seconds:.3f}",
            )
        result.add_section()
    return result


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write everything to ``path`` as JSON, replacing a file that is there.

    Infinite PSNR, of pictures that are identical, is ``null``, as JSON has no infinity.

    Raises ``OutputError`` if it cannot be written.
    """
    document = {
        "upres": evaluation.version,
        "date": evaluation.date,
        "machine": evaluation.machine,
        "protocol": evaluation.protocol,
        "scale": evaluation.scale,
        "sets": [
            {
                "set": each.dataset,
                "folder": str(each.folder),
                "lr_from_files": each.lr_from_files,
                "methods": [_method_to_json(method) for method in each.methods],
            }
            for each in evaluation.sets
        ],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _method_to_json(method: MethodResult) -> dict[str, Any]:
    return {
        "method": method.method,
        "model": None if method.model is None else str(method.model),
        "mean": _scores_to_json(method.means, method.seconds),
        "images": [
            {"image": image.image, **_scores_to_json(image.scores, image.seconds)}
            for image in method.images
        ],
    }


def _scores_to_json(scores: Scores, seconds: float | None) -> dict[str, float | None]:
    return {
        "psnr": scores.psnr if math.isfinite(scores.psnr) else None,
        "ssim": scores.ssim,
        "mse": scores.mse,
        "mae": scores.mae,
        "seconds": seconds,
    }


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each set, method and picture to ``path``, replacing a file there.

    After a method's pictures comes the row of their means, whose image is ``mean``.
    Infinite PSNR is written ``inf``; bicubic's seconds are empty.

    Raises ``OutputError`` if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for each in evaluation.sets:
        for method in each.methods:
            for row in _rows(method):
                key = (each.dataset, evaluation.scale, method.method, row.image)
                s = row.scores
                writer.writerow((*key, s.psnr, s.ssim, s.mse, s.mae, row.seconds))
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _rows(method: MethodResult) -> Iterator[ImageResult]:
    yield from method.images
    yield ImageResult(MEAN, method.means, method.seconds)
