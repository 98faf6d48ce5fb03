"""Lists of files: what each result is called, and that one bad file stops no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from upres.errors import OutputError, UpresError, UsageError
from upres.formats import make_folder
from upres.formats.photo import check_output, open_photo, write_photo
from upres.inference import Progress, enlarge_rows
from upres.model import Model


def destinations(
    inputs: Sequence[Path], output: Path | None, *, scale: int
) -> list[tuple[Path, Path]]:
    """Pair each input with the file that it is to be enlarged to.

    Without ``output``, ``harbour.jpg`` becomes ``harbour_x4.jpg`` beside it. ``output`` is
    a folder if it is one or has no suffix; otherwise it is the one result's file.

    Raises ``UsageError`` if several inputs are to go to one file, ``OutputError`` if two
    of them would get one name.
    """
    if output is not None and not _is_folder(output):
        if len(inputs) > 1:
            raise UsageError(f"--output {output}: {len(inputs)} pictures need a folder, not a file")
        return [(inputs[0], output)]
    pairs = [
        (path, (output or path.parent) / f"{path.stem}_x{scale}{path.suffix}") for path in inputs
    ]
    taken: dict[Path, Path] = {}
    for path, target in pairs:
        if target in taken:
            raise OutputError(f"{target}: both {taken[target]} and {path} would be written here")
        taken[target] = path
    return pairs


def enlarge_file(
    source: Path,
    target: Path,
    model: Model,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Enlarge one picture file to another; nothing is written unless all of it is.

    Raises ``InputError`` if ``source`` cannot be read, ``OutputError`` if ``target``
    exists (unless ``force``) or cannot be written.
    """
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already; --force replaces it")
    photo = open_photo(source)
    scale = model.card.scale
    alpha = photo.channels in (2, 4)
    check_output(target, height=photo.height * scale, width=photo.width * scale, alpha=alpha)
    make_folder(target.parent)
    rows = enlarge_rows(
        photo.rows(), height=photo.height, width=photo.width, model=model, progress=progress
    )
    write_photo(target, rows, photo, scale=scale)


def enlarge_files(
    pairs: Sequence[tuple[Path, Path]],
    model: Model,
    *,
    force: bool = False,
    progress: Callable[[Path, float], None],
    finished: Callable[[Path], None],
    failed: Callable[[Path, UpresError], None],
) -> int:
    """Enlarge each source to its target; return how many failed.

    A failure does not stop the others. ``progress`` is told a source and the part of it
    that is done, ``finished`` each target, ``failed`` each source that failed, and why.
    """
    failures = 0
    for source, target in pairs:
        try:
            enlarge_file(source, target, model, force=force, progress=partial(progress, source))
        except UpresError as error:
            failures += 1
            failed(source, error)
        else:
            finished(target)
    return failures


def _is_folder(output: Path) -> bool:
    return output.is_dir() or output.suffix == ""
