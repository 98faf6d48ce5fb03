"""Pictures of every kind, whole and damaged: never a traceback, a hang, a crash or half a file.

The command runs in a process of its own, case after case, so that its death is seen and
its hanging ends. ``make fuzz`` runs more cases (UPRES_FUZZ_CASES), and other ones each time.
"""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from upres.formats.image.vips import LOADERS
from upres.formats.registry import FORMATS
from upres.runs.batch import UNEXPECTED

DEFAULT_CASES = 200
CASES = int(os.environ.get("UPRES_FUZZ_CASES", DEFAULT_CASES))
SECONDS = 60
"""How long one case may take, on however busy a machine."""

MOST_PIXELS = 1_500_000
"""So that a case takes no long time: larger results are refused, in one line."""

SHARED = Path(__file__).parents[2] / "shared" / "data" / "inputs" / "photo"

pyvips.cache_set_max(0)  # or a result would be taken for the one before of its name

WORKER = """
import contextlib, io, json, sys, traceback
from upres.cli.main import main
for line in sys.stdin:
    sys.argv = ["upres", "enlarge", *json.loads(line)]
    code, errors = None, io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
    print(json.dumps([code, errors.getvalue()]), flush=True)
"""


@dataclass
class Command:
    """``upres enlarge`` in a process that is started anew if it ends."""

    folder: Path
    model: Path
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def __call__(self, *arguments: object) -> tuple[int, str]:
        """Exit code and standard error of one call; fails if the process dies or hangs."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", WORKER],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        options = ["--model", self.model, "--max-pixels", MOST_PIXELS, *arguments]
        process.stdin.write(json.dumps([str(option) for option in options]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        answer = process.stdout.readline() if ready else ""
        if not answer:
            code = self.close()
            pytest.fail(f"hangs: {options}" if not ready else f"dies ({code}): {options}")
        code, errors = json.loads(answer)
        return code, errors

    def close(self) -> int | None:
        """End the process; gives its exit code, or minus the signal that ended it."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)  # one that died has a code of its own
        process.kill()
        process.communicate()
        return process.returncode


@pytest.fixture(scope="module")
def command(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("fuzz"), model_file)
    yield command
    command.close()


def cases(count: int) -> settings:
    return settings(
        max_examples=max(1, count),
        deadline=None,
        derandomize=CASES == DEFAULT_CASES,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # to shrink what hangs takes hours
        suppress_health_check=list(HealthCheck),
    )


def check(command: Command, content: bytes, suffix: str, *options: object) -> pyvips.Image | None:
    """Enlarge, check the contract, and give the result, or None if it was refused."""
    folder = command.folder
    source, target = folder / "source.bin", folder / f"result{suffix}"
    source.write_bytes(content)
    code, errors = command(source, "--output", target, "--quiet", *options)
    note(f"exit code {code}: {errors}")
    there = sorted(path.name for path in folder.iterdir())
    try:
        assert UNEXPECTED not in errors
        if code == 0:
            assert errors == ""
            assert there == sorted([source.name, target.name])
            result = pyvips.Image.new_from_file(str(target), fail_on="error")
            result.avg()  # decodes it
            return result
        assert code in (1, 2), "an uncaught exception"
        lines = errors.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("upres: ")
        assert there == [source.name], "nothing is left behind"
        return None
    finally:
        for name in there:
            (folder / name).unlink()


@st.composite
def pictures(draw: st.DrawFn) -> tuple[pyvips.Image, str, dict[str, object]]:
    """A picture, the suffix of a format that can hold it, and how to save it."""
    side = st.integers(1, 40)
    height, width = draw(
        st.one_of(st.tuples(side, side), st.sampled_from([(1, 1), (1, 700), (700, 1), (2, 300)]))
    )
    kind = draw(
        st.sampled_from(
            ["8 bit", "16 bit", "float", "cmyk", "palette", "1 bit", "jpeg", "webp", "avif", "gif"]
        )
    )
    bands = draw(st.integers(1, 4))
    pixels = np.random.default_rng(draw(st.integers(0, 9))).integers(
        0, 256, (height, width, bands), np.uint8
    )
    image = pyvips.Image.new_from_array(pixels)
    image = image.copy(interpretation="b-w" if bands < 3 else "srgb")
    match kind:
        case "8 bit":
            return image, draw(st.sampled_from([".png", ".tif"])), {}
        case "16 bit":
            deep = (image.cast("ushort") * 257).cast("ushort")
            deep = deep.copy(interpretation="grey16" if bands < 3 else "rgb16")
            return deep, draw(st.sampled_from([".png", ".tif"])), {}
        case "float":
            return (image / 255).cast("float"), ".tif", {}
        case "cmyk":
            ink = pyvips.Image.new_from_array(np.repeat(pixels[:, :, :1], 4, axis=2))
            return ink.copy(interpretation="cmyk"), draw(st.sampled_from([".jpg", ".tif"])), {}
        case "palette":
            return image, ".png", {"palette": True}
        case "1 bit":
            return image[0], draw(st.sampled_from([".png", ".tif"])), {"bitdepth": 1}
        case "jpeg":
            return (image if bands in (1, 3) else image[0]), ".jpg", {"Q": 80}
        case _:
            return image, f".{kind}", {}


SUFFIXES = [suffix for row in FORMATS if row.name in LOADERS for suffix in row.suffixes]
"""Of formats that libvips reads, by which the results are checked."""

sizes = st.one_of(
    st.sampled_from([1, 1.5, 2, 2.5, 3, 5]).map(lambda factor: ["--scale", factor]),
    st.sampled_from([["--width", 90], ["--height", 750], ["--fit", "800x750"]]),
)


@given(case=pictures(), size=sizes, target=st.sampled_from([None, *SUFFIXES]))
@cases(CASES // 4)
def test_pictures_of_all_sizes_and_modes(
    command: Command,
    case: tuple[pyvips.Image, str, dict[str, object]],
    size: list[object],
    target: str | None,
) -> None:
    image, suffix, how = case
    note(f"{image} as {suffix} {how}, to {target} {size}")
    result = check(command, image.write_to_buffer(suffix, **how), target or suffix, *size)
    if target is None and size[0] == "--scale":
        assert result is not None
        expected = [int(side * float(str(size[1])) + 0.5) for side in (image.width, image.height)]
        assert [result.width, result.height] == expected
    if result is not None and size == ["--width", 90]:
        assert result.width == 90


def small(suffix: str, **how: object) -> bytes:
    y, x = np.mgrid[:24, :32]
    pixels = np.stack([8 * x, 10 * y, 4 * (x + y), 255 - 8 * x], 2).astype(np.uint8)
    bands = 3 if suffix == ".jpg" else 4
    image = pyvips.Image.new_from_array(pixels[:, :, :bands]).copy(interpretation="srgb")
    content: bytes = image.write_to_buffer(suffix, **how)
    return content


def animated(suffix: str) -> bytes:
    frames = np.random.default_rng(0).integers(0, 256, (3 * 12, 16, 3), np.uint8)
    image = pyvips.Image.new_from_array(frames).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.gint_type, "page-height", 12)
    content: bytes = image.write_to_buffer(suffix)
    return content


def unlike() -> bytes:
    """Pages of several sizes and kinds, and a preview of one."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for shape, options in (
            ((12, 16, 3), {"photometric": "rgb"}),
            ((6, 8, 3), {"photometric": "rgb", "subfiletype": 1}),
            ((9, 31), {"description": "the second page", "metadata": None}),
        ):
            writer.write(np.full(shape, 99, np.uint8), **options)
    return file.getvalue()


INPUTS: dict[str, bytes] = {
    "png": small(".png"),
    "png-palette": small(".png", palette=True),
    "png-interlaced": small(".png", interlace=True),
    "jpeg": small(".jpg"),
    "jpeg-progressive": small(".jpg", interlace=True),
    "webp": small(".webp"),
    "webp-lossless": small(".webp", lossless=True),
    "tiff": small(".tif"),
    "tiff-tiled": small(".tif", tile=True, compression="deflate"),
    "tiff-big": small(".tif", bigtiff=True, compression="lzw"),
    "avif": small(".avif"),
    "gif": small(".gif"),
    "gif-animated": animated(".gif"),
    "webp-animated": animated(".webp"),
    "tiff-pages": animated(".tif"),
    "tiff-pages-unlike": unlike(),
}
INPUTS |= {path.name: path.read_bytes() for path in sorted(SHARED.glob("*")) if path.is_file()}


def options_for(content: bytes) -> list[object]:
    """What lets a photograph be decoded, enlarged and encoded, too, and not only be refused."""
    picture = pyvips.Image.new_from_buffer(content, "")
    frames = picture.get("n-pages") if picture.get_typeof("n-pages") else 1
    large = 4 * frames * picture.width * picture.height > MOST_PIXELS
    return ["--scale", 1, "--max-pixels", 13_000_000] if large else []


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, int, int]]:
    """What to do to a file: how, where (as a part of its length), how much, and with what."""
    one = st.tuples(
        st.sampled_from(["cut off", "change", "change", "clear", "repeat", "remove", "other"]),
        st.one_of(st.floats(0, 1), st.floats(0, 0.05)),  # headers matter most
        st.one_of(st.integers(1, 8), st.integers(1, 5000)),
        st.integers(0, 255),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def damaged(content: bytes, steps: list[tuple[str, float, int, int]]) -> bytes:
    for how, where, count, value in steps:
        at = int(where * len(content))
        part = content[at : at + count]
        match how:
            case "cut off":
                content = content[:at]
            case "change":
                content = content[:at] + bytes(b ^ value for b in part[:8]) + content[at + 8 :]
            case "clear":
                content = content[:at] + bytes(len(part)) + content[at + count :]
            case "repeat":
                content = content[:at] + part + content[at:]
            case "remove":
                content = content[:at] + content[at + count :]
            case "other":
                name = sorted(INPUTS)[value % len(INPUTS)]
                content = content[:at] + INPUTS[name][at:][:count] + content[at + count :]
    return content


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_damaged_pictures(command: Command, name: str) -> None:
    options = options_for(INPUTS[name])

    @given(steps=damages(), suffix=st.sampled_from(SUFFIXES))
    @example(steps=[], suffix=Path(name).suffix or f".{name.partition('-')[0]}")
    @cases(-(-CASES * 3 // 4 // len(INPUTS)))
    def run(steps: list[tuple[str, float, int, int]], suffix: str) -> None:
        result = check(command, damaged(INPUTS[name], steps), suffix, *options)
        assert steps or result is not None, "nothing but headers would be tested"

    run()


def test_a_crash_and_a_traceback_would_be_seen(command: Command) -> None:
    broken = Command(command.folder, command.model)
    broken(command.folder / "none.png")
    assert broken.process is not None
    broken.process.kill()
    with pytest.raises((pytest.fail.Exception, BrokenPipeError)):
        broken(command.folder / "none.png")
    broken.close()
