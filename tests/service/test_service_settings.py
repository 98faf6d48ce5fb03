"""How much a service takes on, by the memory that there is."""

from __future__ import annotations

import dataclasses

import pytest

from upres.engine.machine import machine_memory
from upres.enlarging.costs import BASE_BYTES
from upres.enlarging.options import Options
from upres.errors import UsageError
from upres.service.parameters import Parameters, safe_name
from upres.service.settings import SHARE_OF_MEMORY, Settings

GB = 10**9


def test_the_budget_is_the_machine_s_or_its_container_s_unless_it_is_told() -> None:
    memory = machine_memory()
    assert memory is not None
    assert Settings().memory_budget == int(SHARE_OF_MEMORY * memory)
    assert Settings(memory=2 * GB).memory_budget == 2 * GB


@pytest.mark.parametrize("memory", [GB, 2 * GB, 64 * GB])
@pytest.mark.parametrize("workers", [None, 1, 8])
def test_processes_and_the_work_of_all_fit_into_the_budget(
    memory: int, workers: int | None
) -> None:
    settings = Settings(memory=memory, workers=workers)
    count = settings.workers_at_once
    assert 1 <= count <= (workers or 4)
    assert (count + 3) * BASE_BYTES + settings.work_bytes <= memory
    assert count * settings.kept_bytes + 3 * BASE_BYTES <= memory


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": 1000},
        {"workers": 0},
        {"places": 0},
        {"seconds": 0.5},
        {"upload_bytes": 0},
        {"max_pixels": 0},
        {"port": -1},
    ],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"{name} must be at least"):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("/", "picture"),
        ("", "picture"),
        ("...", "picture"),
        (".hidden.png", "hidden.png"),
        ("a\x00b\x1b[31m\n.png", "ab[31m.png"),
        ('a"b;c<d>.png', "ab;cd.png"),
        ("gpj.\u202eevil.png", "gpj.evil.png"),
        ("Mo\u0308we.png", "M\u00f6we.png"),
        ("\udcff.png", "png"),
        ("x" * 500 + ".tiff", "x" * 115 + ".tiff"),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert safe_name(given) == name


def test_a_request_has_the_options_of_the_command_and_its_defaults() -> None:
    """Those that others get, too: but the check, which it makes unless it is told not to."""
    made = Parameters().options(Options().max_pixels)
    assert made == Options(check=True)
    renamed = {"cmyk": "keep_cmyk", "cog": "format", "max_pixels": None}
    renamed |= {"settled": None}  # by the run, not by its user
    wanted = {renamed.get(each.name, each.name) for each in dataclasses.fields(Options)} - {None}
    assert wanted == Parameters.model_fields.keys() - {"name"}


def test_a_picture_that_is_reduced_is_not_checked_unless_that_is_asked_for() -> None:
    assert not Parameters(larger="reduce").options(1).check
    with pytest.raises(UsageError, match="larger reduce"):
        Parameters(larger="reduce", check=True).options(1)
