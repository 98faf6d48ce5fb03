"""The steps that the page does in the browser are those of the library, by their numbers."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upres.card import ModelCard
from upres.enlarging import planes, steps, tiles
from upres.enlarging.pieces import BORDER
from upres.models import read_model, shipped_models
from upres.raster.info import RasterInfo, bands_of, usual_roles
from upres.raster.pixels import Float32Array
from upres.raster.resize import bicubic
from upres.service.static_page import PAGE_FILES

ROUNDING = 2e-7
"""Of numbers up to 1: JavaScript computes in float64, and rounds to float32 when it stores."""


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs node")
    return found


def in_node(node: str, folder: Path, step: str, *given: Float32Array, **facts: Any) -> Float32Array:
    """The first of the planes that are given, after a step of the page's."""
    shutil.copyfile(PAGE_FILES / "steps.js", folder / "steps.mjs")
    runner = Path(__file__).with_name("steps_in_node.mjs")
    told = {"step": step, "shapes": [plane.size for plane in given], **facts}
    content = json.dumps(told).encode() + b"\n"
    content += b"".join(np.ascontiguousarray(plane, np.float32).tobytes() for plane in given)
    command = [node, runner, folder / "steps.mjs"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def picture(seed: int, height: int, width: int) -> Float32Array:
    """Bands x rows x columns of levels of 8 bits: grey, faint colours, flat parts, one edge."""
    rng = np.random.default_rng(seed)
    rough = rng.random((3, height // 4 + 2, width // 4 + 2)).repeat(4, 1).repeat(4, 2)
    made = rough[:, :height, :width] + rng.normal(0, 0.02, (3, height, width))
    made[:, :, : width // 3] = made[:1, :, : width // 3]
    made[1, : height // 2, : width // 4] += 2 / 255
    made[:, height // 2 :, width // 2 :] = rng.random((3, 1, 1))
    made[:, -2:] = 1
    return (np.rint(made.clip(0, 1) * 255) / 255).astype(np.float32)


def enlarged(seed: int, given: Float32Array, scale: int) -> Float32Array:
    """As a network may make it: with colours of its own, and ripples beyond the range."""
    rng = np.random.default_rng(seed + 1000)
    large = given.repeat(scale, -2).repeat(scale, -1)
    return (large + rng.normal(0, 0.05, large.shape)).astype(np.float32)


CASES = [(0, 40, 52, 2), (1, 33, 21, 3), (2, 18, 60, 4), (3, 1, 7, 2), (4, 9, 1, 3), (5, 5, 5, 4)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_colours_of_pixels_without_any(node: str, tmp_path: Path, case: tuple[int, ...]) -> None:
    seed, height, width, scale = case
    given = picture(seed, height, width)
    made = enlarged(seed, given, scale)
    facts = {"width": width, "height": height, "scale": scale}
    by_page = in_node(node, tmp_path, "keepNeutral", made, given, **facts)
    wanted = planes.keep_neutral(made.copy(), given)
    np.testing.assert_allclose(by_page.reshape(made.shape), wanted, atol=3 * ROUNDING)
    if min(height, width) > 5:
        assert np.abs(wanted - made).max() > 0.05  # and not because nothing is done


@pytest.mark.parametrize("case", CASES, ids=str)
def test_flat_parts(node: str, tmp_path: Path, case: tuple[int, ...]) -> None:
    seed, height, width, scale = case
    given = picture(seed, height, width)
    for some in (given, given[:1]):
        made = enlarged(seed, some, scale)
        facts = {"width": width, "height": height, "scale": scale}
        by_page = in_node(node, tmp_path, "keepFlat", made, some, **facts)
        wanted = made.copy()
        planes.keep_flat(wanted, some)
        np.testing.assert_array_equal(by_page.reshape(made.shape), wanted)


@pytest.mark.parametrize("near", [(8, 8, 0, 0), (0, 0, 8, 8), (0, 3, 2, 0), (8, 8, 8, 8)])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_borders(
    node: str, tmp_path: Path, case: tuple[int, ...], near: tuple[int, int, int, int]
) -> None:
    seed, height, width, scale = case
    left, top, right, bottom = near
    given = picture(seed, height, width)
    made = enlarged(seed, given, scale)
    facts = {"width": width, "height": height, "scale": scale, "near": near}
    by_page = in_node(node, tmp_path, "keepBordersNear", made, given, **facts)
    wanted = made.copy()
    rows = slice(0, min(top, height)), slice(max(0, height - bottom), height)
    columns = slice(0, min(left, width)), slice(max(0, width - right), width)
    planes.keep_borders_near(wanted, given, [rows, columns])
    np.testing.assert_allclose(by_page.reshape(made.shape), wanted, atol=ROUNDING)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_alpha(node: str, tmp_path: Path, case: tuple[int, ...]) -> None:
    seed, height, width, scale = case
    alpha = np.where(picture(seed, height, width)[0] > 0.5, picture(seed, height, width)[1], 0)
    alpha = alpha.astype(np.float32)
    made = enlarged(seed, alpha, scale)
    facts = {"width": width, "height": height, "scale": scale}
    by_page = in_node(node, tmp_path, "keepInPlace", made, alpha, **facts)
    wanted = planes.keep_in_place(made, alpha)
    np.testing.assert_array_equal(by_page.reshape(made.shape), wanted)

    colour = picture(seed + 50, height, width)
    by_page = in_node(node, tmp_path, "fillTransparent", colour, alpha, **facts)
    rows = np.concatenate([colour, alpha[None]]).transpose(1, 2, 0)
    filled = steps.filled_in(rows, 3, (0, 1, 2)).transpose(2, 0, 1)[:3]
    np.testing.assert_allclose(by_page.reshape(colour.shape), filled, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic(node: str, tmp_path: Path, scale: int) -> None:
    given = np.rint(picture(7, 14, 17).transpose(1, 2, 0) * 255)
    samples = np.dstack([given, np.full((14, 17), 255)]).astype(np.float32)
    facts = {"width": 17, "height": 14, "scale": scale}
    by_page = in_node(node, tmp_path, "bicubicPart", samples, **facts)
    wanted = bicubic(samples.astype(np.float64), size=(14 * scale, 17 * scale)).clip(0, 255)
    np.testing.assert_allclose(by_page.reshape(wanted.shape), wanted, atol=0.501)


@pytest.mark.parametrize("length", [1, 255, 256, 257, 300, 512, 999, 4000])
@pytest.mark.parametrize("halo", [0, 8, 34])
def test_windows(node: str, tmp_path: Path, length: int, halo: int) -> None:
    """Each sample of the result is of one window, at least a halo from that window's cut sides."""
    told = in_node(node, tmp_path, "cut", width=length, window=256, halo=halo)
    spans = [tiles.Span(*map(int, each)) for each in told.reshape(-1, 4)]
    assert [span.keep_start for span in spans] == [0, *(span.keep_stop for span in spans[:-1])]
    assert spans[-1].keep_stop == length
    for span in spans:
        assert 0 <= span.start < span.stop <= length
        assert span.stop - span.start <= 256
        assert span.start == 0 or span.keep_start - span.start >= halo
        assert span.stop == length or span.stop - span.keep_stop >= halo


def constants(file: str) -> dict[str, str]:
    text = (PAGE_FILES / file).read_text("utf-8")
    return dict(re.findall(r"^const ([A-Z_]+) = (.*);$", text, re.MULTILINE))


def test_the_numbers_in_the_page_are_those_of_the_library() -> None:
    told = constants("steps.js") | constants("worker.js")
    assert told["NEUTRAL_RADIUS"] == str(planes.NEUTRAL_RADIUS)
    assert told["NEUTRAL_RANGE"] == "Math.fround(4 / 255)"
    assert planes.NEUTRAL_RANGE == 4 / 255
    assert told["FILL_RADIUS"] == str(steps.FILL_RADIUS)
    assert told["BORDER"] == str(BORDER)
    assert planes.FLAT_RADIUS == 1  # which is written out there


def names(channels: int, card: ModelCard) -> list[str]:
    bands = bands_of(usual_roles(channels) or (), 0, 255)
    info = RasterInfo(90, 80, bands, np.dtype(np.uint8))
    return [step.name for step in steps.steps_for(info, card, (180, 160))]


def test_the_library_has_no_step_that_the_page_has_not() -> None:
    """Of pictures that browsers give: RGB of 8 bits, with alpha or without.

    Colours that alpha hides are not kept, as docs/serve.md says.
    """
    card = next(read_model(path).card for path in shipped_models()["fast"].values())
    opaque = ["network", "keep neutrals", "keep flat", "clip", "take its piece"]
    assert names(3, card) == opaque
    alpha = [*opaque[:3], "keep alpha in place", *opaque[3:]]
    assert names(4, card) == ["fill transparent", *alpha, "put hidden back"]
    # In that order: the step that is named flat begins with borders.
    source = inspect.getsource(steps.keep_flats)
    assert source.index("keep_borders_near(") < source.index("keep_flat(")
    page = (PAGE_FILES / "worker.js").read_text("utf-8")
    body = page[page.index("async function enlargeWindow") :]
    order = [
        "fillTransparent(",
        "await run(",
        "keepNeutral(",
        "keepBordersNear(made",
        "keepFlat(made",
    ]
    order += ["keepBordersNear(cover", "keepFlat(cover", "keepInPlace(cover"]
    places = [body.index(each) for each in order]
    assert places == sorted(places)


def test_models_of_the_page_need_nothing_that_it_does_not_do() -> None:
    for name in ("fast", "balanced", "photo"):
        for path in shipped_models()[name].values():
            card = read_model(path).card
            assert (card.channels, card.multiple_of) == (3, 1)
            assert card.halo is not None
            assert card.halo >= max(planes.NEUTRAL_RADIUS, planes.FLAT_RADIUS)
