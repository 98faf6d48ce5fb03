"""Writes the first table of ``formats.md`` from the rows of ``upres.formats.registry``."""

from __future__ import annotations

import re
from pathlib import Path

from upres.formats.registry import FORMATS, Format

PAGE = Path(__file__).with_name("formats.md")

BEGIN, END = "<!-- formats -->\n", "<!-- end -->\n"

HEAD = [
    *("format", "suffixes", "", "samples", "alpha", "CMYK", "other bands", "linear light"),
    *("animations", "pages", "longest side", "extra"),
]


def cells(row: Format) -> list[str]:
    """A format's line, cell by cell."""

    def yes(holds: bool) -> str:
        return "yes" if holds else "-"

    return [
        row.name,
        " ".join(row.suffixes),
        "read, written" if row.writes else "read",
        ", ".join(row.types) or "-",
        yes(row.alpha),
        yes(row.cmyk),
        yes(row.others),
        yes(row.linear),
        yes(row.frames),
        yes(row.pages),
        f"{row.longest_side:,}" if row.longest_side else "-",
        row.extra or "-",
    ]


def table() -> str:
    """The table, in Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *map(cells, FORMATS)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Put the table into the page."""
    text = PAGE.read_text("utf-8")
    text = re.sub(f"{BEGIN}.*?{END}", lambda _: BEGIN + table() + END, text, flags=re.DOTALL)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
