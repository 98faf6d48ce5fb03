"""The command: parses, calls, prints."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from upres import __version__
from upres.cli.console import complain, progress_bar, say, show_anything
from upres.cli.enlarge import enlarge
from upres.errors import UpresError, UsageError, needs_extra

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command; errors that users can meet are one line each, without a traceback."""
    # A request to terminate unwinds as Ctrl-C does, so that nothing temporary is left.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    show_anything()
    try:
        app(standalone_mode=True)
    except UpresError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("upres: interrupted")
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has gone
        if sys.stderr is not None:
            sys.stderr.close()
        sys.exit(1)
    except UnicodeEncodeError as error:
        near = error.object[max(0, error.start - 40) : error.end + 20]
        complain(UpresError(f"{near!r}: a file's name is not valid UTF-8, rename it"))
        sys.exit(1)
    except (OSError, MemoryError) as error:
        complain(UpresError(str(error) or "out of memory"))
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"upres {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Enlarge pictures 2x, 3x or 4x with residual networks."""


app.command()(enlarge)


@app.command()
def models() -> None:
    """List the shipped models, with their scores, size and training data."""
    from rich.console import Console
    from rich.table import Table

    from upres.models import open_model, shipped_models

    console = Console()
    table = Table("model", "scale", "parameters", "file", "precision", "trained for", "PSNR / SSIM")
    trained_on: dict[str, list[str]] = {}
    measured_by: dict[str, list[str]] = {}
    for name, scales in shipped_models().items():
        for scale, path in sorted(scales.items()):
            card = open_model(name, scale=scale).card
            scores = (f"{s.dataset} {s.psnr:.2f} / {s.ssim:.4f}" for s in card.scores)
            table.add_row(
                name,
                f"x{scale}",
                f"{card.parameter_count:,}" if card.parameter_count else "?",
                f"{path.stat().st_size / 1e6:.1f} MB",
                f"{card.precision}{', self-ensembled' if card.self_ensemble else ''}",
                card.degradation,
                "\n".join(scores) or "not measured",
            )
            trained_on.setdefault(card.data, []).append(f"{name} x{scale}")
            if card.protocol:
                measured_by.setdefault(card.protocol, []).append(f"{name} x{scale}")
    console.print(table)
    for data, labels in trained_on.items():
        console.print(f"{', '.join(labels)}: trained on {data}.", highlight=False)
    for protocol, labels in measured_by.items():
        console.print(f"PSNR in dB and SSIM of {', '.join(labels)}: {protocol}.", highlight=False)


@app.command()
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
    from upres.evaluation.models import is_checkpoint, open_models
    from upres.evaluation.outputs import evaluate_into
    from upres.evaluation.record import record_scores
    from upres.evaluation.tables import table

    if record and (checkpoint := next(filter(is_checkpoint, models), None)):
        raise UsageError(f"{checkpoint}: --record needs an .onnx file; export it first")
    compression, console = jpeg_of_options(jpeg, seed), Console()
    opened = open_models(models, scale=scale, to_onnx=_export_checkpoint)
    with opened as subjects, progress_bar(quiet=False) as progress:
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


def _export_checkpoint(source: Path, target: Path) -> None:
    with needs_extra("evaluating a checkpoint", "train"):
        from upres.training.export import to_onnx
    to_onnx(source, target)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of training runs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the page, curves and table.")
    ] = Path("upres-comparison"),
) -> None:
    """Compare training runs: recipes, curves and results."""
    from rich.console import Console

    from upres.evaluation.comparison import cautions, table
    from upres.evaluation.outputs import compare_into

    loaded, written = compare_into(output, runs)
    console = Console()
    console.print(table(loaded))
    for line in (*cautions(loaded), *(f"wrote {path}" for path in written)):
        console.print(line, highlight=False, soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe; see recipes/.")],
    data: Annotated[
        Path,
        typer.Option("--data", "-d", help="Folder that the recipe's sources are relative to."),
    ] = Path(),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The run's folder (default: runs/ and the recipe's name)."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: --set optimiser.steps=100"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder that keeps decoded pictures for later runs."),
    ] = None,
) -> None:
    """Train a network from a recipe, and export it as a model file."""
    with needs_extra("upres train", "train"):
        from upres.training.config import load_recipe
        from upres.training.loop import leave
        from upres.training.loop import train as train_recipe

    train_recipe(
        load_recipe(recipe, overrides or ()),
        data=data,
        run=output or Path("runs") / recipe.stem,
        resume=resume,
        recipe_path=recipe,
        cache=cache,
    )
    leave()


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="A run's .pt or .safetensors, a community checkpoint (.pth), or, for --int8, "
            "--half and --self-ensemble, an .onnx file."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .onnx file (default: beside the source)."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", "-s", help="The scale that it must have.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise the model: two to four times as fast.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder or tar file of typical pictures, for --int8."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights in float16: half the file, as fast.")
    ] = False,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble",
            help="Let the model take the mean over the eight ways to flip and turn a picture: "
            "better, in eight times the time.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    """Turn trained weights, of upres or of other projects, into a model file."""
    if int8 != (images is not None):
        raise UsageError("--int8 and --images go together: the pictures show what values occur")
    if int8 and half:
        raise UsageError("give one of --int8 and --half: in int8, the weights take less room still")
    if self_ensemble and (int8 or half):
        raise UsageError(
            "give --self-ensemble alone, and then --int8 or --half with the file that it writes"
        )
    if images is not None or half:
        with needs_extra(f"upres export --{'half' if half else 'int8'}", "train"):
            from upres.training.quantise import to_int8
            from upres.training.variants import to_half

        if images is not None:
            path, card, difference = to_int8(source, images, output, scale=scale, force=force)
        else:
            path, card, difference = to_half(source, output, scale=scale, force=force)
        what = "weights in float16" if half else "int8"
        away = f"{255 * difference:.2g} grey levels from fp32 (root mean square)"
        print(f"wrote {path}: {card.network}, x{card.scale}, {what}, {away}")
        return
    with needs_extra("upres export", "train"):
        from upres.training.export import to_onnx
        from upres.training.variants import to_self_ensemble

    make = to_self_ensemble if self_ensemble else to_onnx
    path, card = make(source, output, scale=scale, force=force)
    ensembled = ", self-ensembled" if self_ensemble else ""
    print(f"wrote {path}: {card.network}, x{card.scale}{ensembled}")
