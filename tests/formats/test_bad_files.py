from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile

import fakes
from upres.enlarging.files import enlarge_to, open_file
from upres.enlarging.options import Options
from upres.errors import InputError, OutputError, UsageError
from upres.formats.image.vips import VipsSource, read_rgb8


def save(path: Path, array: np.ndarray[Any, Any], **options: Any) -> Path:
    pyvips.Image.new_from_array(array).write_to_file(str(path), **options)
    return path


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
    elif kind == "mask":
        import tifffile

        with tifffile.TiffWriter(path) as writer:
            writer.write(np.zeros((4, 4), np.uint8))
            writer.write(np.zeros((4, 4), bool), subfiletype=4)
    elif kind == "page":
        import tifffile

        with tifffile.TiffWriter(path) as writer:
            for kinds in ([], [0, 1]):
                channels = np.zeros((4, 4, 3 + len(kinds)), np.uint8)
                writer.write(channels, photometric="rgb", planarconfig="contig", extrasamples=kinds)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a picture in a format that upres reads"),
        ("empty", "the file is empty"),
        ("folder", "cannot read this picture: Is a directory"),
        ("missing", "no such file"),
        ("truncated", "damaged or truncated"),
        ("mask", "page 2 is a mask, which upres would not keep"),
        ("page", r"multiplied by alpha, and it has 2 bands .* alpha is unassociated \(page 2\)"),
    ],
)
def test_bad_files_are_named_and_nothing_is_written(
    tmp_path: Path, kind: str, message: str
) -> None:
    path = damaged(tmp_path / "bad.jpg", kind)
    target = tmp_path / "out" / "x.png"
    target.parent.mkdir()
    target.write_text("precious")
    with pytest.raises(InputError, match=message) as caught:
        fakes.enlarge_file(path, target)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in target.parent.iterdir()] == ["x.png"]
    assert target.read_text() == "precious"


# Of others than libvips writes, the contract of sources shows it.
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".avif", ".gif"])
def test_truncation_is_found_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    content = save(
        path, np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8)
    ).read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"damaged or truncated|not a picture"):
        fakes.enlarge_file(path, tmp_path / "out.png")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "size", "channels", "message"),
    [
        ("x.xyz", 10, 3, "cannot write this format"),
        ("x", 10, 3, "cannot write this format"),
        ("x.jpg", 33_000, 3, "66000x2, is more than the 65535 pixels"),
        ("x.webp", 8_500, 3, "more than the 16383 pixels"),
        ("x.avif", 8_500, 3, "more than the 16384 pixels"),
        ("x.JPG", 10, 4, "cannot hold the picture's transparency"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, name: str, size: int, channels: int, message: str
) -> None:
    source = save(tmp_path / "in.png", np.zeros((1, size, channels), np.uint8))
    with pytest.raises(OutputError, match=message) as caught:
        fakes.enlarge_file(source, tmp_path / name)
    assert name in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.png"]


def test_a_folder_that_is_missing_or_read_only(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(OutputError, match=r"none/out.png: cannot write here: No such file"):
        fakes.enlarge_file(source, tmp_path / "none" / "out.png")
    if os.geteuid() == 0:
        return  # to root, every folder is writable
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"locked/out.png: cannot write here: Permission denied"):
        fakes.enlarge_file(source, locked / "out.png")


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", np.zeros((3, 3, 3), np.uint8))
    fakes.enlarge_file(source, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == source.stat().st_mode


def test_results_of_one_name_so_far_do_not_meet(tmp_path: Path) -> None:
    from upres.files import PROCESS, TEMPORARY, replacing

    one, two = (tmp_path / f"{'x' * 100}{end}.png" for end in "ab")
    with replacing(one) as first, replacing(two) as second:
        assert first != second
        for name in (first.name, second.name):
            match = TEMPORARY.fullmatch(name)
            assert match
            assert match["process"] == PROCESS
        first.write_text("one")
        second.write_text("two")
    assert (one.read_text(), two.read_text()) == ("one", "two")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 2, "width": 5}, "one of scale, width, height and fit, not scale and width"),
        ({"scale": 0.5}, "at least 1, not 0.5"),
        ({"scale": float("nan")}, "at least 1, not nan"),
        ({"scale": float("inf")}, "at least 1, not inf"),
        ({"width": 0}, "at least 1 pixel, not 0"),
        ({"fit": (3, 0)}, "at least 1x1 pixels, not 3x0"),
        ({"quality": 101}, "from 1 to 100, not 101"),
        ({"max_pixels": 0}, "at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Options(**values)


def test_grey_and_alpha_become_plain_rgb_where_rgb_is_asked_for(tmp_path: Path) -> None:
    grey = save(tmp_path / "g.png", np.full((3, 4), 9, np.uint8))
    assert read_rgb8(grey).shape == (3, 4, 3)
    deep = save(tmp_path / "d.png", np.full((3, 4, 4), 257 * 9, np.uint16))
    np.testing.assert_array_equal(read_rgb8(deep), np.full((3, 4, 3), 9))
    np.testing.assert_array_equal(read_rgb8(deep.read_bytes()), np.full((3, 4, 3), 9))


@pytest.mark.parametrize(
    ("suffix", "kind", "sample_bytes"),
    [("jpg", "a progressive JPEG", 2), ("png", "interlaced", 1)],
)
def test_what_can_only_be_decoded_whole_may_not_take_most_of_the_memory(
    tmp_path: Path, suffix: str, kind: str, sample_bytes: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    whole = save(tmp_path / f"whole.{suffix}", noise, interlace=True)
    plain = save(tmp_path / f"plain.{suffix}", noise)
    loader = {"jpg": "jpegload", "png": "pngload"}[suffix]
    needed = sample_bytes * 40 * 50 * 3
    for enough in (2 * needed, None):  # which is to say that nobody knows
        VipsSource(whole, loader, memory_of=lambda enough=enough: enough)
    with pytest.raises(InputError, match=rf"whole.{suffix}: .*{kind}.*, whose 50x40 pixels take"):
        VipsSource(whole, loader, memory_of=lambda: 2 * needed - 2)
    VipsSource(plain, loader, memory_of=lambda: 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="pipe can be read once only: give it as standard input"):
        enlarge_to(tmp_path / "pipe.png", tmp_path / "out.png", Options())


def test_samples_of_64_bits_are_not_called_damage(tmp_path: Path) -> None:
    path = tmp_path / "double.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3)), photometric="rgb")
    with pytest.raises(InputError, match=r"double\.tif: its samples are of more than 32 bits"):
        open_file(path, Options())
