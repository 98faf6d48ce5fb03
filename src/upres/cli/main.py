"""The command: its parts, and how each ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from upres import __version__
from upres.cli import process
from upres.cli.console import complain, say, show_anything
from upres.cli.help import Group, option
from upres.errors import UpresError
from upres.files import is_full_disk

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command; errors that users can meet are one line each, without a traceback."""
    process.set_up()
    show_anything()
    try:
        app(standalone_mode=True)
    except UpresError as error:
        complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("upres: interrupted")
        sys.exit(130)
    except SystemExit as end:
        # The command line's library makes one of an interruption that nobody took, without a word.
        if isinstance(end.__context__ and end.__context__.__cause__, KeyboardInterrupt):
            say("upres: interrupted")
        raise
    except BrokenPipeError:  # whoever read the output has gone
        if sys.stderr is not None:
            sys.stderr.close()
        sys.exit(1)
    except UnicodeEncodeError as error:
        near = error.object[max(0, error.start - 40) : error.end + 20]
        complain(UpresError(f"{near!r}: a file's name is not valid UTF-8, rename it"))
        sys.exit(1)
    except OSError as error:
        complain(UpresError(_told(error)))
        sys.exit(1)
    except MemoryError as error:
        complain(UpresError(str(error) or "out of memory"))
        sys.exit(1)


def _told(error: OSError) -> str:
    """The words on a file, or on a stream, which has no name."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    if is_full_disk(error):
        return f"cannot write: {reason}: make room, or redirect standard output elsewhere"
    return f"cannot read or write: {reason}"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"upres {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        option("--version", callback=_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Enlarge pictures 2x, 3x or 4x with residual networks."""
