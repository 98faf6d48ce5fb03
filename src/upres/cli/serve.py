"""The command ``upres serve``: parses, calls, prints."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Literal

from upres.cli.console import say
from upres.cli.enlarge_options import QuietOption
from upres.cli.help import option
from upres.cli.process import keep_libraries_quiet, set_up_libvips, share_python_s_lock
from upres.errors import UsageError, needs_extra

TOKEN = "UPRES_TOKEN"
"""The environment variable of the token, which a list of processes does not show."""

WHERE = "Where it listens, and who may ask"
MUCH = "How much it takes on"


def serve(
    host: Annotated[
        str,
        option(
            "--host",
            takes="ADDRESS",
            help="Where it listens (default: 127.0.0.1, this machine alone).",
            panel=WHERE,
            show_default=False,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        option(
            "--port",
            takes="NUMBER",
            help="0 takes any that is free (default: 8765).",
            panel=WHERE,
            show_default=False,
        ),
    ] = 8765,
    token: Annotated[
        str | None,
        option(
            "--token",
            takes="SECRET",
            help=f"Has to come with each request; {TOKEN} in the environment hides it better.",
            panel=WHERE,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        option(
            "--name",
            takes="NAME",
            help="By which it may be called, beside its address; may be repeated.",
            panel=WHERE,
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        option(
            "--origin",
            takes="SITE",
            help="Whose pages may ask it (CORS), as https://example.org; may be repeated.",
            panel=WHERE,
        ),
    ] = None,
    open_page: Annotated[
        bool, option("--open", help="Open the page in the browser.", panel=WHERE)
    ] = False,
    workers: Annotated[
        int | None,
        option(
            "--workers",
            takes="NUMBER",
            help="Pictures that are enlarged at once (default: 2 to 4, by the processors).",
            panel=MUCH,
        ),
    ] = None,
    memory: Annotated[
        int | None,
        option(
            "--memory",
            takes="MEGABYTES",
            help="Of all its processes, at most (default: three quarters of what there is).",
            panel=MUCH,
        ),
    ] = None,
    places: Annotated[
        int,
        option(
            "--places",
            takes="NUMBER",
            help="Requests at once; others are told when to come back (default: 32).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 32,
    seconds: Annotated[
        float,
        option(
            "--seconds",
            takes="SECONDS",
            help="Of a request, its wait included, at most (default: 300).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 300,
    job_seconds: Annotated[
        float,
        option(
            "--job-seconds",
            takes="SECONDS",
            help="The same of a job (default: 3600).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 3600,
    keep: Annotated[
        float,
        option(
            "--keep",
            takes="SECONDS",
            help="How long a job's result waits to be fetched (default: 600).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 600,
    grace: Annotated[
        float,
        option(
            "--grace",
            takes="SECONDS",
            help="That work gets to end when the service is to (default: 30).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 30,
    max_upload: Annotated[
        int,
        option(
            "--max-upload",
            takes="MEGABYTES",
            help="Of a picture's file, at most (default: 256).",
            panel=MUCH,
            show_default=False,
        ),
    ] = 256,
    max_pixels: Annotated[
        int | None,
        option(
            "--max-pixels",
            takes="PIXELS",
            help="Refuse larger results (default: 1,073,741,824).",
            panel=MUCH,
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        option(
            "--device",
            takes="NAME",
            help="cpu, gpu, or auto (default): a GPU where ONNX Runtime has one.",
            panel=MUCH,
            show_default=False,
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        option(
            "--threads",
            takes="NUMBER",
            help="Of the processor for each picture, at most (default: what the container leaves, "
            "or all).",
            panel=MUCH,
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Serve a page in the browser, and pictures over HTTP.

    It listens to this machine alone, unless --host says otherwise; then it needs a token. Nothing
    of a picture is kept once its result is fetched. Ctrl-C and SIGTERM let the work under way end.
    """
    set_up_libvips(threads)
    share_python_s_lock()
    with needs_extra("upres serve", "serve"):
        from upres.service.server import run
    from upres.engine.backends import default_backend
    from upres.enlarging.options import MAX_PIXELS
    from upres.service.settings import Settings

    given = {"--token": token, TOKEN: os.environ.get(TOKEN)}
    for called, value in given.items():
        if value == "":  # whoever sets it wants one
            raise UsageError(f"{called}: is empty: leave it out, or give it a value")
    settings = Settings(
        host=host,
        port=port,
        token=token or given[TOKEN],
        names=tuple(name or ()),
        origins=tuple(origin or ()),
        workers=workers,
        memory=None if memory is None else memory * 10**6,
        places=places,
        seconds=seconds,
        job_seconds=job_seconds,
        kept_seconds=keep,
        grace_seconds=grace,
        upload_bytes=max_upload * 10**6,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        backend_of=partial(default_backend, device, threads),
        prepare=partial(_prepare, threads),
    )
    settings.backend_of()  # that there is such a device, before anyone asks

    def started(address: str) -> None:
        if not quiet:
            say(f"upres: serving at {address} (Ctrl-C ends it)")
        if open_page:
            import webbrowser

            # The part behind # stays in the browser.
            webbrowser.open(address + (f"#token={settings.token}" if settings.token else ""))

    run(settings, started=started)


def _prepare(threads: int | None) -> None:
    """Make the settings of a process that opens pictures."""
    set_up_libvips(threads)
    keep_libraries_quiet()
