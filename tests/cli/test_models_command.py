"""``upres models`` as users meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from running import upres
from upres.card import ModelCard
from upres.cli.models import details
from upres.models import open_model, shipped_models
from upres.models.catalogue import Listed, Variant


def test_a_line_a_model_in_80_columns(tmp_path: Path) -> None:
    result = upres("models", cwd=tmp_path, columns=80)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines[1 : lines.index("")]]
    assert names == sorted(name for name in shipped_models() if "int8" not in name)
    fast = next(line for line in lines if line.startswith("fast"))
    for part in ("2 3 4", "fp32 int8", " MB ", "fast", "clean pictures"):
        assert part in fast
    assert "fast/medium" in next(line for line in lines if line.startswith("photo"))


@pytest.mark.parametrize("name", ["photo", "fast-int8"])
def test_all_of_the_cards_in_80_columns(tmp_path: Path, name: str) -> None:
    result = upres("models", name, cwd=tmp_path, columns=80)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    told = " ".join(result.stdout.split())
    for scale in shipped_models()[name]:
        card = open_model(name, scale=scale).card
        assert f"{name} x{scale}" in told
        for text in (card.data, card.protocol, card.recipe, card.commit, f"{card.halo} pixels"):
            assert text is not None
            assert text in told
        for score in card.scores:
            assert f"{score.dataset} {score.psnr:.2f} dB {score.ssim:.4f}" in told


def test_the_card_of_a_file(tmp_path: Path, model_file: Path) -> None:
    result = upres("models", model_file, cwd=tmp_path, columns=80)
    assert result.returncode == 0, result.stderr
    assert "plain, features 8, blocks 2" in result.stdout
    assert "not measured" in result.stdout


def test_facts_that_several_files_have_in_common_are_told_once(model_file: Path) -> None:
    protocols = {2: "protocol A", 3: "protocol A", 4: "protocol B"}
    cards = [
        ModelCard(name="any", scale=scale, halo=1, data="pictures", protocol=protocol)
        for scale, protocol in protocols.items()
    ]
    entry = Listed("any", "everything", tuple(Variant(model_file, card) for card in cards))
    sections = "\n".join(details(entry, {})).split("\n\n")
    assert [section.splitlines()[0] for section in sections] == [
        "any",
        "any x2",
        "any x3",
        "any x4",
    ]
    told = [" ".join(section.split()) for section in sections]
    assert [text.count("trained on pictures") for text in told] == [1, 0, 0, 0]
    measured = [text.partition("measured by ")[2][:10] for text in told]
    assert measured == ["", "protocol A", "protocol A", "protocol B"]


def test_json_of_all(tmp_path: Path) -> None:
    listed = json.loads(upres("models", "--json", cwd=tmp_path).stdout)
    photo = next(model for model in listed if model["name"] == "photo")
    assert photo.keys() == {"name", "purpose", "scales", "precisions", "variants"}
    assert (photo["scales"], photo["precisions"]) == ([1, 2, 3, 4], ["fp32", "int8"])
    keys = {"scale", "precision", "speed", "parameters", "bytes", "file"}
    assert all(variant.keys() == keys for variant in photo["variants"])
    for variant in photo["variants"]:
        assert Path(variant["file"]).stat().st_size == variant["bytes"]


def test_json_of_one_has_its_cards(tmp_path: Path) -> None:
    photo = json.loads(upres("models", "photo", "--json", cwd=tmp_path).stdout)
    for variant in photo["variants"]:
        card = ModelCard.from_json(json.dumps(variant["card"]))
        name = "photo" if variant["precision"] == "fp32" else "photo-int8"
        assert card == open_model(name, scale=variant["scale"]).card


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = upres("models", "fats", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("upres: no model is called 'fats': shipped are ")
    assert result.stderr.count("\n") == 1


def test_the_precision_that_is_taken_here_is_told_and_why(tmp_path: Path) -> None:
    result = upres("models", "fast", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    here = json.loads(result.stdout)["here"]
    assert list(here) == ["2", "3", "4"]
    for told in here.values():
        assert told["precision"] in ("fp32", "fp16", "bf16", "int8", "int8+bf16")
        assert told["why"]
    text = " ".join(upres("models", "fast", cwd=tmp_path, columns=80).stdout.split())
    assert f"fast on this machine x2 {here['2']['precision']}: {here['2']['why']}" in text
    assert "on this machine" not in upres("models", "fast-int8", cwd=tmp_path).stdout
