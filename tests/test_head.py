from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import fake_model, write_fake_head
from upres.errors import ModelError
from upres.head import HeadCard, head_card_of, head_path


def test_a_model_without_a_file_beside_it_has_no_head(tmp_path: Path) -> None:
    assert head_card_of(fake_model(path=tmp_path / "a-x2.onnx")) is None


def test_a_card_comes_back_from_the_file(tmp_path: Path) -> None:
    model = fake_model(path=tmp_path / "a-x2.onnx")
    card = write_fake_head(model, factor=1.25, data="pictures, ÖÄ")
    assert head_path(model.path) == tmp_path / "a-x2.head.onnx"
    assert head_card_of(model) == card


def test_the_head_of_another_scale_or_precision_is_refused(tmp_path: Path) -> None:
    model = fake_model(path=tmp_path / "a-x2.onnx")
    write_fake_head(model, scale=3)
    with pytest.raises(ModelError, match="head of a model x3 in fp32"):
        head_card_of(model)
    write_fake_head(model, precision="int8")
    with pytest.raises(ModelError, match="x2 in int8"):
        head_card_of(model)


def test_a_file_without_a_card_is_refused(tmp_path: Path) -> None:
    model = fake_model(path=tmp_path / "a-x2.onnx")
    head_path(model.path).write_bytes(b"\x3a\x00")
    with pytest.raises(ModelError, match="no card of a head"):
        head_card_of(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("factor", 0),
        ("factor", None),
        ("factor", float("nan")),
        ("level", 1.5),
        ("scale", 2.5),
        ("pictures", 0),
        ("model", 3),
        ("coverage", True),
    ],
)
def test_a_card_with_a_bad_value_is_refused(tmp_path: Path, key: str, value: object) -> None:
    card = write_fake_head(fake_model(path=tmp_path / "a.onnx"))
    values = json.loads(card.to_json()) | {key: value}
    with pytest.raises(ValueError, match=f"{key} must be"):
        HeadCard.from_json(json.dumps(values))


def test_a_card_without_a_factor_or_of_another_format_is_refused(tmp_path: Path) -> None:
    values = json.loads(write_fake_head(fake_model(path=tmp_path / "a.onnx")).to_json())
    with pytest.raises(ValueError, match="factor is missing"):
        HeadCard.from_json(json.dumps({k: v for k, v in values.items() if k != "factor"}))
    with pytest.raises(ValueError, match="update upres"):
        HeadCard.from_json(json.dumps(values | {"format_version": 2}))
    with pytest.raises(ValueError, match="nested"):
        HeadCard.from_json("[" * 200_000)
