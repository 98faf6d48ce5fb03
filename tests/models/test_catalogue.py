from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from upres.card import ModelCard
from upres.errors import ModelError
from upres.models import shipped_models
from upres.models.catalogue import PURPOSES, catalogue, look_up, speed


def test_each_shipped_model_is_listed_once_with_all_its_files() -> None:
    listed = catalogue()
    files = [variant.path for entry in listed for variant in entry.variants]
    assert sorted(files) == sorted(
        path for scales in shipped_models().values() for path in scales.values()
    )
    assert [entry.name for entry in listed if "int8" in entry.name] == []


def test_each_shipped_model_has_a_purpose_of_its_own() -> None:
    purposes = [entry.purpose for entry in catalogue()]
    assert len(set(purposes)) == len(purposes)
    assert {entry.name for entry in catalogue()} == PURPOSES.keys()


@pytest.mark.parametrize(
    ("parameters", "self_ensemble", "expected"),
    [
        (None, False, "unknown"),
        (499_999, False, "fast"),
        (500_000, False, "medium"),
        (62_500, True, "medium"),
        (4_999_999, False, "medium"),
        (5_000_000, False, "slow"),
        (625_000, True, "slow"),
    ],
)
def test_speed(parameters: int | None, self_ensemble: bool, expected: str) -> None:
    card = ModelCard("any", 2, 1, parameter_count=parameters, self_ensemble=self_ensemble)
    assert speed(card) == expected
    assert speed(replace(card, precision="int8")) == expected


def test_a_variant_that_is_named_comes_alone() -> None:
    entry = look_up("fast-int8")
    assert (entry.name, entry.precisions) == ("fast-int8", ["int8"])
    assert entry.purpose == look_up("fast").purpose
    assert look_up("fast").precisions == ["fp32", "int8"]


def test_a_file_is_looked_up_by_its_path(model_file: Path) -> None:
    entry = look_up(str(model_file))
    assert (entry.name, entry.scales, entry.purpose) == ("random", [2], "unknown")
    assert [variant.path for variant in entry.variants] == [model_file]


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="no model is called 'fats'"):
        look_up("fats")
