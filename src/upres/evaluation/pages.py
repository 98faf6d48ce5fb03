"""HTML pages that hold all they need: they open from a file, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from upres.files import replacing


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill one of the templates that lie beside this module, and write it to ``path``.

    Text is escaped, unless it is ``markupsafe.Markup``. Raises ``OutputError`` if it
    cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(**values)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
