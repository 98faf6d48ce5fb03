"""Models on a video's frames, against scores by others and videos whose motion is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

import fakes
from formats.video.clips import frames, made, run
from running import upres
from upres.card import Model
from upres.errors import InputError
from upres.evaluation.video import (
    MEASURES,
    VIDEO_PROTOCOL,
    evaluate_video,
    video_table,
    write_video_scores,
)
from upres.raster.metrics import studio_luma
from upres.raster.resize import bicubic

pytest.importorskip("av")

Rgb8 = NDArray[np.uint8]

MOVING = "testsrc2=s=96x80:r=25:d=0.4"


def by_bicubic(image: Rgb8, model: Model) -> Rgb8:
    result: Rgb8 = bicubic(image, scale=model.card.scale)
    return result


def repeated(image: Rgb8, model: Model) -> Rgb8:
    return image.repeat(2, 0).repeat(2, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Without loss, and as red, green and blue, so that others see the same pixels.
    path = tmp_path_factory.mktemp("scores") / "clip.mkv"
    return made(path, "-c:v", "ffv1", "-pix_fmt", "gbrp", pictures=MOVING)


def test_a_model_that_is_bicubic_scores_as_it(clip: Path) -> None:
    baseline, same = evaluate_video([fakes.fake_model()], clip, enlarge=by_bicubic)
    assert (baseline.method, same.method) == ("bicubic", "fake x2")
    assert baseline.frames == same.frames
    # The first and the last two are left out.
    assert [frame.frame for frame in same.frames] == list(range(3, len(frames(clip)) - 1))


def test_scores_of_a_frame_are_those_of_other_programs(clip: Path, tmp_path: Path) -> None:
    run("ffmpeg", "-v", "error", "-i", clip, tmp_path / "%d.png")
    import PIL.Image

    frame = np.asarray(PIL.Image.open(tmp_path / "3.png").convert("RGB"))
    estimate = bicubic(frame, scale=0.5).repeat(2, 0).repeat(2, 1)
    inner = np.s_[8:-8, 8:-8]
    luma = [np.round(studio_luma(np.ascontiguousarray(p[inner]))) for p in (frame, estimate)]
    _, scores = evaluate_video([fakes.fake_model()], clip, enlarge=repeated)
    expected = peak_signal_noise_ratio(*luma, data_range=255)
    assert scores.frames[0].psnr == pytest.approx(expected, abs=1e-9)


def test_a_picture_that_stands_still_flickers_as_its_noise_does(tmp_path: Path) -> None:
    still = made(
        tmp_path / "still.mkv",
        *("-c:v", "ffv1", "-pix_fmt", "gbrp"),
        pictures="color=0x808080:s=96x80:r=25:d=0.4",
    )
    draw = np.random.default_rng(0)

    def noisy(image: Rgb8, model: Model) -> Rgb8:
        large = by_bicubic(image, model).astype(int)
        shake = draw.choice([-3, 3], (*large.shape[:2], 1))
        return np.clip(large + shake, 0, 255).astype(np.uint8)

    baseline, shaken = evaluate_video([fakes.fake_model()], still, enlarge=noisy)
    assert baseline.mean("flicker") == 0
    assert baseline.mean("warping") == 0
    # Half of the pixels change from 125 to 131, or back, whose luma is 123 and 129.
    assert shaken.mean("flicker") == pytest.approx(3, abs=0.1)
    assert shaken.mean("warping") == pytest.approx((6 / 255) ** 2 / 2, rel=0.1)


def test_motion_is_taken_back(tmp_path: Path) -> None:
    # A smooth picture that moves by two pixels a frame.
    y, x = np.mgrid[:80, :140]
    wave = np.sin(x / 5) * np.sin(y / 7) + np.sin((x + y) / 11)
    import PIL.Image

    for number in range(7):
        part = wave[:, 2 * number : 2 * number + 96]
        pixels = np.uint8(127 + 50 * part)[:, :, None].repeat(3, 2)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    moving = tmp_path / "moving.mkv"
    run(
        *("ffmpeg", "-v", "error", "-i", tmp_path / "%d.png"),
        *("-c:v", "ffv1", "-pix_fmt", "gbrp", moving),
    )
    baseline, _ = evaluate_video([fakes.fake_model()], moving, enlarge=by_bicubic)
    change = np.mean((wave[:, 2:98] - wave[:, :96]) ** 2) * (50 * 219 / 255 / 255) ** 2
    assert baseline.mean("warping") < change / 20


def test_videos_that_cannot_be_measured(tmp_path: Path) -> None:
    short = made(tmp_path / "short.mkv", pictures="testsrc2=s=96x80:r=25:d=0.16")
    with pytest.raises(InputError, match="has 4 frames"):
        evaluate_video([fakes.fake_model()], short, enlarge=repeated)
    small = made(tmp_path / "small.mkv", pictures="testsrc2=s=24x24:r=25:d=0.4")
    with pytest.raises(InputError, match="too small"):
        evaluate_video([fakes.fake_model()], small, enlarge=repeated)


def test_files_have_each_frame_and_the_means(clip: Path, tmp_path: Path) -> None:
    scores = evaluate_video([fakes.fake_model()], clip, enlarge=repeated)
    table = write_video_scores(scores, clip, 2, tmp_path / "scores")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2 * (len(scores[0].frames) + 1)
    told = json.loads((tmp_path / "scores.json").read_text())
    assert told["protocol"] == VIDEO_PROTOCOL
    for method, scored in zip(told["methods"], scores, strict=True):
        for measure in MEASURES:
            assert method["means"][measure] == pytest.approx(scored.mean(measure))
    assert video_table(scores, clip, 2).row_count == 2


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone_pristine.mp4"])
def test_near_static_parts_flicker_little_more_than_by_bicubic(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    source = shared_data / "inputs" / "video" / name
    excerpt = ("-ss", "2", "-i", source, "-frames:v", "8", "-c:v", "libx264", "-crf", "1")
    run("ffmpeg", "-v", "error", *excerpt, tmp_path / name)
    said = upres("evaluate", "fast", "-s", "2", "-d", name, "-o", "out", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    (written,) = (tmp_path / "out").glob("*.csv")
    rows = csv.DictReader(written.read_text().splitlines())
    means = {row["method"]: float(row["flicker"]) for row in rows if row["frame"] == "mean"}
    assert 0 < means["fast x2"] <= 1.1 * means["bicubic"]


def test_the_command_measures_videos_by_themselves(clip: Path, tmp_path: Path) -> None:
    said = upres("evaluate", "fast", "-s", "2", "-d", clip, "-o", "out", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".csv", ".json"]
    for line in said.stdout.splitlines():
        assert "Traceback" not in line
    mixed = upres("evaluate", "fast", "-d", clip, "--jpeg", "60", cwd=tmp_path)
    assert mixed.returncode == 2
    assert "a video is measured frame by frame" in mixed.stderr
