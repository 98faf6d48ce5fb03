"""The results page: that it agrees with the cards, and how it words scores."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from upres.card import ModelCard, SetScore
from upres.raster.metrics import PROTOCOL

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("needs benchmarks/, which a source distribution does not have")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("results")


def card(name: str, psnr: float, protocol: str = PROTOCOL) -> ModelCard:
    scores = (SetScore("Set5", 5, psnr, 0.9),)
    return ModelCard(name, 2, 4, parameter_count=100_000, protocol=protocol, scores=scores)


def test_the_page_is_what_cards_speed_and_sources_make_of_it(results: ModuleType) -> None:
    text = results.PAGE.read_text("utf-8")
    assert text == results.page(results.shipped_cards()), "out of date: run `make results`"


def test_readme_and_guide_say_what_the_cards_say(results: ModuleType) -> None:
    readme, guide = (
        (BENCHMARKS.parent / name).read_text("utf-8") for name in ("README.md", "docs/guide.md")
    )
    scores = {
        (name, scale): {score.dataset: score for score in card.scores}
        for (name, scale), card in results.shipped_cards().items()
    }
    for name in ("fast", "balanced", "best"):
        first = [f"{scores[name, scale]['Set5'].psnr:.2f}" for scale in (2, 3, 4)]
        assert f"| `{name}` | {' | '.join(first)} |\n" in readme
        for scale in (2, 3, 4):
            texts = [f"**{results.score_text(s, None)}**" for s in scores[name, scale].values()]
            assert f"| x{scale} | `{name}` | {' | '.join(texts)} |\n" in guide
    flat = " ".join(guide.split())
    for better, worse, sentence in (
        ("balanced", "fast", "`--model balanced` is {} above `fast`"),
        ("best", "balanced", "turned back. That is another {}, in eight times the time"),
    ):
        gains = [
            score.psnr - scores[worse, scale][name].psnr
            for scale in (2, 3, 4)
            for name, score in scores[better, scale].items()
        ]
        assert sentence.format(f"{min(gains):.2f} to {max(gains):.2f} dB") in flat


def test_int8_says_how_far_it_is_from_its_fp32(results: ModuleType) -> None:
    cards = {("a", 2): card("a", 37.2), ("a-int8", 2): card("a-int8", 37.15)}
    rows = results.score_table(cards, 2, PROTOCOL).splitlines()
    assert "| **`a-int8`** | 100K | 37.15 / 0.9000 (-0.05) |" in rows
    assert "| **`a`** | 100K | 37.20 / 0.9000 |" in rows


def test_published_figures_stand_beside_those_of_their_protocol_only(results: ModuleType) -> None:
    cards = {("a", 2): card("a", 37.2), ("b", 2): card("b", 30.1, f"{PROTOCOL}; worse LR")}
    clean, worse = results.score_groups(cards)
    assert "FSRCNN" in clean["tables"][0]
    assert [line[:9] for line in worse["tables"][0].splitlines()[2:]] == ["| **`b`**"]


def test_models_without_scores_are_named(results: ModuleType) -> None:
    cards = {("a", 2): card("a", 37.2), ("new", 2): ModelCard("new", 2, 4)}
    assert "Not scored yet: `new` x2." in results.page(cards)


def test_others_that_were_timed_beside_upres_are_in_the_table_and_on_the_plot(
    results: ModuleType,
) -> None:
    own = {"scale": 2, "ours": False, "enlarge_seconds": 0.5, "network_seconds": 0.4}
    own |= {"gflop": 40.0, "share_of_peak": 0.25}
    models = [
        {**own, "name": "peer", "psnr": {"Set5": 37.5}},
        {**own, "name": "untrained", "psnr": {}},
        {**own, "name": "fast", "psnr": {"Set5": 37.5}, "ours": True},
        {**own, "name": "larger", "psnr": {"Set5": 31.5}, "scale": 4},
    ]
    beside = {"models": models}
    table = results.speed_table({}, None, 2, beside)
    assert "| peer | 0.500 | 0.400 | 100 | 25% | 37.50 |" in table
    assert "| untrained | 0.500 | 0.400 | 100 | 25% | - |" in table
    assert "larger" not in table
    assert "fast" not in table
    plot = results.speed_plot({}, None, 2, beside)
    assert ">peer<" in plot
    assert ">untrained<" not in plot
    assert ">larger<" not in plot
