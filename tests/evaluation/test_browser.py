"""The pages as a reader meets them: in Chromium, from a file, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from upres.evaluation import outputs
from upres.evaluation.benchmark import Evaluation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from .conftest import WriteRun

Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a file as a page; in the end there must have been no complaint, and no request
    for anything but the file itself.
    """
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_file(path: Path, **options: Any) -> Page:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert said == []
    # Data URIs are inside the file.
    asked = [url for url in asked if not url.startswith("data:")]
    assert len(asked) == len(contexts)
    assert all(url.startswith("file://") for url in asked)


def clip(stage: Locator) -> str:
    """How much of the upper picture is cut off."""
    clip_path: str = stage.locator("img.left").evaluate("image => getComputedStyle(image).clipPath")
    return clip_path


def test_the_slider_moves(report: Path, open_page: Open) -> None:
    page = open_page(report)
    stage = page.locator(".stage").first
    slider = stage.locator("input[type=range]")
    assert clip(stage) == "inset(0px 50% 0px 0px)"
    slider.fill("20")
    assert clip(stage) == "inset(0px 80% 0px 0px)"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert clip(stage) == "inset(0px 79.5% 0px 0px)"
    page.keyboard.press("End")
    assert clip(stage) == "inset(0px 0% 0px 0px)"
    # A pointer, too, and on the picture itself; the other slider stays where it was.
    box = stage.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert float(slider.input_value()) == pytest.approx(25, abs=1)
    assert clip(page.locator(".stage").nth(1)) == "inset(0px 50% 0px 0px)"


def visible(stage: Locator) -> list[str]:
    pictures = stage.locator("img:visible")
    return [pictures.nth(n).get_attribute("alt") or "" for n in range(pictures.count())]


def test_the_slider_compares_what_is_chosen(
    report: Path, open_page: Open, evaluation: Evaluation
) -> None:
    page = open_page(report)
    slider = page.locator(".slider").first
    stage = slider.locator(".stage")
    left, right = slider.get_by_label("Left"), slider.get_by_label("Right")
    names = [method.method for method in evaluation.sets[0].methods]
    assert left.locator("option").all_inner_texts() == [*names, "ground truth"]

    def shown() -> list[str]:
        return [text.rpartition(", ")[2] for text in visible(stage)]

    assert shown() == [names[0], names[1]]
    before = stage.screenshot()
    right.select_option("ground truth")
    assert shown() == [names[0], "ground truth"]
    assert stage.screenshot() != before
    left.select_option(names[2])
    assert shown() == [names[2], "ground truth"]
    assert clip(stage) == "inset(0px 50% 0px 0px)"
    # One picture on both sides is whole.
    left.select_option("ground truth")
    assert shown() == ["ground truth"]
    assert clip(stage) == "none"


def column(table: Locator, number: int) -> list[str]:
    return [
        text.strip() for text in table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()
    ]


def test_tables_sort(report: Path, open_page: Open, evaluation: Evaluation) -> None:
    page = open_page(report)
    table = page.locator("table.results")
    names = [method.method for method in evaluation.sets[0].methods]
    values = {m.method: m.means.psnr for m in evaluation.sets[0].methods}
    header = table.get_by_role("columnheader", name="PSNR", exact=True)
    assert header.get_attribute("aria-sort") == "none"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(table, 1) == sorted(names, key=lambda name: values[name])
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(table, 1) == sorted(names, key=lambda name: -values[name])
    # As numbers: as text, 12.3M comes before 1.57K. What bicubic has not comes last.
    other = table.get_by_role("columnheader", name="parameters")
    other.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert column(table, 7)[1:] == ["12.3M", "-"]
    other.get_by_role("button").click()
    assert column(table, 7)[0] == "12.3M"
    assert column(table, 7)[2] == "-"
    table.get_by_role("columnheader", name="method").get_by_role("button").click()
    assert column(table, 1) == sorted(names)


def test_each_picture_by_any_measure(report: Path, open_page: Open, evaluation: Evaluation) -> None:
    page = open_page(report)
    table = page.locator("details table")
    images = {image.image: image for image in evaluation.sets[0].methods[1].images}
    table.get_by_role("columnheader", name="random x2").get_by_role("button").click()
    order = sorted(images, key=lambda name: images[name].scores.psnr)
    assert column(table, 1) == order
    assert column(table, 3) == [f"{images[name].scores.psnr:.2f}" for name in order]
    page.get_by_label("Measure").select_option(index=3)
    assert column(table, 3) == [f"{images[name].scores.mae:.3f}" for name in order]
    table.get_by_role("columnheader", name="random x2").get_by_role("button").click()
    order = sorted(images, key=lambda name: images[name].scores.mae)
    assert column(table, 1) == order


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_its_scheme(
    report: Path, open_page: Open, width: int, scheme: str
) -> None:
    page = open_page(report, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    light = [sum(map(int, colour[4:-1].split(", "))) > 380 for colour in (ground, text)]
    assert light == ([True, False] if scheme == "light" else [False, True])


def test_every_picture_is_there(report: Path, open_page: Open) -> None:
    page = open_page(report)
    sizes = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.width > 0])")
    # Two pictures, each in four versions, three errors, and two crops in four versions
    # where two have room.
    assert len(sizes) >= 2 * (4 + 3 + 4)
    assert all(width > 0 for width, _ in sizes)
    assert page.locator(".plots svg").count() == 2


def test_the_comparison_shows_its_curves(
    tmp_path: Path, write_run: WriteRun, open_page: Open
) -> None:
    slow = "step,learning_rate,loss,it_per_s,valid_psnr,seconds,skipped\n9,1,0.009,1,9.5,1000,0\n"
    folders = [write_run(tmp_path / "quick"), write_run(tmp_path / "slow", log=slow, features=9)]
    _, (path, _, _) = outputs.compare_into(tmp_path / "out", folders)
    page = open_page(path)
    assert page.locator(".plots svg").count() == 3
    assert page.locator(".legend li").all_inner_texts() == ["quick", "slow"]
    keys = page.locator(".legend line")
    colours = [keys.nth(n).get_attribute("stroke") for n in range(2)]
    assert colours[0] != colours[1]
    for n in range(3):
        plot = page.locator(".plots svg").nth(n)
        box = plot.bounding_box()
        assert box is not None
        assert box["width"] > 200
        # A curve in its colour for the one, a single point for the other.
        drawn = plot.locator("path, use").evaluate_all("all => all.map(a => a.style.stroke)")
        for colour in colours:
            rgb = ", ".join(str(int(str(colour)[i : i + 2], 16)) for i in (1, 3, 5))
            assert f"rgb({rgb})" in drawn
    table = page.locator("table.results")
    table.get_by_role("columnheader", name="best PSNR").get_by_role("button").click()
    assert column(table, 3) == ["9.500", "31.250"]
    # Digit by digit, 0.01 would come first.
    table.get_by_role("columnheader", name="loss").get_by_role("button").click()
    assert column(table, 6) == ["0.00900", "0.01000"]
    assert page.locator("table.differences").first.inner_text().split("\n")[1:] == [
        "network.features\t32\t9"
    ]
