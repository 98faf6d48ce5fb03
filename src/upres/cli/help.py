"""How help looks: an option's value is called by its meaning, and by no type of Python."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

OTHER = "Other"
"""The last group of options."""


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


class Group(TyperGroup):
    """The command that the others are parts of."""

    def get_params(self, ctx: Any) -> Any:
        return _with_help_in(None, super().get_params(ctx))


def _with_help_in(panel: str | None, params: list[Any]) -> list[Any]:
    for param in params:
        if "--help" in param.opts:
            param.metavar = ""
            param.help = "Show this help and exit."
            param.rich_help_panel = panel
    return params
