"""The page without a server: models run in Chromium, and nothing is asked of the network."""

from __future__ import annotations

import functools
import http.server
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from serving import encoded, family

from running import upres
from upres.errors import InputError
from upres.models import open_model
from upres.raster.resize import bicubic
from upres.service.static_page import write_static_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SOON = 120.0
"""Seconds: WebAssembly on one thread of a busy machine."""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, as any web server does, and says nothing."""

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(
    node_modules: Path, tmp_path_factory: pytest.TempPathFactory, model_file: Path
) -> Iterator[str]:
    """A web server with the page, with the model ``fast`` x2 and a tiny one."""
    folder = tmp_path_factory.mktemp("page")
    models = {"fast": {2: open_model("fast", scale=2).path}, "tiny": {2: model_file}}
    write_static_page(folder, node_modules / "onnxruntime-web", shipped=models)
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, loaded; then the network is cut. In the end there must have been no complaint."""
    said: list[str] = []
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(address)
    until(opened, "document.documentElement.dataset.ready === 'yes'")
    context.set_offline(True)
    opened.on("request", lambda request: said.append(f"asked for {request.url}"))
    yield opened
    context.close()
    assert [line for line in said if not line.startswith("asked for blob:")] == []


def until(page: Page, condition: str) -> None:
    end = time.monotonic() + SOON
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def enlarged(page: Page, name: str, content: bytes, *, model: str = "fast") -> bytes:
    """The file that the page makes of a picture, x2."""
    kind = {"png": "image/png", "jpg": "image/jpeg"}.get(name.rpartition(".")[2], "")
    page.select_option("#model", model)
    page.fill("#size", "2")
    page.set_input_files("#files", [{"name": name, "mimeType": kind, "buffer": content}])
    page.click("#start")
    until(page, "document.querySelector('.item[data-state=done], .item[data-state=failed]')")
    assert page.locator(".problem:visible").all_inner_texts() == []
    with page.expect_download() as waiting:
        page.click(".save")
    assert waiting.value.suggested_filename == f"{name.rpartition('.')[0]}_x2.png"
    return Path(waiting.value.path()).read_bytes()


def pixels(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def by_command(content: bytes, folder: Path, model: Any = "fast") -> np.ndarray[Any, Any]:
    """The library's result in float32, of the whole picture in one window."""
    source, target = folder / "given.png", folder / "made.png"
    source.write_bytes(content)
    options = ("--scale=2", f"--model={model}", "--precision=fp32", "--force")
    done = upres("enlarge", source, "-o", target, *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return pixels(target.read_bytes())


def photograph(width: int, height: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Smooth colours, noise, edges, and a part without colour."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 256, (height // 12 + 2, width // 12 + 2, 3), np.uint8)
    picture = bicubic(rough, size=(height, width)).astype(np.int16)
    picture += rng.integers(-12, 13, picture.shape, np.int16)
    picture[:, : width // 3] = picture[:, : width // 3].mean(2, keepdims=True).astype(np.int16)
    return picture.clip(0, 255).astype(np.uint8)


def png(picture: np.ndarray[Any, Any], **options: Any) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(picture).save(content, "PNG", **options)
    return content.getvalue()


def test_windows_in_the_browser_equal_the_whole_by_the_library(page: Page, tmp_path: Path) -> None:
    content = png(photograph(330, 290))  # two windows of 256 across, and two down
    made = pixels(enlarged(page, "photo.png", content))
    wanted = by_command(content, tmp_path)
    assert made.shape == wanted.shape
    difference = np.abs(made.astype(int) - wanted)
    # Engines round sums in another order: at most a level, and hardly anywhere.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


def test_transparency_is_as_in_the_library(page: Page, tmp_path: Path) -> None:
    alpha = np.zeros((290, 270), np.uint8)
    alpha[40:250, 30:240] = 255
    alpha[100:120] = np.linspace(0, 255, 270).astype(np.uint8)
    content = png(np.dstack([photograph(270, 290, 1), alpha]))
    made = pixels(enlarged(page, "cut-out.png", content)).astype(int)
    wanted = by_command(content, tmp_path).astype(int)
    assert made.shape == wanted.shape
    assert np.abs(made[:, :, 3] - wanted[:, :, 3]).max() <= 1
    shown = wanted[:, :, 3] == 255
    # Canvases multiply colours by alpha, so that half transparent ones lose some digits.
    differences = np.abs(made - wanted)[shown]
    assert differences.max() <= 3
    assert (differences > 1).mean() < 0.001


def test_metadata_that_is_cheap_is_kept_and_the_rest_is_named(page: Page) -> None:
    exif = PIL.Image.Exif()
    exif[0x013B], exif[0x0112] = "A. Photographer", 6
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    more = {"exif": exif.tobytes(), "icc_profile": profile, "dpi": (240, 240), "comment": b"hello"}
    content = encoded(60, 40, "JPEG", quality=95, **more)
    made = PIL.Image.open(io.BytesIO(enlarged(page, "photo.jpg", content)))
    made.load()
    assert made.size == (80, 120)  # upright
    assert made.getexif()[0x013B] == "A. Photographer"
    assert made.getexif()[0x0112] == 1
    assert made.info["icc_profile"] == profile
    assert made.info["dpi"] == pytest.approx((240, 240), abs=0.1)
    assert "not kept: comments" in page.locator(".facts").inner_text()


def test_bits_that_are_lost_are_named(page: Page) -> None:
    deep = (photograph(40, 30)[:, :, 0].astype(np.uint16)) * 257
    made = pixels(enlarged(page, "deep.png", png(deep)))
    assert made.dtype == np.uint8
    assert "not kept: 16 bits" in page.locator(".facts").inner_text()


def test_results_are_compared_with_bicubic(page: Page) -> None:
    picture = photograph(300, 280)
    made = pixels(enlarged(page, "photo.png", png(picture)))
    page.click(".show")
    until(page, "document.querySelector('#zoom-result').naturalWidth > 0")
    page.wait_for_timeout(500)

    def shown(selector: str) -> np.ndarray[Any, Any]:
        read = """async image => {
          const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
        flat = np.array(page.eval_on_selector(selector, read), np.uint8)
        return flat.reshape(160, 160, 4)[:, :, :3]

    left, top = round((600 - 160) / 2), round((560 - 160) / 2)
    place = slice(top, top + 160), slice(left, left + 160)
    assert np.abs(shown("#zoom-result").astype(int) - made[place]).max() <= 1
    by_bicubic = bicubic(picture.astype(np.float64), size=(560, 600))[place].clip(0, 255)
    assert np.abs(shown("#zoom-bicubic").astype(int) - by_bicubic).max() <= 1


def test_a_picture_that_fails_has_its_line_and_the_next_one_works(page: Page) -> None:
    page.set_input_files(
        "#files",
        [
            {"name": "bad.png", "mimeType": "image/png", "buffer": b"text"},
            {"name": "good.png", "mimeType": "image/png", "buffer": encoded()},
        ],
    )
    page.fill("#size", "7")
    page.click("#start")
    until(page, "document.querySelectorAll('.item[data-state=failed]').length === 2")
    lines = page.locator(".problem").all_inner_texts()
    assert lines[1] == "good.png: in the browser, fast enlarges by a factor of 2"
    page.fill("#size", "2")
    page.click("#start")
    until(page, "document.querySelectorAll('.item[data-state=done]').length === 1")
    assert "bad.png: not a picture" in page.locator(".problem:visible").inner_text()


def renderers(root: int) -> int:
    """Most memory that a process below this one held, in bytes."""
    most = 0
    for process in family(root)[1:]:
        try:
            command = Path(f"/proc/{process}/cmdline").read_text("utf-8", "replace")
            status = Path(f"/proc/{process}/status").read_text("ascii", "replace")
        except OSError:
            continue
        if "--type=renderer" in command:
            held = [line for line in status.splitlines() if line.startswith("VmRSS:")]
            most = max([most, *(int(line.split()[1]) * 1024 for line in held)])
    return most


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_picture(page: Page) -> None:
    """12 megapixels, of which the result is 48: 144 MB, of which none is held at once."""
    most = {}
    for megapixels, (width, height) in {2: (1600, 1200), 12: (4000, 3000)}.items():
        content = encoded(width, height, "JPEG", quality=90)
        page.select_option("#model", "tiny")
        page.fill("#size", "2")
        name = f"{megapixels}.jpg"
        page.set_input_files(
            "#files", [{"name": name, "mimeType": "image/jpeg", "buffer": content}]
        )
        page.click("#start")
        end = time.monotonic() + 3 * SOON
        held = 0
        while page.locator(".item[data-state=done]").count() == 0:
            held = max(held, renderers(os.getpid()))
            assert time.monotonic() < end
            page.wait_for_timeout(200)
        most[megapixels] = held
        page.click("#clear")
    # The picture itself, decoded, is 36 MB larger, and a row of windows twice as long.
    assert most[12] - most[2] < 200 * 2**20, most
    assert most[12] < 900 * 2**20, most


def test_without_the_runtime_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^[^:]+: onnxruntime-web is not here.*npm install"):
        write_static_page(tmp_path / "page", tmp_path)
    done = upres("page", tmp_path / "page", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("upres: onnxruntime-web is not here")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "page").exists()
