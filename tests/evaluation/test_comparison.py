from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from upres.errors import InputError, MissingExtraError, ModelError, OutputError, UsageError
from upres.evaluation import outputs
from upres.evaluation.comparison import cautions, comparison_table, differences, result
from upres.evaluation.comparison_page import panels
from upres.evaluation.runs import read_runs

if TYPE_CHECKING:
    from .conftest import WriteRun

HEADER = "step,learning_rate,loss,it_per_s,valid_psnr,seconds,skipped\n"
OLD_HEADER = "step,learning_rate,loss,it_per_s,valid_psnr\n"


def test_a_run_as_its_folder_tells(tmp_path: Path, write_run: WriteRun, model_file: Path) -> None:
    folder = write_run(tmp_path / "wide", features=48)
    shutil.copy(model_file, folder / "tiny-x2.onnx")
    shutil.copy(model_file, folder / "another.onnx")
    (run,) = read_runs([folder])
    assert run.label == "wide"
    assert run.recipe["network.features"] == "48"
    assert run.recipe["network.name"] == "plain"
    assert run.recipe["data.valid"] == '["valid.tar"]'
    assert run.environment["packages.torch"] == "2.9"
    assert run.state == "finished"
    row = result(run)
    assert (row["best_psnr"], row["best_step"], row["last_psnr"]) == (31.25, 400, 31.25)
    assert (row["steps"], row["planned_steps"], row["seconds"]) == (400, 400, 38)
    assert row["it_per_s"] == 11.0
    assert not row["seconds_estimated"]
    # Four rows: 5% are not even one, so the last stands alone.
    assert row["loss"] == 0.01
    assert run.model == folder / "tiny-x2.onnx"
    # Convolutions of 3->8, four of 8->8, 8->12, each 3x3; and 3->12 of 1x1.
    weights = 9 * (3 * 8 + 4 * 8 * 8 + 8 * 12)
    assert row["parameters"] == weights + 5 * 8 + 12 + 36
    assert row["multiply_adds"] == (weights + 36) * 640 * 360


def test_the_best_is_not_the_last(tmp_path: Path, write_run: WriteRun) -> None:
    log = (
        HEADER + "1,1e-3,0.5,1,30,1,0\n2,1e-3,0.4,1,32,2,0\n3,1e-3,0.3,1,32,3,0\n4,1,0.2,1,31,4,0\n"
    )
    row = result(read_runs([write_run(tmp_path / "a", log=log, steps=4)])[0])
    assert (row["best_psnr"], row["best_step"], row["last_psnr"]) == (32, 2, 31)


def test_smoothed_losses(tmp_path: Path, write_run: WriteRun) -> None:
    losses = [float(n) for n in range(1, 41)]
    losses[38] = float("nan")
    rows = (f"{n},1e-3,{loss},10,,{n},0\n" for n, loss in enumerate(losses, 1))
    (run,) = read_runs([write_run(tmp_path / "a", log=HEADER + "".join(rows))])
    # 5% of 40 rows are 2: each with the one before it, but for the one that is no number.
    assert run.smoothed_loss == [1.0, *(n + 0.5 for n in range(1, 38)), 38.0, 40.0]


def test_an_old_log_without_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "log.csv").write_text(OLD_HEADER + "100,1e-3,0.1,10,\n200,1e-3,0.1,20,31.5\n")
    (run,) = read_runs([folder])
    assert [row.seconds for row in run.log] == [10.0, 15.0]
    assert run.seconds_estimated
    assert (run.recipe, run.environment, run.planned) == ({}, {}, None)
    assert run.state == "step 200"
    assert any("no seconds" in text for text in cautions([run]))


@pytest.mark.parametrize("log", ["", HEADER, HEADER + "100,0.001,0.0"])
def test_a_run_without_a_step(tmp_path: Path, write_run: WriteRun, log: str) -> None:
    (run,) = read_runs([write_run(tmp_path / "new", log=log)])
    assert run.state == "no steps yet"
    row = result(run)
    assert row["steps"] == 0
    for key in ("best_psnr", "best_step", "last_psnr", "loss", "seconds", "it_per_s"):
        assert row[key] is None
    assert panels([run]) == []
    _, written = outputs.compare_into(tmp_path / "out", [run.folder])
    assert "None of the runs has a step" in written[0].read_text("utf-8")


def test_a_run_that_has_only_a_recipe(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "new")
    (folder / "log.csv").unlink()
    (folder / "environment.json").unlink()
    assert read_runs([folder])[0].state == "no steps yet"


def test_a_run_in_progress(tmp_path: Path, write_run: WriteRun) -> None:
    # Its last line is being written.
    log = HEADER + "1000,0.001,0.04,10.0,30.0,10,0\n1100,0.001,0.03,12.0,,2"
    (run,) = read_runs([write_run(tmp_path / "a", log=log, steps=14000)])
    assert run.state == "step 1,000 of 14,000"
    assert len(run.log) == 1


def one_line(error: BaseException, *parts: object) -> None:
    assert "\n" not in str(error)
    for part in parts:
        assert str(part) in str(error)


def test_folders_that_are_no_runs(tmp_path: Path, write_run: WriteRun) -> None:
    with pytest.raises(InputError) as caught:
        read_runs([tmp_path / "none"])
    one_line(caught.value, tmp_path / "none", "no such folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        read_runs([tmp_path / "empty"])
    one_line(caught.value, tmp_path / "empty", "not a training run", "log.csv")
    folder = write_run(tmp_path / "a")
    with pytest.raises(UsageError) as caught_twice:
        read_runs([folder, folder / ".." / "a"])
    one_line(caught_twice.value, "given twice")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("recipe.toml", "name = ", "recipe.toml"),
        ("recipe.toml", "\xff", "recipe.toml"),
        ("environment.json", "{", "environment.json"),
        ("environment.json", "[]", "environment.json"),
        ("log.csv", "a,b\n1,2\n", "no column"),
        ("log.csv", HEADER + "100,1e-3,0.1,10,,10,0\n200,x\n", "line 3"),
        ("log.csv", HEADER + "100,1e-3,what,10,,10,0\n", "line 2"),
    ],
)
def test_damaged_files(
    tmp_path: Path, write_run: WriteRun, name: str, content: str, part: str
) -> None:
    folder = write_run(tmp_path / "a")
    (folder / name).write_text(content, "latin-1")
    with pytest.raises(InputError) as caught:
        read_runs([folder])
    one_line(caught.value, folder / name, part)


def test_a_damaged_model(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "tiny-x2.onnx").write_text("no model")
    with pytest.raises(ModelError) as caught:
        read_runs([folder])
    one_line(caught.value, folder / "tiny-x2.onnx")


def test_runs_of_one_name(tmp_path: Path, write_run: WriteRun) -> None:
    folders = [write_run(tmp_path / parent / "run") for parent in ("first", "second")]
    assert [run.label for run in read_runs(folders)] == ["run (first)", "run (second)"]


def test_differences() -> None:
    values = [{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]
    assert differences(values) == {"b": ["2", "3"], "c": ["(not there)", "4"]}
    assert differences(values[:1]) == {}


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("scale = 2", "scale = 3", "scales: their PSNRs do not compare"),
        ('["valid.tar"]', '["other.tar"]', "different pictures: their PSNRs do not compare"),
        ("[data]", '[data]\ndegradation = "jpeg"', "degraded in different ways: their PSNRs"),
        ("[optimiser]", "[loss]\nmse = 1.0\n[optimiser]", "their losses do not compare"),
        ("[optimiser]", '[teacher]\nmodel = "x"\n[optimiser]', "their losses do not compare"),
    ],
)
def test_what_does_not_compare_is_said(
    tmp_path: Path, write_run: WriteRun, old: str, new: str, part: str
) -> None:
    folders = [write_run(tmp_path / name) for name in "ab"]
    assert cautions(read_runs(folders)) == []
    recipe = folders[1] / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(old, new))
    (caution,) = cautions(read_runs(folders))
    assert part in caution


@pytest.mark.parametrize(
    ("degradation", "caution"), [("bicubic", False), ("jpeg", True), ("photo", True)]
)
def test_a_seed_matters_where_it_degrades(
    tmp_path: Path, write_run: WriteRun, degradation: str, caution: bool
) -> None:
    folders = [write_run(tmp_path / str(seed), recipe=f"seed = {seed}") for seed in (0, 1)]
    for folder in folders:
        recipe = folder / "recipe.toml"
        drawn = f'[data]\ndegradation = "{degradation}"'
        recipe.write_text(recipe.read_text().replace("[data]", drawn))
    found = cautions(read_runs(folders))
    assert ["degraded in different ways" in text for text in found] == [True] * caution
    assert cautions(read_runs(folders[:1])) == []


def test_runs_on_two_machines_and_one_without_a_recipe(tmp_path: Path, write_run: WriteRun) -> None:
    a = write_run(tmp_path / "a")
    b = write_run(tmp_path / "b", environment='{"device": "a GPU", "threads": 1}')
    (b / "recipe.toml").unlink()
    found = cautions(read_runs([a, b]))
    assert any("device and threads" in text and "seconds" in text for text in found)
    assert any(text.startswith("b has no recipe.toml") for text in found)


def test_the_table_on_a_narrow_terminal(tmp_path: Path, write_run: WriteRun) -> None:
    folders = [write_run(tmp_path / "a"), write_run(tmp_path / "b", log=HEADER)]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(read_runs(folders)))
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["a", "finished", "31.250", "400", "31.250", "0.01000", "400", "38", "11", "-", "-"] in (
        lines
    )
    assert ["b", "no", "steps", "yet", "-", "-", "-", "-", "0", "-", "-", "-", "-"] in lines


def test_what_is_written(tmp_path: Path, write_run: WriteRun) -> None:
    folders = [
        write_run(tmp_path / "narrow & <b>", features=32),
        write_run(tmp_path / "wide", features=64),
    ]
    runs, written = outputs.compare_into(tmp_path / "out", folders)
    assert [path.name for path in written] == ["compare.html", "compare.csv", "curves.svg"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(p.name for p in written)
    page = written[0].read_text("utf-8")
    assert "narrow &amp; &lt;b&gt;" in page
    assert "<b>" not in page
    assert re.findall('<th scope="row">([^<]+)</th>', page) == ["network.features"]
    assert page.count('<svg role="img"') == 3
    with written[1].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [run.label for run in runs]
    assert [row["best_psnr"] for row in rows] == ["31.25"] * 2
    assert rows[0]["parameters"] == ""
    svg = written[2].read_text("utf-8")
    assert "narrow &amp; &lt;b&gt;" in svg
    outputs.compare_into(tmp_path / "out", folders)
    assert written[2].read_text("utf-8") == svg


def test_a_folder_that_cannot_be_written(tmp_path: Path, write_run: WriteRun) -> None:
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(OutputError, match="blocked"):
        outputs.compare_into(tmp_path / "blocked" / "out", [write_run(tmp_path / "a")])


def test_without_the_pages_packages(
    tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in ("comparison_page", "pages"):
        monkeypatch.delitem(sys.modules, f"upres.evaluation.{name}", raising=False)
        monkeypatch.delattr(f"upres.evaluation.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=r"upres compare .*upres\[eval\]"):
        outputs.compare_into(tmp_path / "out", [write_run(tmp_path / "a")])


def test_the_command_needs_no_torch(tmp_path: Path, write_run: WriteRun) -> None:
    for name, features in (("a", 32), ("b", 64)):
        write_run(tmp_path / name, features=features)
    code = "import sys; sys.modules['torch'] = None; from upres.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", "a", "b", "--output", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "31.250" in done.stdout
    assert "wrote out/compare.html" in done.stdout
