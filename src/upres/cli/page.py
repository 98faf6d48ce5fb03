"""The command ``upres page``: calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.help import argument, option


def page(
    folder: Annotated[str, argument("FOLDER")],
    runtime: Annotated[
        str | None,
        option(
            "--runtime",
            takes="FOLDER",
            help="Where onnxruntime-web is (default: node_modules here or above).",
        ),
    ] = None,
) -> None:
    """Write the page as files for any web server; models run in the browser.

    FOLDER gets the page, the models, and the runtime of models in browsers, which is the package
    onnxruntime-web of npm. Once loaded, the page asks the network for nothing more.
    """
    from upres.service.static_page import write_static_page

    written = write_static_page(Path(folder), None if runtime is None else Path(runtime))
    print(f"wrote {folder}, {written / 1e6:,.0f} MB: python -m http.server -d {folder} shows it")
