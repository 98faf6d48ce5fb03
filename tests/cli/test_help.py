"""The help of every command: no types of Python, and 80 columns, as they are without a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer.main

from upres.cli.help import PARTS
from upres.cli.main import app

COMMANDS = ["", *sorted(PARTS)]
TYPES = re.compile(r"[<>{}]|\b(bool|str|int|float|BOOLEAN|TEXT|INTEGER|FLOAT)\b|list\[|LIST\[")


def help_of(command: str) -> str:
    # Without COLUMNS, as where nothing says how wide the output is; without what forces colours.
    passed_on = ("PATH", "PYTHONPATH", "SYSTEMROOT", "HOME")
    result = subprocess.run(
        [sys.executable, "-m", "upres", *command.split(), "--help"],
        env={name: os.environ[name] for name in passed_on if name in os.environ}
        | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_no_types_and_80_columns(command: str) -> None:
    told = help_of(command)
    # Between the usage and the examples, where the shell's signs have their own meaning.
    lines = told.partition("Examples:")[0].splitlines()
    assert [line for line in lines if TYPES.search(line)] == []
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told


@pytest.mark.parametrize("name", COMMANDS[1:])
def test_a_command_is_told_of_as_its_own_text_begins(name: str) -> None:
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    assert command.help.split("\n\n")[0] == PARTS[name]


def test_one_command_loads_no_other() -> None:
    code = "import sys; sys.argv = ['upres', 'models', '--help']; from upres.cli.main import main"
    code += "\ntry: main()\nfinally: print([n for n in sys.modules if n.startswith('upres.cli.')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = result.stdout.splitlines()[-1]
    assert "upres.cli.models" in loaded
    assert "upres.cli.enlarge" not in loaded
    assert "upres.cli.train" not in loaded


@pytest.mark.parametrize("name", COMMANDS[1:])
def test_every_option_says_what_it_does_and_takes(name: str) -> None:
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    told = " ".join(re.sub("[│╭╮╰╯─]", " ", help_of(name)).split())
    for param in command.params:
        if param.param_type_name == "argument":
            # The usage names it, and the text tells of it.
            assert told.count(param.metavar) >= 2, param.name
            continue
        assert param.help, param.name
        assert bool(param.metavar) is not param.is_flag, param.name
        assert param.opts[0] in told
        assert param.help in told


def test_options_of_enlarge_stand_in_groups() -> None:
    groups = ["How large", "Which model, and where it runs", "Results", "Runs over many files"]
    told = help_of("enlarge")
    places = [told.index(f"─ {group} ─") for group in [*groups, "Other"]]
    assert places == sorted(places)
    assert "─ Options ─" not in told
    for option, group in (("--fit", 0), ("--model", 1), ("--force", 2), ("--resume", 3)):
        assert places[group] < told.index(option) < places[group + 1]
