"""The findings of an evaluation: on the screen, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from upres.evaluation.benchmark import Evaluation, MethodResult
from upres.evaluation.bounds import BOUNDS_NOTE
from upres.files import replacing

MEAN = "mean"
"""In the CSV's column of images, the row of a set's means. No picture has this name, as
pictures' names have suffixes."""

LR_NOTE = (
    "LR-PSNR: the result shrunk to the input's size by MATLAB's bicubic, as uint8, compared "
    "with the input: luma, border of 1 pixel cropped"
)
COST_NOTE = (
    "multiply-adds of convolutions and matrix products for a 1280x720 output; seconds on "
    "the machine named, without compiling the engine"
)


def short_number(value: float | None) -> str:
    """Three digits and a thousands' letter: ``1.37M``, ``96.3G``; a dash for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    # By way of %e, so that 999,999 rounds to 1.00M and not to 1000K.
    digits, exponent = f"{value:.2e}".split("e")
    group = min(max(int(exponent) // 3, 0), 4)
    decimals = max(0, 2 - (int(exponent) - 3 * group))
    letter = ("", "K", "M", "G", "T")[group]
    mantissa = float(digits) * 10 ** (int(exponent) - 3 * group)
    return f"{mantissa:.{decimals if letter else 0}f}{letter}"


def seconds_text(seconds: float | None) -> str:
    """Seconds to the millisecond; a dash for None."""
    return "-" if seconds is None else f"{seconds:.3f}"


def file_stem(names: Sequence[str], scale: int) -> str:
    """A name for an evaluation's files, after its models: ``fast-x4``, ``a-b-x2``."""
    # Other characters than letters and digits may mean something to a file system.
    parts = [re.sub(r"[^\w.+-]+", "_", name) for name in dict.fromkeys(names)]
    stem = "-".join(parts)
    if len(stem) > 100:
        stem = f"{parts[0][:80]}-and-{len(parts) - 1}-more"
    return f"{stem}-x{scale}"


def table(evaluation: Evaluation) -> Table:
    """One row for each set and method, of means; the protocol stands below."""
    result = Table(
        title=f"x{evaluation.scale}",
        caption=f"{evaluation.protocol}. {LR_NOTE}; {COST_NOTE}.",
        # Eleven columns have to do with the 80 letters of a narrow terminal.
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    result.add_column("set", min_width=6, overflow="fold")
    result.add_column("n", justify="right")
    result.add_column("method", min_width=8, overflow="fold")
    for column in (
        *("PSNR", "SSIM", "MSE", "MAE", "LR-\nPSNR"),
        *("para-\nmeters", "mult.-\nadds", "s/\nimage"),
    ):
        result.add_column(column, justify="right", no_wrap=True)
    for each in evaluation.sets:
        for method in each.methods:
            means = method.means
            result.add_row(
                each.dataset if method is each.methods[0] else "",
                str(len(method.images)) if method is each.methods[0] else "",
                method.method,
                f"{means.psnr:.2f}",
                f"{means.ssim:.4f}",
                f"{means.mse:.2f}",
                f"{means.mae:.3f}",
                f"{method.lr_psnr:.2f}",
                short_number(method.parameters),
                short_number(method.multiply_adds),
                seconds_text(method.seconds),
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
        "notes": [LR_NOTE, COST_NOTE, *([BOUNDS_NOTE] if evaluation.bounds else [])],
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
    if evaluation.bounds:
        document["bounds"] = [each.as_data() for each in evaluation.bounds]
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _method_to_json(method: MethodResult) -> dict[str, Any]:
    rows = [
        {"image": name} | {k: v if math.isfinite(v or 0) else None for k, v in row.items()}
        for name, row in figures(method)
    ]
    mean = {k: v for k, v in rows.pop().items() if k not in ("image", "jpeg_quality")}
    return {
        "method": method.method,
        "model": None if method.model is None else str(method.model),
        "parameters": method.parameters,
        "multiply_adds": method.multiply_adds,
        "mean": mean,
        "images": rows,
    }


def figures(method: MethodResult) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Each picture's name and its measures by name, and at the end ``MEAN`` and theirs."""
    rows = [(i.image, i.scores, i.lr_psnr, i.seconds, i.jpeg_quality) for i in method.images]
    rows.append((MEAN, method.means, method.lr_psnr, method.seconds, None))
    for name, scores, lr_psnr, seconds, jpeg_quality in rows:
        yield (
            name,
            {
                "psnr": scores.psnr,
                "ssim": scores.ssim,
                "mse": scores.mse,
                "mae": scores.mae,
                "lr_psnr": lr_psnr,
                "seconds": seconds,
                "jpeg_quality": jpeg_quality,
            },
        )


CSV_COLUMNS = (
    *("set", "scale", "method", "image", "psnr", "ssim", "mse", "mae", "lr_psnr"),
    *("parameters", "multiply_adds", "seconds", "jpeg_quality", "protocol"),
)


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a row for each set, method and picture to ``path``, replacing a file there.

    After a method's pictures comes the row of their means, whose image is ``mean``.
    Infinite PSNR is written ``inf``; a missing value is empty.

    Raises ``OutputError`` if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in evaluation.sets:
        for method in each.methods:
            for name, row in figures(method):
                key = {
                    "set": each.dataset,
                    "scale": evaluation.scale,
                    "method": method.method,
                    "image": name,
                    "parameters": method.parameters,
                    "multiply_adds": method.multiply_adds,
                    "protocol": evaluation.protocol,
                }
                writer.writerow(key | row)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
