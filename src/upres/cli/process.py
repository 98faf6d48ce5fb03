"""Settings of the whole process. The command makes them; the library leaves its host's alone."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

SWITCH_SECONDS = 0.0005
"""How long a thread keeps Python's lock when another waits for it; Python's own value is ten
times that."""

OBJECTS_MADE = 20_000
"""After so many new objects Python looks for circles of them that nobody has any more, and not
after 700. There are hardly any: it would take a twentieth of the time of small pictures, and of
loading the command."""

_STANDARD_ERROR = 2


@contextmanager
def ctrl_c_ends_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process without a word meanwhile, as while the command is loaded."""
    # Whoever started this in the background may have it ignore Ctrl-C: so it stays.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def look_for_circles_seldom() -> None:
    """Have Python's collector of garbage run less often; see ``OBJECTS_MADE``."""
    gc.set_threshold(OBJECTS_MADE, *gc.get_threshold()[1:])


def set_up() -> None:
    """Set the environment that NumPy and libvips look at when they are loaded, and signals.

    It loads nothing.
    """
    # NumPy's products of matrices, small ones here, on the thread that asks for them: others would
    # spin afterwards, in case there is another, on the cores that the engine wants.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # libvips would print its warnings, which name no file, straight to standard error.
    os.environ.setdefault("VIPS_WARNING", "0")
    # Loaders that libvips itself calls unsafe for files from strangers.
    os.environ["VIPS_BLOCK_UNTRUSTED"] = "1"
    # The encoder of AV1 would tell of itself on standard error.
    os.environ.setdefault("SVT_LOG", "0")
    # What fetches models from repositories shows bars of its own, and tells of itself.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # A request to terminate unwinds as Ctrl-C does, so that nothing temporary is left.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def keep_libraries_quiet() -> None:
    """Leave standard error to the command's own words, for commands that open pictures.

    Some libraries, as OpenEXR's, write there by themselves on a damaged file, and the command says
    it in a line of its own. They write to the descriptor of the process, which leads nowhere then;
    Python gets another one to the same place.
    """
    try:
        if sys.stderr.fileno() != _STANDARD_ERROR:
            return  # as after the first call
        sys.stderr.flush()
        own = os.dup(_STANDARD_ERROR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding=encoding, errors=errors)
    os.dup2(nowhere, _STANDARD_ERROR)
    os.close(nowhere)
    _pass_over_words_of_gdal()


def _pass_over_words_of_gdal() -> None:
    """Have Python not tell of words of GDAL's that rasterio cannot log, as they are no UTF-8.

    Such are those that quote a damaged file. Errors among them reach the command all the same.
    """
    tell_ignored, tell = sys.unraisablehook, sys.excepthook

    def ignored(found: sys.UnraisableHookArgs) -> None:
        if not (found.exc_type is UnicodeDecodeError and "rasterio" in str(found.object)):
            tell_ignored(found)

    def raised(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        # Of one that is ignored there is none: it is told of before the other hook is.
        if not (kind is UnicodeDecodeError and traceback is None):
            tell(kind, error, traceback)

    sys.unraisablehook, sys.excepthook = ignored, raised


def set_up_libvips(threads: int | None = None) -> None:
    """Load libvips and set the rest of its settings; for commands that open pictures.

    It may use so many ``threads`` for a picture, or, without a number, as many as this process may
    use processors, unless the user's own ``VIPS_CONCURRENCY`` says it.
    """
    if threads is not None:
        os.environ["VIPS_CONCURRENCY"] = str(max(1, threads))
    else:
        from upres.engine.machine import usable_processors

        os.environ.setdefault("VIPS_CONCURRENCY", str(usable_processors()))
    import pyvips

    # It would keep memory for the next file that has the same name, for nothing.
    pyvips.cache_set_max(0)


def share_python_s_lock() -> None:
    """Let threads that come back from the engine or from libvips have Python's lock sooner.

    Else they wait for it for longer than most of their work takes: a tenth of the time of small
    pictures.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
