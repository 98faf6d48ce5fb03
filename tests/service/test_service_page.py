"""The page as people meet it, in Chromium: with a mouse, a keyboard, and no eyes."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import PIL.Image
import pytest
from serving import LONG, Running, Serve, encoded
from slow import slow_backend

from upres.formats.image.error_picture import colour_table
from upres.service.static_page import PAGE_FILES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]
SOON = 20_000
"""Milliseconds."""


@pytest.fixture
def open_page(browser: Browser, running: Running, serve: Serve) -> Iterator[Open]:
    """Opens the page of a service; in the end there must have been no complaint, and no request
    for anything but that service.
    """
    said: list[str] = []
    contexts = []

    def open_url(service: Running = running, place: str = "/", **options: Any) -> Page:
        context = browser.new_context(accept_downloads=True, **options)
        context.set_default_timeout(SOON)
        contexts.append(context)
        page = context.new_page()

        def ask(request: Any) -> None:
            if not request.url.startswith((f"{service.url}/", "blob:")):
                said.append(f"asked for {request.url}")

        def complain(message: Any) -> None:
            # The browser itself notes answers that are refusals.
            if message.type in ("error", "warning") and "status of" not in message.text:
                said.append(message.text)

        page.on("console", complain)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", ask)
        page.goto(service.url + place)
        return page

    yield open_url
    # Before the services that ``serve`` has started end.
    for context in contexts:
        context.close()
    assert said == []


def until(page: Page, condition: str) -> None:
    """Wait until it holds: the page's policy allows no text as a program, which Playwright's own
    way to wait would be.
    """
    end = time.monotonic() + SOON / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def files(*named: tuple[str, bytes]) -> list[dict[str, Any]]:
    return [{"name": name, "mimeType": "", "buffer": content} for name, content in named]


def enlarged(page: Page, *named: tuple[str, bytes], factor: str = "2") -> None:
    """Choose files, and have them enlarged."""
    page.set_input_files("#files", files(*named))
    page.fill("#size", factor)
    page.click("#start")
    states = '.item:is([data-state="done"], [data-state="failed"])'
    until(page, f"document.querySelectorAll('{states}').length === {len(named)}")


def state(page: Page, name: str) -> str:
    item = page.locator(".item", has=page.get_by_text(name, exact=True))
    return item.locator(".state").inner_text()


def downloaded(page: Page, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(selector)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_a_picture_is_enlarged_compared_and_downloaded(
    open_page: Open, client: httpx.Client
) -> None:
    page = open_page()
    exif = PIL.Image.Exif()
    exif[0x013B] = "A. Photographer"
    content = encoded(120, 80, "JPEG", quality=98, exif=exif.tobytes())
    enlarged(page, ("photo.jpg", content))
    facts = page.locator(".facts").inner_text()
    assert "240 x 160" in facts
    assert "fast-x2" in facts
    assert "agrees with its input to" in facts
    name, made = downloaded(page, ".save")
    assert name == "photo_x2.jpg"
    # The original result, with all its metadata, as a program gets it.
    direct = client.post("/enlarge", params={"scale": 2, "name": "photo.jpg"}, content=content)
    assert made == direct.content
    assert PIL.Image.open(io.BytesIO(made)).getexif()[0x013B] == "A. Photographer"
    page.click(".show")
    until(page, "document.querySelector('#zoom-result').naturalWidth > 0")
    sizes = {
        name: page.evaluate(f"[{name}.naturalWidth, {name}.naturalHeight]")
        for name in ("before", "after")
    }
    assert sizes == {"before": [120, 80], "after": [240, 160]}
    zoom = {n: page.locator(f"#zoom-{n}").get_attribute("alt") for n in ("bicubic", "result")}
    assert zoom["bicubic"] == "bicubic: 160 x 160 pixels from 40, 0 of photo.jpg"
    page.click(".cancel")
    until(page, "document.querySelectorAll('.item').length === 0")


def test_the_slider_moves_by_keyboard_mouse_and_touch(open_page: Open) -> None:
    page = open_page(has_touch=True, viewport={"width": 400, "height": 900})
    enlarged(page, ("photo.png", encoded(300, 200)))
    page.click(".show")
    until(page, "document.querySelector('#after').naturalWidth > 0")
    slider = page.locator("#slider")
    slider.focus()
    page.keyboard.press("Home")
    clip = "getComputedStyle(document.querySelector('#before')).clipPath"
    at_start = page.evaluate(clip)
    page.keyboard.press("End")
    assert page.evaluate(clip) != at_start
    assert slider.input_value() == "100"
    page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "99.5"
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    for part, press in ((0.25, page.mouse.click), (0.75, page.touchscreen.tap)):
        press(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        assert float(slider.input_value()) == pytest.approx(100 * part, abs=4)
    # The two sides differ: the same place is of another picture.
    before = page.locator("#stage").screenshot()
    slider.fill("5")
    assert page.locator("#stage").screenshot() != before


KINDS = {
    "grey.png": lambda: kind("L"),
    "colours.jpg": lambda: encoded(kind="JPEG", quality=98),
    "transparent.png": lambda: kind("RGBA"),
    "deep.png": lambda: kind("I;16"),
    "scan.tif": lambda: encoded(kind="TIFF"),
    "animated.gif": lambda: animated(),
    "picture.webp": lambda: encoded(kind="WEBP"),
    "plain.bmp": lambda: encoded(kind="BMP"),
}


def kind(mode: str) -> bytes:
    content = io.BytesIO()
    picture = PIL.Image.open(io.BytesIO(encoded()))
    picture.convert("L").convert(mode).save(content, "PNG")
    return content.getvalue()


def animated() -> bytes:
    first = PIL.Image.open(io.BytesIO(encoded())).quantize(64)
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=[first.rotate(180)], duration=80)
    return content.getvalue()


def test_pictures_of_each_kind_can_be_seen(open_page: Open) -> None:
    page = open_page()
    enlarged(page, *((name, make()) for name, make in KINDS.items()))
    for number, name in enumerate(KINDS):
        assert state(page, name) == "done"
        page.locator(".show").nth(number).click()
        until(
            page, f"document.querySelector('#zoom-result').alt.endsWith({json.dumps('of ' + name)})"
        )
        sizes = page.evaluate("[before, after].map(i => [i.naturalWidth, i.naturalHeight])")
        assert sizes == [[61, 45], [122, 90]], name
        assert page.locator("#viewer-said").inner_text() == ""
    page.click("#clear")


def test_all_results_come_as_a_zip_with_names_that_differ(
    open_page: Open, client: httpx.Client
) -> None:
    page = open_page()
    contents = [
        ("a.png", encoded(20, 10)),
        ("a.png", encoded(10, 20)),
        ("ö.bmp", encoded(9, 9, "BMP")),
    ]
    enlarged(page, *contents)
    name, archive = downloaded(page, "#save-all")
    assert name == "upres.zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["a_x2.png", "a_x2 (2).png", "ö_x2.bmp"]
        for (_, content), inside in zip(contents, opened.namelist(), strict=True):
            direct = client.post("/enlarge", params={"scale": 2}, content=content)
            assert opened.read(inside) == direct.content
    page.click("#clear")


def test_an_error_map_is_made_seen_and_downloaded(open_page: Open, client: httpx.Client) -> None:
    page = open_page()
    content = encoded(120, 80)
    page.check("#error-map")
    enlarged(page, ("photo.png", content))
    query = {"scale": 2, "name": "photo.png", "error_map": "png"}
    direct = client.post("/enlarge", params=query, content=content)
    with zipfile.ZipFile(io.BytesIO(direct.content)) as opened:
        wanted = {name: opened.read(name) for name in opened.namelist()}
    told = f"errors within {float(direct.headers['upres-error-mean']):.1f} grey levels in the mean"
    assert told in page.locator(".facts").inner_text()
    assert "for 90% of samples" in page.locator(".facts").inner_text()
    downloads = dict(downloaded(page, selector) for selector in (".save", ".save-map"))
    assert downloads == wanted
    _, archive = downloaded(page, "#save-all")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == wanted
    page.click(".show")
    until(page, "document.querySelector('#zoom-errors').naturalWidth > 0")
    # Without the legend, which would be too small to be read where the map is.
    assert page.evaluate("[map.naturalWidth, map.naturalHeight]") == [240, 160]
    assert page.locator("#map-said").inner_text().startswith(f"error map: {told}")
    most = page.locator("#map-most").inner_text()
    assert f"within {most.removeprefix('±')} of the truth" in (
        page.locator("#map").get_attribute("alt") or ""
    )
    alt = page.locator("#zoom-errors").get_attribute("alt")
    assert alt == "error map: 160 x 160 pixels from 40, 0 of photo.png"
    page.click("#clear")
    # The next one has none, and nothing is left of the one before.
    page.uncheck("#error-map")
    enlarged(page, ("other.png", content))
    page.click(".show")
    until(page, "document.querySelector('#zoom-result').naturalWidth > 0")
    assert not page.is_visible("#map-figure")
    assert not page.is_visible("#zoom-map-figure")
    assert page.locator(".save-map:visible").count() == 0
    page.click("#clear")


def test_a_refused_error_map_leaves_the_picture_to_be_enlarged_without(open_page: Open) -> None:
    page = open_page()
    page.check("#error-map")
    content = encoded(kind="JPEG", quality=98)
    page.select_option("#format", "png")
    frames = io.BytesIO()
    still = PIL.Image.open(io.BytesIO(encoded()))
    still.save(frames, "PNG", save_all=True, append_images=[still.rotate(180)])
    given = [("good.png", encoded()), ("photo.jpg", content), ("moving.png", frames.getvalue())]
    enlarged(page, *given)
    assert [state(page, name) for name, _ in given] == ["done", "not enlarged", "not enlarged"]
    photo, moving = page.locator(".problem:visible").all_inner_texts()
    assert photo.startswith("photo.jpg: no bounds can be promised: a JPEG file of quality 98 has")
    assert photo.endswith(": it can be enlarged without an error map")
    assert moving == (
        "moving.png: an error map of 2 frames is a summary only: "
        "it can be enlarged without an error map"
    )
    page.uncheck("#error-map")
    page.click("#start")
    until(page, "document.querySelectorAll('.item[data-state=done]').length === 3")
    assert page.locator(".problem:visible").count() == 0
    page.click("#clear")


def test_where_no_bounds_are_promised_the_box_says_so(open_page: Open) -> None:
    page = open_page()
    page.check("#error-map")
    page.set_input_files("#files", files(("photo.png", encoded())))
    page.fill("#size", "2.5")
    until(page, "document.querySelector('#error-map').disabled")
    help_line = page.locator("#error-map-help").inner_text()
    assert "errors are bounded for results that one" in help_line
    page.click("#start")
    page.wait_for_selector('.item[data-state="done"]')
    assert "errors within" not in page.locator(".facts").inner_text()
    page.click("#clear")
    page.fill("#size", "2")
    until(page, "!document.querySelector('#error-map').disabled")
    assert page.locator("#error-map-help").inner_text() == ""


def test_the_legend_has_the_colours_of_the_map() -> None:
    style = (PAGE_FILES / "style.css").read_text("utf-8")
    gradient = style.split(".legend {")[1].split("linear-gradient(to right, ")[1].split(")")[0]
    stops = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in gradient.split(", ")]
    places = np.linspace(0, 255, len(stops)).round().astype(int)
    np.testing.assert_array_equal(stops, colour_table()[places])


def test_the_one_line_stands_beside_a_picture_that_fails(open_page: Open) -> None:
    page = open_page()
    cut = encoded(300, 300)
    named = [
        ("text.png", b"just some text"),
        ("good.png", encoded()),
        ("cut.png", cut[: len(cut) // 2]),
    ]
    enlarged(page, *named)
    assert [state(page, name) for name, _ in named] == ["not enlarged", "done", "not enlarged"]
    problems = page.locator(".problem:visible")
    lines = [problems.nth(n).inner_text() for n in range(problems.count())]
    assert len(lines) == 2
    assert lines[0].startswith("text.png: not a picture in a format that upres reads")
    assert lines[1].startswith("cut.png: ")
    page.click("#clear")
    # It is told to those who do not see, too, with the name once.
    enlarged(page, named[0])
    until(page, "document.querySelector('#said').textContent.startsWith('text.png: not a ')")
    # Once more, with another choice, and as a request that is wrong.
    page.click("#clear")
    enlarged(page, ("good.png", encoded()), factor="0.5")
    assert "scale" in page.locator(".problem:visible").inner_text()
    page.click("#clear")


def test_choices_go_with_the_request_and_their_seconds_are_told_before(open_page: Open) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_input_files("#files", files(("photo.png", encoded(200, 100))))
    until(page, "document.querySelector('#model-help').textContent.includes('about')")
    assert not any("/jobs" in url for url in asked)
    options = page.locator("#model option").all_inner_texts()
    assert options[0].startswith("auto: the picture decides (about ")
    assert any(text.startswith("best: clean pictures; most faithful (about ") for text in options)
    page.select_option("#by", "width")
    page.fill("#size", "300")
    page.select_option("#model", "balanced")
    page.select_option("#format", "tif")
    page.check("#consistent")
    page.click("#start")
    page.wait_for_selector('.item[data-state="failed"]')
    # 300 is no whole number of times 200, and the library says so.
    assert page.locator(".problem").inner_text().startswith("photo.png: ")
    page.fill("#size", "400")
    page.click("#start")
    page.wait_for_selector('.item[data-state="done"]')
    name, made = downloaded(page, ".save")
    assert name == "photo_w400.tif"
    assert PIL.Image.open(io.BytesIO(made)).format == "TIFF"
    assert "balanced-x2" in page.locator(".facts").inner_text()
    page.click("#clear")


def test_progress_is_shown_and_work_can_be_cancelled(open_page: Open, serve: Serve) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.1))
    page = open_page(service)
    page.set_input_files("#files", files(("large.png", encoded(600, 500)), ("b.png", encoded())))
    page.fill("#size", "2")
    page.click("#start")
    until(page, "document.querySelector('progress').value > 0.02")
    assert page.locator(".state").first.inner_text().endswith("%")
    button = page.get_by_role("button", name="Cancel large.png")
    button.click()
    page.wait_for_selector('.item[data-state="done"]')
    assert page.locator(".item").count() == 1
    page.click("#clear")
    assert service.left() == []


def test_when_the_service_is_busy_the_page_waits_as_told(open_page: Open, serve: Serve) -> None:
    service = serve(workers=1, places=1, backend_of=partial(slow_backend, 0.02))
    page = open_page(service)
    enlarged(page, *((f"{n}.png", encoded(200, 150)) for n in range(3)))
    assert [state(page, f"{n}.png") for n in range(3)] == ["done"] * 3
    page.click("#clear")


def test_pictures_are_dropped_and_pasted(open_page: Open) -> None:
    page = open_page()
    make = """bytes => {
      const file = new File([new Uint8Array(bytes)], "given.png", { type: "image/png" });
      const data = new DataTransfer();
      data.items.add(file);
      return data;
    }"""
    data = page.evaluate_handle(make, list(encoded()))
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    page.wait_for_selector(".item")
    page.evaluate(
        "data => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))", data
    )
    until(page, "document.querySelectorAll('.item').length === 2")


def test_a_folder_is_taken_with_those_in_it(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png", "more/.hidden.png"):
        (tmp_path / "photos" / name).write_bytes(encoded())
    page = open_page()
    page.set_input_files("#folder", str(tmp_path / "photos"))
    page.wait_for_selector(".item")
    assert sorted(page.locator(".name").all_inner_texts()) == ["a.png", "b.png"]


def test_a_folder_is_dropped_with_those_in_it(open_page: Open, tmp_path: Path) -> None:
    """As by a hand: the browser itself reads the folder."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png", "more/.hidden.png", "more/readme"):
        (tmp_path / "photos" / name).write_bytes(encoded())
    (tmp_path / "empty").mkdir()
    page = open_page()
    session = page.context.new_cdp_session(page)
    for folder in ("photos", "empty"):
        data = {"items": [], "files": [str(tmp_path / folder)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            event = {"type": kind, "x": 400, "y": 150, "data": data}
            session.send("Input.dispatchDragEvent", event)
        if folder == "photos":
            until(page, "document.querySelectorAll('.item').length === 2")
    until(page, "document.querySelector('#said').textContent === 'There are no pictures in it.'")
    assert sorted(page.locator(".name").all_inner_texts()) == ["a.png", "b.png"]


def test_fifty_pictures_are_worked_off(open_page: Open, running: Running) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    named = [(f"{number}.png", encoded(30 + number % 5, 20)) for number in range(50)]
    enlarged(page, *named)
    assert page.locator('.item[data-state="done"]').count() == 50
    # Five sizes, before and after the factor is chosen; not all again at each that is done.
    assert len([url for url in asked if "/plans" in url]) <= 3 * 5
    _, archive = downloaded(page, "#save-all")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert len(opened.namelist()) == 50
    page.click("#clear")
    until(page, "document.querySelectorAll('.item').length === 0")
    end = time.monotonic() + LONG
    while running.left():
        assert time.monotonic() < end


@pytest.mark.parametrize("leave", ["reload", "close", "elsewhere"])
def test_whoever_leaves_the_page_ends_its_jobs(open_page: Open, serve: Serve, leave: str) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.1))
    page = open_page(service)
    page.set_input_files("#files", files(("a.png", encoded()), ("large.png", encoded(600, 500))))
    page.fill("#size", "2")
    page.click("#start")
    until(page, "document.querySelectorAll('progress')[1].value > 0.01")
    if leave == "reload":
        page.reload()
    elif leave == "close":
        page.close()
    else:
        page.goto(f"{service.url}/health/live")
    desk = service.server._desk
    assert desk
    end = time.monotonic() + LONG / 2
    while desk.jobs or desk.line.running or list(service.folder.iterdir()):
        assert time.monotonic() < end, "its jobs go on"
        time.sleep(0.05)
    if leave == "elsewhere":
        page.go_back()
        enlarged(page, ("again.png", encoded()))
        assert state(page, "again.png") == "done"
        page.click("#clear")


def test_two_pages_do_not_disturb_each_other(open_page: Open, client: httpx.Client) -> None:
    first, second = open_page(), open_page()
    enlarged(first, ("a.png", encoded(40, 30)))
    enlarged(second, ("a.png", encoded(50, 30)), factor="3")
    second.click("#clear")
    first.click(".show")
    until(first, "document.querySelector('#zoom-result').naturalWidth > 0")
    _, made = downloaded(first, ".save")
    assert PIL.Image.open(io.BytesIO(made)).size == (80, 60)
    first.click("#clear")


def test_a_connection_that_is_cut_off_is_no_end_of_the_work(open_page: Open) -> None:
    page = open_page()
    cut: list[str] = []

    def once(route: Any) -> None:
        if cut:
            route.continue_()
        else:
            cut.append(route.request.url)
            route.fulfill(status=200, content_type="text/event-stream", body="")

    page.route("**/events", once)
    enlarged(page, ("photo.png", encoded()))
    assert cut
    assert state(page, "photo.png") == "done"
    page.click("#clear")


def test_of_places_that_are_asked_for_quickly_the_last_is_shown(open_page: Open) -> None:
    page = open_page()
    enlarged(page, ("photo.png", encoded(400, 300)))
    page.click(".show")
    until(page, "document.querySelector('#zoom-result').naturalWidth > 0")
    held: list[Any] = []

    def hold(route: Any) -> None:
        if "left=0&" in route.request.url and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/view?*", hold)
    for place in (0, 1000):
        move = f"x => {{ x.value = {place}; x.dispatchEvent(new Event('change')); }}"
        page.eval_on_selector("#zoom-x", move)
        page.wait_for_timeout(100)
    until(page, "document.querySelector('#zoom-result').alt.includes('from 640')")
    assert held
    held[0].continue_()
    page.wait_for_timeout(500)
    for name in ("bicubic", "result"):
        assert "from 640" in (page.locator(f"#zoom-{name}").get_attribute("alt") or "")
    page.click("#clear")


def test_a_token_is_asked_for_or_comes_with_the_address(open_page: Open, serve: Serve) -> None:
    service = serve(token="s3cret")
    page = open_page(service)
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#said').textContent.includes('token')")
    page.fill("#token", "s3cret")
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-ready]")
    enlarged(page, ("photo.png", encoded()))
    assert state(page, "photo.png") == "done"
    other = open_page(service, "/#token=s3cret")
    other.wait_for_selector("html[data-ready]")
    assert not other.is_visible("#token-form")
    page.click("#clear")


def test_everything_is_reached_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    page.set_input_files("#files", files(("photo.png", encoded(200, 150))))
    reached: list[str] = []

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.className"))

    def tab_to(wanted: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.append(focused())
            if reached[-1] == wanted:
                return
        raise AssertionError(f"{wanted} is not reached: {reached}")

    tab_to("size")
    page.keyboard.press("Control+A")
    page.keyboard.type("2")
    tab_to("model")
    tab_to("format")
    tab_to("consistent")
    tab_to("error-map")
    page.keyboard.press("Space")
    tab_to("start")
    page.keyboard.press("Enter")
    page.wait_for_selector('.item[data-state="done"]')
    tab_to("show")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'viewer-title'")
    until(page, "document.querySelector('#map').naturalWidth > 0")
    until(page, "document.querySelector('#zoom-result').naturalWidth > 0")
    tab_to("slider")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#slider") == "50.5"
    shown = page.get_attribute("#zoom-result", "alt")
    tab_to("zoom-x")
    page.keyboard.press("End")
    until(page, f"document.querySelector('#zoom-result').alt !== {json.dumps(shown)}")
    page.keyboard.press("Shift+Tab")
    assert focused() == "slider"
    page.click("#clear")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    open_page: Open, node_modules: Path, scheme: str, width: int
) -> None:
    axe = (node_modules / "axe-core" / "axe.min.js").read_text("utf-8")
    # The page's own policy would keep the judge out.
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    page.evaluate(axe)

    def judge(when: str) -> None:
        found = page.evaluate("axe.run(document)")
        told = [(f["id"], [n["html"] for n in f["nodes"]]) for f in found["violations"]]
        assert told == [], when
        assert found["passes"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, when

    judge("empty")
    page.set_input_files("#files", files(("photo.png", encoded())))
    until(page, "document.querySelector('#model-help').textContent.includes('about')")
    judge("before the work")
    page.click("#clear")
    name = "a-very-long-name-without-any-place-to-break-it-" * 2 + ".png"
    page.check("#error-map")
    enlarged(page, (name, encoded(200, 150)), ("bad.png", b"text"))
    page.click(".show")
    until(page, "document.querySelector('#zoom-errors').naturalWidth > 0")
    judge("with pictures")
    page.click("#clear")
    page.set_input_files("#files", files(("photo.png", encoded())))
    page.fill("#size", "2.5")
    until(page, "document.querySelector('#error-map').disabled")
    judge("without error maps")
    page.click("#clear")
