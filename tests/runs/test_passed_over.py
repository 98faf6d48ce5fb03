"""Files in folders that are pictures and are not taken: counted and named."""

from __future__ import annotations

import os
from pathlib import Path

import PIL.Image
import pytest

from running import upres
from upres.errors import InputError
from upres.runs.jobs import find


def picture(path: Path, kind: str | None = None) -> Path:
    PIL.Image.new("RGB", (8, 6), (90, 9, 200)).save(path, kind)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of pictures by name and by content, and of other files."""
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name in ("a.jfif", "b.jpe", "d.JFIF"):
        picture(mixed / name, "JPEG")
    frames = PIL.Image.new("RGB", (8, 6))
    frames.save(mixed / "c.mpo", "MPO", save_all=True, append_images=[frames.copy()])
    picture(mixed / "e.bmp")
    picture(mixed / "f.png")
    for name in ("g.svg", "h.PSD", "i.ico", "j.xcf"):
        (mixed / name).write_bytes(b"anything")
    for name, kind in (("k.dat", "JPEG"), ("l", "PNG"), ("m.bin", "TIFF"), ("n.old", "GIF")):
        picture(mixed / name, kind)
    for name, content in (
        ("o.txt", b"P3 is a road"),
        ("p.xmp", b"<x:xmpmeta/>"),
        ("q.json", b"{}"),
        ("r", b""),
        ("s.doc", b"BM is a name"),
        ("t.m4a", b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom"),
        (".hidden.svg", b"<svg/>"),
    ):
        (mixed / name).write_bytes(content)
    os.mkfifo(mixed / "u.pipe")
    return mixed


def test_pictures_are_found_by_every_name_of_their_format(folder: Path) -> None:
    passed: list[Path] = []
    found, empty = find([folder], passed_over=passed)
    taken = ["a.jfif", "b.jpe", "c.mpo", "d.JFIF", "e.bmp", "f.png"]
    assert sorted(path.name for path, _ in found) == sorted(taken)
    by_name, by_content = ["g.svg", "h.PSD", "i.ico", "j.xcf"], ["k.dat", "l", "m.bin", "n.old"]
    assert [path.name for path in passed] == by_name + by_content
    assert empty == []


def test_a_folder_of_such_alone_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(b"<svg/>")
    picture(tmp_path / "b.dat", "PNG")
    with pytest.raises(InputError, match=r"no pictures in this folder .*: a\.svg, b\.dat"):
        find([tmp_path])


def test_the_command_does_all_it_can_and_names_and_counts_the_rest(folder: Path) -> None:
    run = upres("enlarge", folder, "-s", "2", "-o", "out", cwd=folder.parent)
    assert run.returncode == 0
    lines = run.stderr.splitlines()
    named = [Path(line.split(":")[0]).name for line in lines if ": not read: " in line]
    assert named == ["g.svg", "h.PSD", "i.ico", "j.xcf", "k.dat", "l", "m.bin", "n.old"]
    assert lines[-1] == "upres: 6 done, 8 not read"
    results = {path.name for path in (folder.parent / "out").iterdir() if path.name[0] != "."}
    expected = {"a_x2.jfif", "b_x2.jpe", "c_x2.jpg", "d_x2.JFIF", "e_x2.bmp", "f_x2.png"}
    assert expected <= results
    for name in expected:
        with PIL.Image.open(folder.parent / "out" / name) as opened:
            assert opened.size == (16, 12)
            assert opened.format == {".bmp": "BMP", ".png": "PNG"}.get(Path(name).suffix, "JPEG")
    quiet = upres("enlarge", folder, "-s", "2", "-o", "quiet", "-q", cwd=folder.parent)
    assert quiet.stderr == ""
