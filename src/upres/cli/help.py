"""How help looks: an option's value is called by its meaning, and by no type of Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

OTHER = "Other"
"""The last group of options."""

PARTS = {
    "enlarge": "Enlarge pictures; colour profile, metadata, bit depth and transparency are kept.",
    "fuse": "Fuse several pictures of one scene to one that is better and larger.",
    "serve": "Serve a page in the browser, and pictures over HTTP.",
    "page": "Write the page as files for any web server; models run in the browser.",
    "models": "List the shipped models, or tell all that is known of one.",
    "evaluate": "Measure models on benchmark sets, beside bicubic, and write a report.",
    "compare": "Compare training runs: recipes, curves and results.",
    "train": "Train a network from a recipe, and export it as a model file.",
    "calibrate": "Give a model a head, which bounds the error of each pixel of its results.",
    "export": "Turn trained weights, of upres or of other projects, into a model file.",
}
"""The parts of the command, each a function in a module of its own, and how its text begins."""


def option(
    *names: str, help: str, takes: str = "", panel: str | None = None, **settings: Any
) -> Any:
    """An option of a command; ``takes`` names its value's meaning, and is empty for a switch."""
    return typer.Option(*names, help=help, metavar=takes, rich_help_panel=panel, **settings)


def argument(called: str) -> Any:
    """A command's argument; the command's text tells of it, by this name.

    typer's own table of arguments would show their types.
    """
    return typer.Argument(metavar=called, hidden=True)


class Command(TyperCommand):
    """A command; where its options are in groups, the last of these has ``--help``."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # typer breaks a paragraph, but for the first, where its source does.
        paragraphs = (self.help or "").split("\n\n")
        self.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        grouped = any(getattr(param, "rich_help_panel", None) for param in self.params)
        return _with_help_in(OTHER if grouped else None, params)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        # typer puts arguments that must be given in braces, which are for choices elsewhere.
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


class Parts(Mapping[str, Command]):
    """The commands of ``PARTS`` by name, each loaded when it is asked for.

    To load and make all of them takes a sixth of the time of ``upres --help``, and half as long as
    to enlarge a small picture.
    """

    def __init__(self) -> None:
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in PARTS:
            raise KeyError(name)
        if name not in self._made:
            module = import_module(f"upres.cli.{name}")
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            examples = getattr(module, "EXAMPLES", None)
            alone.command(name, cls=Command, epilog=examples)(getattr(module, name))
            made: Any = typer.main.get_command(alone)
            self._made[name] = made
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(PARTS)

    def __len__(self) -> int:
        return len(PARTS)


class Group(TyperGroup):
    """The command that the others are parts of."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        parts: Any = Parts()
        self.commands = parts
        self._tells = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._tells = True
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._tells and cmd_name in PARTS:  # whose options are not told of here
            return Command(cmd_name, help=PARTS[cmd_name])
        return super().get_command(ctx, cmd_name)

    def get_params(self, ctx: Any) -> Any:
        return _with_help_in(None, super().get_params(ctx))


def _with_help_in(panel: str | None, params: list[Any]) -> list[Any]:
    for param in params:
        if "--help" in param.opts:
            param.metavar = ""
            param.help = "Show this help and exit."
            param.rich_help_panel = panel
    return params
