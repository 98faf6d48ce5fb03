from __future__ import annotations

import pytest
import typer.main

from upres.cli.console import as_flag
from upres.cli.main import app
from upres.errors import Remedy


@pytest.mark.parametrize(
    ("command", "remedy", "text"),
    [
        ("enlarge", Remedy("existing", "", "replace"), "--force"),
        ("enlarge", Remedy("existing", "", "skip"), "--skip-existing"),
        ("enlarge", Remedy("max_pixels", ""), "--max-pixels"),
        ("evaluate", Remedy("jpeg", ""), "--jpeg"),
        ("evaluate", Remedy("report", "", True), "--report"),
        ("evaluate", Remedy("report", "", False), "--no-report"),
        ("export", Remedy("force", "", True), "--force"),
        ("export", Remedy("scale", "", "2"), "--scale 2"),
        ("train", Remedy("data", ""), "--data"),
        ("train", Remedy("overrides", ""), "--set"),
        ("train", Remedy("resume", "", True), "--resume"),
        ("train", Remedy("run", ""), "--output"),
    ],
)
def test_a_remedy_names_an_option_of_its_command(command: str, remedy: Remedy, text: str) -> None:
    assert as_flag(remedy) == text
    group = typer.main.get_command(app)
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    flags = {flag for each in parameters for flag in (*each.opts, *each.secondary_opts)}
    assert text.split(" ")[0] in flags
