"""The pages that people read: their examples run, and their tables say what the code does."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import json
import re
import shutil
import struct
import subprocess
import tomllib
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pyvips

import upres
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import FORMATS, Format, open_pages
from upres.raster.info import RasterInfo, bands_of
from upres.raster.spool import Spool

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^#{2,3} `upres\.(\w+)`\n(.*?)(?=^#{2,3} |\Z)", re.DOTALL | re.MULTILINE)
README_WORDS = 700
PAGES = [
    *("README.md", "CONTRIBUTING.md"),
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]


def page(name: str) -> str:
    path = ROOT / name
    if not path.is_file():
        pytest.skip("needs docs/, which a source distribution does not have")
    return path.read_text("utf-8")


def sections() -> dict[str, str]:
    """Of docs/api.md, by public name."""
    return dict(SECTION.findall(page("docs/api.md")))


@pytest.fixture
def pictures(tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that examples name, in the folder where they run."""
    y, x = np.mgrid[:40, :60]
    colours = np.stack([x * 4, y * 6, x + y], axis=2).astype(np.uint8)
    PIL.Image.fromarray(colours).save(tmp_path / "photo.jpg", quality=60)
    cut = np.dstack([colours, np.where(x < 30, 255, 0).astype(np.uint8)])
    PIL.Image.fromarray(cut).save(tmp_path / "cut-out.png")
    shutil.copy(model_file, tmp_path / "my.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["README.md", "docs/api.md"])
@pytest.mark.usefixtures("pictures")
def test_examples_give_what_the_page_says(name: str) -> None:
    parser = doctest.DocTestParser()
    flags = doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=flags)
    known: dict[str, object] = {"array": np.zeros((8, 9, 3), np.uint8)}
    said: list[str] = []
    examples = list(EXAMPLE.finditer(page(name)))
    assert examples
    for example in examples:
        line = page(name)[: example.start(1)].count("\n")
        if ">>>" not in example[1]:
            exec(compile("\n" * line + example[1], name, "exec"), known)
            continue
        test = parser.get_doctest(example[1], known, name, name, line)
        runner.run(test, out=said.append, clear_globs=False)
        known |= test.globs
    assert not runner.failures, "".join(said)


def test_the_format_of_the_contributor_s_example_works(tmp_path: Path) -> None:
    (example,) = EXAMPLE.findall(page("CONTRIBUTING.md"))
    known: dict[str, Any] = {}
    exec(compile(example, "farbfeld.py", "exec", dont_inherit=True), known)
    colours = np.random.default_rng(0).random((70, 9, 3), np.float32)
    info = RasterInfo(70, 9, bands_of(("red", "green", "blue")), np.dtype(np.float32))
    path = tmp_path / "made.ff"
    encoder = known["_Encoder"](path, info, nothing_carried())
    with Spool(tmp_path / "rows", (70, 9, encoder.channels), encoder.dtype) as spool:
        spool.write(0, 0, encoder.samples(colours))
        encoder.encode(path, spool)
    (source,) = known["open_pages"](path)
    (frame,) = [np.concatenate(list(rows)) for rows in source.frames(path)]
    np.testing.assert_allclose(frame[:, :, :3], colours * 65535, rtol=0, atol=0.51)
    assert (frame[:, :, 3] == 65535).all()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(upres.InputError, match="truncated"):
        list(next(known["open_pages"](path)[0].frames(path)))


def test_each_public_name_has_its_section() -> None:
    assert sorted(sections()) == sorted(upres.__all__)
    assert [name for name, text in sections().items() if not EXAMPLE.search(text)] == []


@pytest.mark.parametrize("name", ["agreement", "enlarge", "enlarge_file", "open_model"])
def test_signatures_are_as_the_page_has_them(name: str) -> None:
    told = re.search(r"^```text\n(.*?)^```$", sections()[name], re.DOTALL | re.MULTILINE)
    assert told is not None
    written = ast.parse(f"def {told[1].strip()}: ...").body[0]
    assert isinstance(written, ast.FunctionDef)
    parameters = inspect.signature(getattr(upres, name)).parameters.values()
    kinds = {
        kind: [p for p in parameters if p.kind is kind] for kind in {p.kind for p in parameters}
    }
    own = kinds.get(inspect.Parameter.KEYWORD_ONLY, [])
    assert [a.arg for a in written.args.kwonlyargs] == [p.name for p in own]
    defaults = [ast.literal_eval(d) for d in written.args.kw_defaults if d is not None]
    assert defaults == [p.default for p in own]
    assert [a.arg for a in written.args.args] == [p.name for p in parameters if p not in own]


def test_the_readme_is_short() -> None:
    assert len(page("README.md").split()) <= README_WORDS


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))],
)
def test_links_lead_somewhere(name: str) -> None:
    text = page(name)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, place = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if place and file.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
            assert place in anchors, target


def test_extras_that_pages_name_are_there() -> None:
    extras = tomllib.loads(page("pyproject.toml"))["project"]["optional-dependencies"]
    for name in ("README.md", "docs/guide.md", "docs/formats.md", "docs/training.md"):
        for group in re.findall(r"pip install '[\w.]*\[([\w,]+)\]'", page(name)):
            assert set(group.split(",")) <= extras.keys(), f"{name}: {group}"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script that writes the table of formats."""
    page("docs/tables.py")
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_formats_is_that_of_their_rows(tables: ModuleType) -> None:
    told = page("docs/formats.md")
    assert tables.BEGIN + tables.table() + tables.END in told, "run `python docs/tables.py`"


ITEMS = (
    *("profile", "EXIF", "XMP", "IPTC", "comments", "text", "resolution", "colours by CICP"),
    "frames, timing, loop",
)
DURATIONS, LOOPS = [50, 120, 70], (3, 4)
"""GIF counts repetitions, and WebP how often all is shown."""


@pytest.fixture(scope="module")
def tool() -> str:
    """An independent reader and writer of metadata; skips without it."""
    found = shutil.which("exiftool")
    if not found:
        pytest.skip("needs exiftool (Debian: libimage-exiftool-perl), which is not here")
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, tool: str) -> dict[str, Path]:
    """For each item a picture that has it, and little else."""
    folder = tmp_path_factory.mktemp("sources")
    y, x = np.mgrid[:16, :24]
    colours = np.stack([x * 9, y * 9, x + y], axis=2).astype(np.uint8)
    image = pyvips.Image.new_from_array(colours).copy(interpretation="srgb")
    profile = pyvips.Operation.call("profile_load", "p3")

    def written(name: str, *options: str) -> Path:
        path = folder / name
        image.write_to_file(str(path), keep="none")
        if options:
            command = [tool, "-q", "-n", "-overwrite_original", *options, str(path)]
            subprocess.run(command, check=True)
        return path

    wide = image.copy()
    wide.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    wide.write_to_file(str(folder / "profile.png"))
    frames = [PIL.Image.fromarray(np.roll(colours, 3 * i, 1)).quantize() for i in range(3)]
    more = {"save_all": True, "append_images": frames[1:], "duration": DURATIONS, "loop": LOOPS[0]}
    frames[0].save(folder / "frames.gif", **more)
    hdr = written("cicp.png")
    content, kind = hdr.read_bytes(), b"cICP" + bytes([9, 16, 0, 1])
    chunk = struct.pack(">I", 4) + kind + struct.pack(">I", zlib.crc32(kind))
    hdr.write_bytes(content[:33] + chunk + content[33:])
    dots = [f"-IFD0:{name}" for name in ("XResolution=240", "YResolution=240", "ResolutionUnit=2")]
    paths = (
        folder / "profile.png",
        written("exif.jpg", "-IFD0:Artist=A. Photographer"),
        written("xmp.jpg", "-XMP-dc:Title=A title"),
        written("iptc.jpg", "-IPTC:ObjectName=A name"),
        written("comment.jpg", "-Comment=A comment"),
        written("text.png", "-PNG:Software=A program"),
        written("dots.jpg", *dots),
        hdr,
        folder / "frames.gif",
    )
    return dict(zip(ITEMS, paths, strict=True))


def outcome(item: str, source: Path, target: Path, model_file: Path, tool: str) -> str:
    """The table's word for what becomes of an item."""
    try:
        upres.enlarge_file(source, target, model=model_file)
    except upres.OutputError:
        return "refused"
    if item == "frames, timing, loop":
        return "kept" if has_timing(target) else "lost"
    command = [tool, "-json", "-n", "-G1", str(target)]
    # It fails with files of kinds that it does not know: those have none of these.
    output = subprocess.run(command, capture_output=True, text=True).stdout
    (told,) = json.loads(output)
    found = {k: v for k, v in told.items() if not k.startswith(("System:", "SourceFile"))}
    kept = {
        "profile": "ICC_Profile:ProfileDescription" in found or has_profile(target),
        "EXIF": found.get("IFD0:Artist") == "A. Photographer",
        "XMP": found.get("XMP-dc:Title") == "A title",
        "IPTC": found.get("IPTC:ObjectName") == "A name",
        "comments": "A comment" in found.values(),
        "text": "A program" in found.values(),
        "resolution": any(
            re.search("Resolution$|PixelsPer", k) and v in (240, 9449) for k, v in found.items()
        ),
        "colours by CICP": any(
            k.endswith("TransferCharacteristics") and v == 16 for k, v in found.items()
        ),
    }[item]
    if kept:
        return "kept"
    if item == "profile":
        return "sRGB" if is_converted(source, target) else "lost"
    return "lost" if item == "colours by CICP" else "-"


def has_profile(path: Path) -> bool:
    """Whether upres itself finds one: that tool does not look into the codestream of JPEG XL."""
    (source,) = open_pages(path)
    return isinstance(source.carried, Carried) and bool(source.carried.find("icc-profile-data"))


def has_timing(path: Path) -> bool:
    with PIL.Image.open(path) as picture:
        durations = []
        for frame in range(getattr(picture, "n_frames", 1)):
            picture.seek(frame)
            picture.load()
            durations.append(picture.info.get("duration"))
        # Pillow does not tell how often an AVIF sequence is shown; the tests of that format do.
        loops = path.suffix == ".avif" or picture.info.get("loop") in LOOPS
        return durations == DURATIONS and loops


def is_converted(source: Path, target: Path) -> bool:
    """Whether a result without a profile looks like its picture, which has one."""
    shown = pyvips.Image.new_from_file(str(source)).icc_transform("srgb", embedded=True).numpy()
    (result,) = open_pages(target)
    means = np.concatenate(list(next(result.frames(target)))).mean((0, 1))[:3]
    stored = pyvips.Image.new_from_file(str(source)).numpy().mean((0, 1))
    nearer = np.abs(means - shown.mean((0, 1))).max() < np.abs(means - stored).max()
    return bool(nearer)


OF_PICTURES = [row for row in FORMATS if row.writes and not (row.closed or row.endless)]


@pytest.mark.parametrize("row", OF_PICTURES, ids=lambda row: row.name)
def test_what_becomes_of_metadata_is_as_the_page_has_it(
    row: Format, tmp_path: Path, sources: dict[str, Path], model_file: Path, tool: str
) -> None:
    head = f"| format | {' | '.join(ITEMS)} |\n"
    assert head in page("docs/formats.md")
    pytest.importorskip(f"upres.formats.{row.module}")
    target = tmp_path / f"out{row.suffixes[0]}"
    words = []
    for item, source in sources.items():
        target.unlink(missing_ok=True)
        words.append(outcome(item, source, target, model_file, tool))
    # A line that is wrong or missing can be taken over from here, if it is what should be.
    assert f"| {row.name} | {' | '.join(words)} |\n" in page("docs/formats.md")
