"""The exceptions that upres raises on purpose.

Every message is one line, names the file or value at fault, and says what to do.
The command prints the message alone; a program can catch ``UpresError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UpresError(Exception):
    """Base of every error that upres raises on purpose."""

    exit_code = 1


class InputError(UpresError):
    """A file that is to be read is missing, damaged or of a kind not handled."""


class OutputError(UpresError):
    """A file or folder cannot be written, or would be overwritten."""


class ExistsError(OutputError):
    """A file is there that is not to be replaced."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: exists already; --force replaces it, --skip-existing keeps it")


class ModelError(UpresError):
    """A model is missing, is not a super-resolution model, or does not fit the request."""


class RecipeError(UpresError):
    """A training recipe has an unknown key, a wrong type or a value out of range."""


class TrainingError(UpresError):
    """Training cannot start or cannot go on."""


class TrainingInterrupted(TrainingError):  # noqa: N818  # it is no error of anyone's
    """Training was asked to stop, and has saved all that it needs to go on."""

    exit_code = 130


class MissingExtraError(UpresError):
    """A part of upres needs packages that its base installation does not have."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs more packages: pip install 'upres[{extra}]'")


class UsageError(UpresError):
    """The options of a command contradict each other."""

    exit_code = 2


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Around imports: raise ``MissingExtraError`` if a package of ``extra`` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("upres"):
            raise
        raise MissingExtraError(feature, extra) from None
