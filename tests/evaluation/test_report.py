from __future__ import annotations

import base64
import dataclasses
import html
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from running import upres
from upres.card import Model
from upres.errors import InputError, MissingExtraError, OutputError, UsageError
from upres.evaluation import outputs, pictures, plots
from upres.evaluation.benchmark import (
    Enlarger,
    Evaluation,
    ImageResult,
    MethodResult,
    SetResult,
    evaluate,
)
from upres.evaluation.report import check_shown, write_report
from upres.evaluation.tables import file_stem, short_number
from upres.formats.image.vips import read_rgb8
from upres.raster.metrics import Scores, psnr


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00K"),
        (133_836, "134K"),
        (999_999, "1.00M"),
        (1_369_859, "1.37M"),
        (30_730_752_000, "30.7G"),
        (9_390_000_000_000, "9.39T"),
        (12_345_678_000_000_000, "12300T"),
    ],
)
def test_short_numbers(number: float | None, text: str) -> None:
    assert short_number(number) == text


def test_file_stems() -> None:
    assert file_stem(["fast", "edsr", "fast"], 4) == "fast-edsr-x4"
    assert file_stem(["../a b"], 2) == ".._a_b-x2"
    many = file_stem([f"{'long' * 10}{n}" for n in range(20)], 2)
    assert many.endswith("-and-19-more-x2")
    assert len(many) < 110


def result(**psnrs: list[float]) -> SetResult:
    """A set of pictures a, b, … with these PSNRs by method."""
    methods = [
        MethodResult(
            method,
            None,
            None,
            None,
            tuple(
                ImageResult(name, Scores(value, 0.0, 0.0, 0.0), 0.0, None)
                for name, value in zip("abcdef", values, strict=False)
            ),
        )
        for method, values in psnrs.items()
    ]
    return SetResult("s", Path("s"), False, tuple(methods))


def test_the_pictures_that_differ_most_from_bicubic() -> None:
    each = result(bicubic=[30, 30, 30, 30], one=[31, 30, 30, 30], two=[30, 30, 27, 30.5])
    assert pictures.most_different(each) == ["c", "a"]
    assert pictures.most_different(each, 3) == ["c", "a", "d"]
    # Two perfect results do not differ; a perfect one differs the most from one that is not.
    perfect = result(bicubic=[math.inf, 30, 30], one=[math.inf, 31, math.inf])
    assert pictures.most_different(perfect) == ["c", "b"]


def errors(*spots: tuple[int, int, float]) -> NDArray[np.float64]:
    """Zero but for spots of 2 x 2 pixels: top, left and level."""
    values = np.zeros((40, 50))
    for top, left, level in spots:
        values[top : top + 2, left : left + 2] = level
    return values


def inside(region: tuple[str, int, int], side: int, top: int, left: int) -> bool:
    _, first, second = region
    return first <= top <= first + side - 2 and second <= left <= second + side - 2


def test_regions_are_where_models_differ_and_where_they_err() -> None:
    bicubic = errors((5, 5, 100))
    one, two = errors((30, 10, 9), (8, 40, 8)), errors((30, 10, 9))
    found = pictures.regions([bicubic, one, two], 10, border=2)
    assert [why for why, _, _ in found] == ["the models differ most", "the models err most"]
    assert inside(found[0], 10, 8, 40)
    assert inside(found[1], 10, 30, 10)


def test_regions_of_a_single_model_are_held_against_bicubic() -> None:
    found = pictures.regions([errors((5, 5, 100), (30, 30, 9)), errors((30, 30, 9))], 8, border=2)
    assert inside(found[0], 8, 5, 5)
    assert inside(found[1], 8, 30, 30)
    assert "bicubic" in found[0][0]


def test_regions_leave_out_the_border_and_do_not_overlap() -> None:
    edge = errors((0, 0, 200), (20, 20, 5))
    first, second = pictures.regions([np.zeros_like(edge), edge], 12, border=2)
    assert inside(first, 12, 20, 20)
    assert abs(first[1] - second[1]) >= 12 or abs(first[2] - second[2]) >= 12
    # No room for a second.
    assert len(pictures.regions([np.zeros_like(edge), edge], 30, border=2)) == 1


def decoded(uri: str) -> tuple[str, NDArray[np.uint8]]:
    kind, _, content = uri.partition(";base64,")
    return kind, read_rgb8(base64.b64decode(content))


def test_small_pictures_stay_exact_and_large_ones_small() -> None:
    small = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    kind, image = decoded(pictures.data_uri(small))
    assert kind == "data:image/png"
    np.testing.assert_array_equal(image, small)
    y, x = np.mgrid[:520, :560]
    large = (127 + 90 * np.sin(np.stack([x / 20, y / 20, x / 30], axis=2))).astype(np.uint8)
    kind, image = decoded(pictures.data_uri(large))
    assert kind == "data:image/webp"
    assert psnr(image, large) > 35


def test_what_is_shown_of_a_picture() -> None:
    hr = np.full((90, 100, 3), 100, np.uint8)
    far, near = hr.copy(), hr.copy()
    far[40:50, 40:60] = 160
    near[40:50, 40:60] = 110
    shown = pictures.show("p.png", hr, [("bicubic", far, 20.0), ("m", near, 30.0)], border=2)
    assert [v.label for v in shown.versions] == ["bicubic", "m", "ground truth"]
    assert (shown.width, shown.height, shown.lossless) == (100, 90, True)
    for version, image in zip(shown.versions, (far, near, hr), strict=True):
        np.testing.assert_array_equal(decoded(version.uri)[1], image)
    # 60 grey levels are 60 * 219 / 255 = 51.5 of luma.
    assert shown.peak == 52
    maps = [decoded(version.error_uri)[1] for version in shown.versions[:2] if version.error_uri]
    brightness = [error[45, 50].sum() for error in maps]
    assert maps[0][5, 5].sum() < brightness[1] < brightness[0]
    assert shown.versions[2].error_uri is None
    crop = shown.crops[0]
    assert crop.height == crop.width == 64
    assert crop.top <= 40 < crop.top + 64
    window = np.s_[crop.top : crop.top + 64, crop.left : crop.left + 64]
    for tile, image in zip(crop.tiles, (far, near, hr), strict=True):
        np.testing.assert_array_equal(decoded(tile.uri)[1], image[window])
    # All 200 wrong pixels are inside.
    expected = 10 * math.log10(255**2 / ((60 * 219 / 255) ** 2 * 200 / 64**2))
    assert crop.tiles[0].psnr == pytest.approx(expected)
    assert crop.tiles[2].psnr is None


def scatter(*points: plots.Point) -> str | None:
    return plots.scatter(points, baseline=("bicubic", 28.0), x_label="x", text=str, name="n")


def test_plots_label_every_point_and_are_the_same_each_time() -> None:
    points = [plots.Point(f"a${n}$ <b>", 10.0**n, 30 + n, n) for n in range(10)]
    svg = scatter(*points)
    assert svg is not None
    assert svg == scatter(*points)
    for point in points:
        assert html.escape(point.label, quote=False) in svg
    assert "bicubic" in svg


def test_points_that_cannot_be_drawn_are_left_out() -> None:
    perfect, free = plots.Point("perfect", 1, math.inf, 1), plots.Point("free", 0, 30, 2)
    assert scatter(perfect, free) is None
    svg = scatter(perfect, free, plots.Point("real", 1, 30, 3))
    assert svg is not None
    assert "real" in svg
    assert "perfect" not in svg
    assert "free" not in svg


def test_labels_of_points_that_lie_together_do_not_overlap() -> None:
    svg = scatter(*(plots.Point(f"model {n}", 1 + n / 50, 30 + n / 50, n) for n in range(4)))
    assert svg is not None
    places = re.findall(r'<text style="([^"]*)" x="([\d.]+)" y="([\d.]+)"[^>]*>model', svg)
    assert len(places) == 4
    boxes = []
    for style, x, y in places:
        # A letter of the 7 is at most 7 pixels wide; 10 are a line's height.
        width = 7 * 7
        shift = {"start": 0, "middle": width / 2, "end": width}
        anchor = next((name for name in shift if f"text-anchor: {name}" in style), "start")
        boxes.append((float(x) - shift[anchor], float(y), width))
    for i, (x, y, width) in enumerate(boxes):
        for other_x, other_y, _ in boxes[:i]:
            assert abs(y - other_y) >= 9 or abs(x - other_x) >= width - 2


def test_inline_plots_take_the_pages_colours_and_share_no_names() -> None:
    svgs = [
        plots.scatter([plots.Point("a", 1, 30, 1)], baseline=None, x_label="x", text=str, name=name)
        for name in ("one", "two")
    ]
    assert svgs[0] is not None
    assert svgs[1] is not None
    first, second = (plots.inline(svg, title='a "b"') for svg in svgs if svg)
    assert first.startswith('<svg role="img" aria-label="a &quot;b&quot;"')
    assert "var(--ink)" in first
    assert plots.INK not in first
    assert "<style" not in first
    assert "<metadata" not in first
    names = [set(re.findall(r' id="([^"]+)"', each)) for each in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    # Nothing that is referred to has lost its name.
    for each, own in zip((first, second), names, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', each)) <= own


def test_the_report_holds_what_was_found(report: Path, evaluation: Evaluation) -> None:
    text = report.read_text("utf-8")
    for part in (evaluation.machine, evaluation.version, evaluation.protocol, "Tiny <Set>"):
        assert html.escape(part) in text.replace("&#39;", "&#x27;")
    for method in evaluation.sets[0].methods:
        assert html.escape(method.method) in text
        assert f"{method.means.psnr:.2f}" in text
        assert f"{method.lr_psnr:.2f}" in text
    assert "12.3M" in text
    assert "soft & <wide>" not in text  # it is escaped
    assert len(re.findall("<article", text)) == 2
    # Nothing that a browser would fetch.
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")


@pytest.mark.parametrize(("show", "names"), [(["a"], ["a.png"]), (["b & c.png", "d"], None)])
def test_chosen_pictures_are_shown(
    evaluation: Evaluation,
    models: list[Model],
    by_name: Enlarger,
    tmp_path: Path,
    show: list[str],
    names: list[str] | None,
) -> None:
    texts: list[str] = []
    path = tmp_path / "r.html"
    write_report(evaluation, models, path, show=show, enlarge=by_name, progress=texts.append)
    shown = re.findall(r'<article class="picture" id="set0-([^"]*)"', path.read_text("utf-8"))
    assert [html.unescape(name) for name in shown] == (names or ["b & c.png", "d.png"])
    assert len(texts) == len(shown)


def test_a_set_that_comes_twice_is_shown_once(
    evaluation: Evaluation, models: list[Model], by_name: Enlarger, tmp_path: Path
) -> None:
    (only,) = evaluation.sets
    again = dataclasses.replace(only, dataset="again")
    twice = dataclasses.replace(evaluation, sets=(only, again))
    write_report(twice, models, tmp_path / "r.html", enlarge=by_name)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert text.count("<article") == 2
    assert text.count('<section id="set') == 2


def test_perfect_results_and_none(
    evaluation: Evaluation, models: list[Model], by_name: Enlarger, tmp_path: Path
) -> None:
    (only,) = evaluation.sets
    perfect = dataclasses.replace(
        only,
        methods=tuple(
            dataclasses.replace(
                method,
                multiply_adds=None,
                images=tuple(
                    dataclasses.replace(i, scores=Scores(math.inf, 1.0, 0.0, 0.0), lr_psnr=math.inf)
                    for i in method.images
                ),
            )
            for method in only.methods
        ),
    )
    path = tmp_path / "r.html"
    each = dataclasses.replace(evaluation, sets=(perfect,))
    write_report(each, models, path, show=["a"], enlarge=by_name)
    text = path.read_text("utf-8")
    assert 'data-value="Infinity"' in text
    assert "∞" in text
    assert "<svg" not in text  # there is nothing to plot


def test_a_picture_that_is_in_no_set(picture_set: Path) -> None:
    check_shown(["a", "b & c.png"], [picture_set], 2)
    with pytest.raises(InputError, match=r"nobody: no picture .* there are a\.png, b & c\.png"):
        check_shown(["a", "nobody"], [picture_set], 2)


def test_a_report_that_cannot_be_written(
    evaluation: Evaluation, models: list[Model], by_name: Enlarger, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"r\.html"):
        write_report(evaluation, models, tmp_path / "none" / "r.html", enlarge=by_name)


def test_everything_is_written_into_the_folder(
    models: list[Model], picture_set: Path, tmp_path: Path
) -> None:
    found, written = outputs.evaluate_into(
        tmp_path / "out", models[:1], [picture_set], show=["a"], report=True
    )
    names = ["random-x2.html", "random-x2.json", "random-x2.csv"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    saved = json.loads(written[1].read_text("utf-8"))
    assert saved["sets"][0]["methods"][1]["mean"]["psnr"] == found.sets[0].methods[1].means.psnr


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_reports_packages(
    models: list[Model],
    picture_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for name in ("report", "pages", "plots", "pictures"):
        monkeypatch.delitem(sys.modules, f"upres.evaluation.{name}", raising=False)
        monkeypatch.delattr(f"upres.evaluation.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=r"upres\[eval\]': report=False does without"):
        outputs.evaluate_into(tmp_path / "out", models[:1], [picture_set])
    assert not (tmp_path / "out").exists()
    _, written = outputs.evaluate_into(tmp_path / "out", models[:1], [picture_set], report=False)
    assert [path.suffix for path in written] == [".json", ".csv"]


def test_pictures_for_no_report(models: list[Model], picture_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a: to be shown, .* report=True makes one"):
        outputs.evaluate_into(tmp_path, models, [picture_set], show=["a"], report=False)


def test_the_command(tmp_path: Path, model_file: Path, picture_set: Path) -> None:
    arguments: list[Any] = ["evaluate", model_file, "--data", picture_set, "--output", "out"]
    done = upres(*arguments, "--show", "d", cwd=tmp_path, columns=80)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "out" / "random-x2.html"
    assert page.exists()
    assert str(page.relative_to(tmp_path)) in done.stdout
    assert "…" not in done.stdout  # the table has room on a narrow terminal
    page.unlink()
    done = upres(*arguments, "--no-report", cwd=tmp_path, columns=80)
    assert done.returncode == 0, done.stderr
    assert not page.exists()
    done = upres(*arguments, "--show", "e", cwd=tmp_path, columns=80)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "e: no picture of the sets" in done.stderr


def test_scores_are_not_recorded_in_a_checkpoint(tmp_path: Path, picture_set: Path) -> None:
    done = upres("evaluate", "best.pt", "--data", picture_set, "--record", cwd=tmp_path, columns=80)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "best.pt: --record needs an .onnx" in done.stderr


def test_a_large_picture_is_said_to_be_shown_with_loss(
    models: list[Model], by_name: Enlarger, tmp_path: Path
) -> None:
    side = math.isqrt(pictures.LOSSLESS_PIXELS)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side + 2, 3), np.uint8)
    (tmp_path / "set").mkdir()
    pyvips.Image.new_from_array(pixels).pngsave(str(tmp_path / "set" / "a.png"))
    evaluation = evaluate(models, [tmp_path / "set"], enlarge=by_name)
    write_report(evaluation, models, tmp_path / "r.html", enlarge=by_name)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "data:image/webp" in text
    assert "WebP of quality 92" in text
    assert "Pixels are exact" not in text
