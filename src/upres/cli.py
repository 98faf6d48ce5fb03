"""The command: parses, calls, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from upres import __version__
from upres.errors import MissingExtraError, UpresError

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Run the command; errors that users can meet are one line each, without a traceback."""
    try:
        app(standalone_mode=True)
    except UpresError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("upres: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has gone
        sys.stderr.close()
        sys.exit(1)
    except (OSError, MemoryError) as error:
        _complain(UpresError(str(error) or "out of memory"))
        sys.exit(1)
    sys.exit(0)


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


@app.command()
def enlarge(
    pictures: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or TIFF files.")],
    scale: Annotated[
        int | None,
        typer.Option("--scale", "-s", help="2, 3 or 4 times (default: the model's largest)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file, or a folder (default: photo_x4.jpg beside photo.jpg)."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A shipped model's name, or an .onnx file."),
    ] = "fast",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Enlarge pictures; colour profile, metadata, bit depth and transparency are kept."""
    from upres import batch
    from upres.model import load_model

    loaded = load_model(model, scale=scale)
    pairs = batch.destinations(pictures, output, scale=loaded.card.scale)
    with _progress(quiet) as progress:
        tasks = {
            source: progress.add_task(source.name, total=1.0, start=False) for source, _ in pairs
        }

        def report(source: Path, part: float) -> None:
            progress.start_task(tasks[source])
            progress.update(tasks[source], completed=part)

        def failed(source: Path, error: UpresError) -> None:
            progress.remove_task(tasks[source])
            _complain(error)

        def finished(target: Path) -> None:
            if not quiet:
                progress.console.print(f"wrote {target}", soft_wrap=True, highlight=False)

        failures = batch.enlarge_files(
            pairs, loaded, force=force, progress=report, finished=finished, failed=failed
        )
    if failures:
        if len(pairs) > 1:
            print(f"upres: {failures} of {len(pairs)} pictures failed", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def models() -> None:
    """List the shipped models, with their scores, size and training data."""
    from rich.console import Console
    from rich.table import Table

    from upres.model import load_model, shipped_models

    console = Console()
    protocol = None
    table = Table("model", "scale", "parameters", "file", "precision", "trained for", "PSNR / SSIM")
    trained_on: dict[str, list[str]] = {}
    for name, scales in shipped_models().items():
        for scale, path in sorted(scales.items()):
            card = load_model(name, scale=scale).card
            protocol = protocol or card.protocol
            scores = (f"{s.dataset} {s.psnr:.2f} / {s.ssim:.4f}" for s in card.scores)
            table.add_row(
                name,
                f"x{scale}",
                f"{card.parameter_count:,}" if card.parameter_count else "?",
                f"{path.stat().st_size / 1e6:.1f} MB",
                card.precision,
                card.degradation,
                "\n".join(scores) or "not measured",
            )
            trained_on.setdefault(card.data, []).append(f"{name} x{scale}")
    console.print(table)
    for data, labels in trained_on.items():
        console.print(f"{', '.join(labels)}: trained on {data}.", highlight=False)
    if protocol:
        console.print(f"PSNR in dB and SSIM: {protocol}.", highlight=False)


@app.command()
def evaluate(
    models: Annotated[
        list[str], typer.Argument(help="Shipped models' names, or .onnx files, of one scale.")
    ],
    data: Annotated[
        list[Path],
        typer.Option("--data", "-d", help="A benchmark set's folder; may be given repeatedly."),
    ],
    scale: Annotated[int | None, typer.Option("--scale", "-s", help="2, 3 or 4.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the JSON and CSV files.")
    ] = Path("upres-evaluation"),
    record: Annotated[
        bool, typer.Option("--record", help="Write the scores into the model files' cards.")
    ] = False,
) -> None:
    """Measure models on benchmark sets, beside bicubic."""
    from rich.console import Console

    from upres.evaluation import benchmark, tables
    from upres.formats import make_folder
    from upres.model import load_model

    loaded = [load_model(model, scale=scale) for model in models]
    make_folder(output)  # before the work, not after it
    console = Console()
    with _progress(quiet=False) as progress:
        task = progress.add_task("evaluating", total=None)
        evaluation = benchmark.evaluate(
            loaded, data, progress=lambda name: progress.update(task, description=name)
        )
    console.print(tables.table(evaluation))
    name = "-".join(dict.fromkeys(model.card.name for model in loaded))
    stem = output / f"{name}-x{evaluation.scale}"
    for suffix, write in ((".json", tables.write_json), (".csv", tables.write_csv)):
        path = stem.with_name(stem.name + suffix)
        write(evaluation, path)
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if record:
        from upres.evaluation.record import record_scores

        for model in loaded:
            record_scores(model.path, evaluation)
            console.print(f"recorded the scores in {model.path}", soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe; see recipes/.")],
    data: Annotated[
        Path,
        typer.Option("--data", "-d", help="Folder that the recipe's sources are relative to."),
    ] = Path(),
    run: Annotated[
        Path | None,
        typer.Option("--run", help="The run's folder (default: runs/ and the recipe's name)."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: --set optimiser.steps=100"),
    ] = None,
) -> None:
    """Train a network from a recipe, and export it as a model file."""
    try:
        from upres.training.config import load_recipe
        from upres.training.loop import train as train_recipe
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("upres"):
            raise
        raise MissingExtraError("upres train", "train") from None

    train_recipe(
        load_recipe(recipe, overrides or ()),
        data=data,
        run=run or Path("runs") / recipe.stem,
        resume=resume,
        recipe_path=recipe,
    )


def _progress(quiet: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Bars belong on a terminal; in a log they are noise.
    return Progress(console=console, disable=quiet or not console.is_terminal)


def _complain(error: UpresError) -> None:
    print(f"upres: {error}", file=sys.stderr)
