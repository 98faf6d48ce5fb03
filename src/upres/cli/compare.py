"""The command ``upres compare``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.help import argument, option


def compare(
    runs: Annotated[list[Path], argument("RUN")],
    output: Annotated[
        Path,
        option(
            *("--output", "-o"),
            takes="FOLDER",
            help="For the page, the curves and the table.",
        ),
    ] = Path("upres-comparison"),
) -> None:
    """Compare training runs: recipes, curves and results.

    A RUN is the folder of a training run.
    """
    from rich.console import Console

    from upres.evaluation.comparison import cautions, comparison_table
    from upres.evaluation.outputs import compare_into

    loaded, written = compare_into(output, runs)
    console = Console()
    console.print(comparison_table(loaded))
    for line in (*cautions(loaded), *(f"wrote {path}" for path in written)):
        console.print(line, highlight=False, soft_wrap=True)
