"""The command ``upres evaluate``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upres.cli.console import progress_bar
from upres.errors import UsageError, needs_extra


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Shipped models' names, .onnx files, or checkpoints (.pt, .safetensors), "
            "of one scale."
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            "-d",
            help="A benchmark set's folder, or a tar file of pictures; may be given repeatedly.",
        ),
    ],
    scale: Annotated[int | None, typer.Option("--scale", "-s", help="2, 3 or 4.")] = None,
    jpeg: Annotated[
        str | None,
        typer.Option(
            "--jpeg",
            metavar="QUALITY",
            help="Measure on LR pictures that are JPEG files of a quality, such as 60, or of one "
            "drawn for each picture from a range, such as 30-90.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draws the qualities (default: 0).")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the report, JSON and CSV files.")
    ] = Path("upres-evaluation"),
    show: Annotated[
        list[str] | None,
        typer.Option(
            "--show",
            help="A picture for the report, by name; may be given repeatedly (default: the two "
            "of each set on which the models differ most from bicubic).",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write the HTML report.")
    ] = True,
    record: Annotated[
        bool, typer.Option("--record", help="Write the scores into the model files' cards.")
    ] = False,
) -> None:
    """Measure models on benchmark sets, beside bicubic, and write a report."""
    from rich.console import Console

    from upres.evaluation.compression import jpeg_of_options
    from upres.evaluation.models import is_checkpoint, load_models
    from upres.evaluation.outputs import evaluate_into
    from upres.evaluation.record import record_scores
    from upres.evaluation.tables import table

    if record and (checkpoint := next(filter(is_checkpoint, models), None)):
        raise UsageError(f"{checkpoint}: --record needs an .onnx file; export it first")
    compression = jpeg_of_options(jpeg, seed)
    loaded = load_models(models, scale=scale, to_onnx=_export_checkpoint)
    console = Console()
    with progress_bar(quiet=False) as progress:
        task = progress.add_task("evaluating", total=None)
        evaluation, written = evaluate_into(
            output,
            loaded,
            data,
            jpeg=compression,
            show=show or (),
            report=report,
            progress=lambda text: progress.update(task, description=text),
        )
    console.print(table(evaluation))
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    for model in loaded if record else ():
        record_scores(model.path, evaluation)
        console.print(f"recorded the scores in {model.path}", soft_wrap=True)


def _export_checkpoint(source: Path, target: Path) -> None:
    with needs_extra("evaluating a checkpoint", "train"):
        from upres.training.export import to_onnx
    to_onnx(source, target)
