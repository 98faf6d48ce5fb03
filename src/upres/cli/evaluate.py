"""The command ``upres evaluate``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.console import progress_bar
from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import UsageError, needs_extra

PICTURES = "Test pictures"
REPORT = "Report"


def evaluate(
    models: Annotated[list[str], argument("MODEL")],
    data: Annotated[
        list[Path],
        option(
            *("--data", "-d"),
            takes="PATH",
            help="A benchmark set's folder, or a tar file of pictures; may be repeated.",
            panel=PICTURES,
        ),
    ],
    scale: Annotated[
        int | None,
        option(
            *("--scale", "-s"),
            takes="FACTOR",
            help="2, 3 or 4 (default: the model's largest).",
            panel=PICTURES,
        ),
    ] = None,
    jpeg: Annotated[
        str | None,
        option(
            "--jpeg",
            takes="QUALITY",
            help="Make JPEG files of the LR pictures first: of a quality, such as 60, or of one "
            "drawn for each picture from a range, such as 30-90.",
            panel=PICTURES,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        option("--seed", takes="NUMBER", help="Draws the qualities (default: 0).", panel=PICTURES),
    ] = None,
    output: Annotated[
        Path,
        option(
            *("--output", "-o"),
            takes="FOLDER",
            help="For the report, JSON and CSV files.",
            panel=REPORT,
        ),
    ] = Path("upres-evaluation"),
    show: Annotated[
        list[str] | None,
        option(
            "--show",
            takes="NAME",
            help="A picture for the report; may be repeated (default: the two of each set on "
            "which the models differ most from bicubic).",
            panel=REPORT,
        ),
    ] = None,
    report: Annotated[
        bool, option("--report/--no-report", help="Write the HTML report.", panel=REPORT)
    ] = True,
    record: Annotated[
        bool,
        option("--record", help="Write the scores into the model files' cards.", panel=REPORT),
    ] = False,
) -> None:
    """Measure models on benchmark sets, beside bicubic, and write a report.

    A MODEL is a shipped model's name, an .onnx file, or a checkpoint (.pt or .safetensors); all
    are of one scale.
    """
    set_up_libvips()
    from rich.console import Console

    from upres.evaluation.compression import jpeg_of_options
    from upres.evaluation.models import is_checkpoint, open_models
    from upres.evaluation.outputs import evaluate_into
    from upres.evaluation.record import record_scores
    from upres.evaluation.tables import table

    if record and (checkpoint := next(filter(is_checkpoint, models), None)):
        raise UsageError(f"{checkpoint}: --record needs an .onnx file; export it first")
    compression = jpeg_of_options(jpeg, seed)
    console = Console()
    with (
        open_models(models, scale=scale, to_onnx=export_checkpoint) as subjects,
        progress_bar(quiet=False) as progress,
    ):
        task = progress.add_task("evaluating", total=None)
        evaluation, written = evaluate_into(
            output,
            [subject.model for subject in subjects],
            data,
            sources=[subject.source for subject in subjects],
            jpeg=compression,
            show=show or (),
            report=report,
            progress=lambda text: progress.update(task, description=text),
        )
    console.print(table(evaluation))
    for path in written:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    for subject in subjects if record else ():
        record_scores(subject.source, evaluation)
        console.print(f"recorded the scores in {subject.source}", soft_wrap=True)


def export_checkpoint(source: Path, target: Path) -> None:
    """Make a model file of a checkpoint; raises ``MissingExtraError`` without training's extra."""
    with needs_extra("evaluating a checkpoint", "train"):
        from upres.training.export import to_onnx
    to_onnx(source, target)
