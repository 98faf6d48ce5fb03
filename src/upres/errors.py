"""The exceptions that upres raises on purpose.

Every message is one line, names the file or value at fault, and a way out. A choice that
would mend it is data, a ``Remedy``: Python's text names the keyword, the command's its flag, and a
service can send the code. A program catches ``UpresError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Remedy:
    """A choice that would mend an error."""

    option: str
    """The name of an option, as Python's keywords have it: ``max_pixels``."""
    effect: str
    """A verb and its object, to follow the option's name: ``allows more``."""
    value: str | bool | None = None
    """The value to give the option; ``None`` where that is for the user to say."""

    def in_python(self) -> str:
        """The keyword, and its value if there is one: ``existing='replace'``."""
        return self.option if self.value is None else f"{self.option}={self.value!r}"


class UpresError(Exception):
    """Base of every error that upres raises on purpose.

    ``problem`` is the message without its remedies, and ``remedies`` are the choices that would
    mend it, each enough by itself.
    """

    exit_code = 1
    code = "error"
    """A short name for programs; each class has its own."""

    def __init__(self, problem: str, *remedies: Remedy) -> None:
        super().__init__(problem, *remedies)
        self.problem = problem
        self.remedies = remedies

    def text(self, called: Callable[[Remedy], str] = Remedy.in_python) -> str:
        """The message in one line; ``called`` says how a remedy's option is written."""
        choices = ", ".join(f"{called(remedy)} {remedy.effect}" for remedy in self.remedies)
        return f"{self.problem}: {choices}" if choices else self.problem

    def __str__(self) -> str:
        return self.text()


class InputError(UpresError):
    """A file or array that is to be read is missing, damaged or of a kind not handled."""

    code = "input"


class LargeEnoughError(InputError):
    """A picture is larger already than asked for."""

    code = "large_enough"

    def of_a_file(self) -> LargeEnoughError:
        """The same, with the choices that there are for files."""
        return LargeEnoughError(
            self.problem,
            Remedy("larger", "passes it over", "skip"),
            Remedy("larger", "copies it", "copy"),
            Remedy("larger", "reduces it", "reduce"),
        )


class OutputError(UpresError):
    """A file or folder cannot be written, or would be overwritten."""

    code = "output"


class ExistsError(OutputError):
    """A file is there that is not to be replaced."""

    code = "exists"

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            f"{path}: exists already",
            Remedy("existing", "replaces it", "replace"),
            Remedy("existing", "keeps it", "skip"),
        )
        self.path = path

    def __reduce__(self) -> tuple[type[ExistsError], tuple[Path | str]]:
        return type(self), (self.path,)  # to be pickled, which takes the parts of the message


class ModelError(UpresError):
    """A model is missing, is not a super-resolution model, or does not fit the request."""

    code = "model"


class DeviceError(UpresError):
    """The device that is to compute is not there, or cannot be used."""

    code = "device"


class RecipeError(UpresError):
    """A training recipe has an unknown key, a wrong type or a value out of range."""

    code = "recipe"


class TrainingError(UpresError):
    """Training cannot start or cannot go on."""

    code = "training"


class TrainingInterrupted(TrainingError):  # noqa: N818  # it is no error of anyone's
    """Training was asked to stop, and has saved all that it needs to go on."""

    code = "interrupted"

    exit_code = 130


class MissingExtraError(UpresError):
    """A part of upres needs packages that its base installation does not have."""

    code = "missing_extra"

    def __init__(self, feature: str, extra: str, *remedies: Remedy) -> None:
        super().__init__(f"{feature} needs more packages: pip install 'upres[{extra}]'", *remedies)
        self.feature, self.extra = feature, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str | Remedy, ...]]:
        return type(self), (self.feature, self.extra, *self.remedies)


class UsageError(UpresError):
    """An option's value is out of range, or options contradict each other.

    ``option`` is the name with which the message begins, if that is an option's.
    """

    code = "usage"

    exit_code = 2

    def __init__(self, problem: str, *remedies: Remedy, option: str = "") -> None:
        super().__init__(problem, *remedies)
        self.option = option

    def text(self, called: Callable[[Remedy], str] = Remedy.in_python) -> str:
        """The message in one line; ``called`` says how an option is written."""
        text = super().text(called)
        if not self.option:
            return text
        return called(Remedy(self.option, "is wrong")) + text.removeprefix(self.option)


@contextmanager
def needs_extra(feature: str, extra: str, *remedies: Remedy) -> Iterator[None]:
    """Around imports: raise ``MissingExtraError`` if a package of ``extra`` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("upres"):
            raise
        raise MissingExtraError(feature, extra, *remedies) from None
