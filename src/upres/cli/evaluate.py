"""The command ``upres evaluate``: parses, calls, prints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from upres.cli.console import progress_bar
from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import UsageError, needs_extra

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PICTURES = "Test pictures"
REPORT = "Report"


def evaluate(
    models: Annotated[list[str], argument("MODEL")],
    data: Annotated[
        list[Path],
        option(
            *("--data", "-d"),
            takes="PATH",
            help="A benchmark set's folder, a tar file of pictures, or a video; may be repeated.",
            panel=PICTURES,
        ),
    ],
    scale: Annotated[
        int | None,
        option(
            *("--scale", "-s"),
            takes="FACTOR",
            help="1, 2, 3 or 4 (default: the model's largest).",
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
    are of one scale. A video is measured frame by frame, and how it flickers; there is no report.
    """
    set_up_libvips()
    from rich.console import Console

    from upres.evaluation.compression import jpeg_of_options
    from upres.evaluation.models import is_checkpoint, open_models
    from upres.evaluation.outputs import evaluate_into
    from upres.evaluation.record import record_scores
    from upres.evaluation.tables import table
    from upres.runs.video import is_video

    if any(map(is_video, data)):
        if not all(map(is_video, data)) or jpeg or seed is not None or show or record:
            raise UsageError(
                "a video is measured frame by frame, by itself: give no sets of pictures, --jpeg, "
                "--seed, --show and --record beside it"
            )
        _evaluate_videos(models, data, scale, output)
        return
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


def _evaluate_videos(
    models: list[str], videos: list[Path], scale: int | None, output: Path
) -> None:
    """Measure models on the frames of videos, and print a line for each method and video."""
    from rich.console import Console

    from upres.evaluation.models import open_models
    from upres.evaluation.tables import file_stem
    from upres.evaluation.video import (
        evaluate_video,
        video_table,
        write_video_scores,
    )
    from upres.files import make_folder

    console = Console()
    make_folder(output)
    with open_models(models, scale=scale, to_onnx=export_checkpoint) as subjects:
        opened = [subject.model for subject in subjects]
        sources = [subject.source for subject in subjects]
        factor = opened[0].card.scale
        for video in videos:
            with progress_bar(quiet=False) as progress:
                task = progress.add_task("evaluating", total=None)
                tell = partial(_tell, progress, task)
                scores = evaluate_video(opened, video, sources=sources, progress=tell)
            stem = output / file_stem([video.stem, *(m.card.name for m in opened)], factor)
            console.print(video_table(scores, video, factor))
            written = write_video_scores(scores, video, factor, stem)
            console.print(f"wrote {written}", highlight=False, soft_wrap=True)


def _tell(bar: Progress, task: TaskID, text: str) -> None:
    bar.update(task, description=text)


def export_checkpoint(source: Path, target: Path) -> None:
    """Make a model file of a checkpoint; raises ``MissingExtraError`` without training's extra."""
    with needs_extra("evaluating a checkpoint", "train"):
        from upres.training.export import to_onnx
    to_onnx(source, target)
