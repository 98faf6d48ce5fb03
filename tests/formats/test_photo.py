from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from upres.errors import InputError, OutputError
from upres.formats.photo import SUFFIXES, Photo, check_output, open_photo, read_rgb8, write_photo


def save(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    pyvips.Image.new_from_array(array).write_to_file(str(path), **options)
    return path


def copy(source: Path, target: Path) -> Photo:
    """Through the adapter and back at scale 1, as a perfect network would."""
    photo = open_photo(source)
    write_photo(target, photo.rows(), photo, scale=1)
    return photo


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_give_back_every_sample(
    tmp_path: Path, dtype: type, channels: int, suffix: str
) -> None:
    random = np.random.default_rng(0)
    array = random.integers(0, np.iinfo(dtype).max, (150, 70, channels), dtype, endpoint=True)
    source = save(tmp_path / f"in{suffix}", array)
    copy(source, tmp_path / f"out{suffix}")
    before, after = (
        pyvips.Image.new_from_file(str(tmp_path / f"{n}{suffix}")) for n in ("in", "out")
    )
    assert (after.format, after.bands) == (before.format, before.bands)
    np.testing.assert_array_equal(after.numpy(), before.numpy())


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    y, x = np.mgrid[:64, :80]
    array = np.stack([x * 3, y * 3, x + y], axis=2).astype(np.uint8)
    source = save(tmp_path / f"in{suffix}", array, Q=95)
    copy(source, tmp_path / f"out{suffix}")
    difference = read_rgb8(tmp_path / f"out{suffix}").astype(int) - array
    assert np.abs(difference).mean() < 2


def test_alpha_that_is_opaque_is_not_worked_on_but_written(tmp_path: Path) -> None:
    array = np.full((8, 9, 4), 255, np.uint8)
    array[:, :, :3] = 77
    photo = copy(save(tmp_path / "in.png", array), tmp_path / "out.png")
    assert photo.channels == 3
    np.testing.assert_array_equal(
        pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy(), array
    )


def test_metadata_goes_along_and_orientation_is_applied_once(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "inputs" / "photo" / "Landscape_6.jpg"
    copy(source, tmp_path / "out.jpg")
    before = pyvips.Image.new_from_file(str(source))
    after = pyvips.Image.new_from_file(str(tmp_path / "out.jpg"))
    assert (after.width, after.height) == (before.height, before.width)
    assert before.get("orientation") == 6
    assert not after.get_typeof("orientation") or after.get("orientation") == 1
    assert after.xres == pytest.approx(before.xres)
    upright = before.autorot()
    assert (upright.cast("float") - after).abs().avg() < 2


def test_colour_profile_goes_along(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "inputs" / "photo" / "icc_profile.png"
    copy(source, tmp_path / "out.png")
    before, after = (
        pyvips.Image.new_from_file(str(path)).get("icc-profile-data")
        for path in (source, tmp_path / "out.png")
    )
    assert after == before


def test_cmyk_becomes_rgb(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "inputs" / "photo" / "pil_sample_cmyk.jpg"
    photo = copy(source, tmp_path / "out.jpg")
    assert photo.channels == 3
    after = pyvips.Image.new_from_file(str(tmp_path / "out.jpg"))
    assert after.interpretation == "srgb"


def test_a_large_output_is_put_together_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upres.formats.photo._SPOOL_BYTES", 0)
    array = np.random.default_rng(1).integers(0, 256, (100, 30, 3), np.uint8)
    copy(save(tmp_path / "in.png", array), tmp_path / "out.png")
    np.testing.assert_array_equal(read_rgb8(tmp_path / "out.png"), array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    copy(save(tmp_path / "in.png", np.zeros((3, 3, 3), np.uint8)), tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == (tmp_path / "in.png").stat().st_mode


def damaged(path: Path, kind: str) -> Path:
    if kind == "text":
        path.write_text("just some text, whatever the file is called")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "truncated":
        array = np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8)
        content = save(path, array).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "gif":
        save(path.with_suffix(".gif"), np.zeros((4, 4, 3), np.uint8)).rename(path)
    elif kind == "float":
        save(path.with_suffix(".tif"), np.zeros((4, 4, 3), np.float32)).rename(path)
    elif kind == "pages":
        image = pyvips.Image.black(4, 8, bands=3).copy(interpretation="srgb")
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "page-height", 4)
        image.tiffsave(str(path.with_suffix(".tif")))
        path.with_suffix(".tif").rename(path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a picture in a format that upres reads"),
        ("empty", "the file is empty"),
        ("folder", "cannot read this picture: Is a directory"),
        ("missing", "no such file"),
        ("truncated", "damaged or truncated"),
        ("gif", "GIF files are not handled"),
        ("float", "samples are float"),
        ("pages", "has 2 pages"),
    ],
)
def test_bad_files_are_named_and_nothing_is_written(
    tmp_path: Path, kind: str, message: str
) -> None:
    path = damaged(tmp_path / "bad.jpg", kind)
    target = tmp_path / "out" / "x.png"
    target.parent.mkdir()
    with pytest.raises(InputError, match=message) as caught:
        copy(path, target)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncation_is_found_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    content = save(
        path, np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8)
    ).read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"damaged or truncated|not a picture"):
        copy(path, tmp_path / "out.png")


@pytest.mark.parametrize(
    ("name", "size", "alpha", "message"),
    [
        ("x.bmp", 10, False, "cannot write this format"),
        ("x", 10, False, "cannot write this format"),
        ("x.jpg", 70_000, False, "more than the 65535 pixels"),
        ("x.webp", 17_000, False, "more than the 16383 pixels"),
        ("x.JPG", 10, True, "cannot hold the picture's transparency"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    name: str, size: int, alpha: bool, message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        check_output(Path(name), height=5, width=size, alpha=alpha)


def test_a_folder_that_is_missing_or_read_only(tmp_path: Path) -> None:
    photo = open_photo(save(tmp_path / "in.png", np.zeros((3, 3, 3), np.uint8)))
    with pytest.raises(OutputError, match=r"none/out.png: cannot write here: No such file"):
        write_photo(tmp_path / "none" / "out.png", photo.rows(), photo, scale=1)
    if os.geteuid() == 0:
        return  # to root, every folder is writable
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"locked/out.png: cannot write here: Permission denied"):
        write_photo(locked / "out.png", photo.rows(), photo, scale=1)


def test_grey_and_alpha_become_plain_rgb_where_rgb_is_asked_for(tmp_path: Path) -> None:
    grey = save(tmp_path / "g.png", np.full((3, 4), 9, np.uint8))
    assert read_rgb8(grey).shape == (3, 4, 3)
    deep = save(tmp_path / "d.png", np.full((3, 4, 4), 257 * 9, np.uint16))
    np.testing.assert_array_equal(read_rgb8(deep), np.full((3, 4, 3), 9))
    np.testing.assert_array_equal(read_rgb8(deep.read_bytes()), np.full((3, 4, 3), 9))
