"""The command ``upres compare``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
