"""The page without a server names what its results do not keep, for each kind of picture."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import pyvips
from serving import encoded

from upres.service.static_page import PAGE_FILES


def told(content: bytes, folder: Path) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    shutil.copyfile(PAGE_FILES / "png.js", folder / "png.mjs")
    command = [node, Path(__file__).with_name("metadata_in_node.mjs"), folder / "png.mjs"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def saved(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def colours() -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(encoded()))


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def frames(kind: str, count: int) -> bytes:
    first = colours().quantize(40) if kind == "GIF" else colours()
    more = [first.rotate(90 * number) for number in range(1, count)]
    return saved(first, kind, save_all=True, append_images=more, duration=80)


def deep(kind: str, **options: Any) -> bytes:
    samples = np.asarray(colours()).astype(np.uint16) * 257
    image = pyvips.Image.new_from_array(samples).copy(interpretation="rgb16")
    content: bytes = image.write_to_buffer(kind, **options)
    return content


PROFILE = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]

CASES: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "a JPEG": (lambda: saved(colours(), "JPEG"), []),
    "a JPEG that is turned": (lambda: saved(colours(), "JPEG", exif=turned()), []),
    "a JPEG with a comment": (lambda: saved(colours(), "JPEG", comment=b"hello"), ["comments"]),
    "a progressive JPEG": (lambda: saved(colours(), "JPEG", progressive=True), []),
    "a JPEG of inks": (lambda: saved(colours().convert("CMYK"), "JPEG"), ["inks (CMYK)"]),
    "a JPEG with a profile of no RGB": (
        lambda: saved(colours().convert("L"), "JPEG", icc_profile=GREY_PROFILE),
        ["colour profile"],
    ),
    "a PNG": (lambda: saved(colours(), "PNG", icc_profile=PROFILE, exif=turned()), []),
    "a PNG of grey with a profile": (
        lambda: saved(colours().convert("L"), "PNG", icc_profile=GREY_PROFILE),
        ["colour profile"],
    ),
    "a PNG of 16 bits": (lambda: deep(".png"), ["16 bits"]),
    "a PNG of frames": (lambda: frames("PNG", 3), ["frames"]),
    "a GIF": (lambda: frames("GIF", 1), ["metadata"]),
    "a GIF of frames": (lambda: frames("GIF", 3), ["metadata", "frames"]),
    "a WebP": (lambda: saved(colours(), "WEBP"), ["metadata"]),
    "a WebP of frames": (lambda: frames("WEBP", 2), ["metadata", "frames"]),
    "a WebP that is turned": (
        lambda: saved(colours(), "WEBP", exif=turned()),
        ["metadata", "orientation"],
    ),
    "a BMP": (lambda: saved(colours(), "BMP"), ["metadata"]),
    "an AVIF": (
        lambda: pyvips.Image.new_from_array(np.asarray(colours())).write_to_buffer(
            ".avif", effort=0
        ),
        ["metadata"],
    ),
    "an AVIF of 10 bits": (
        lambda: deep(".avif", bitdepth=10, effort=0),
        ["metadata", "more than 8 bits"],
    ),
    "nothing": (lambda: b"", ["metadata"]),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_are_named(name: str, tmp_path: Path) -> None:
    make, lost = CASES[name]
    found = told(make(), tmp_path)
    assert found["lost"] == lost
    # Samples are converted by the browser where their profile does not go with them.
    assert found["known"] == (not {"metadata", "colour profile"} & set(lost))


def test_metadata_goes_into_chunks(tmp_path: Path) -> None:
    content = saved(colours(), "JPEG", exif=turned(), icc_profile=PROFILE, dpi=(240, 240))
    assert sorted(told(content, tmp_path)["chunks"]) == ["eXIf", "iCCP", "pHYs"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_damaged_files_end(kind: str, tmp_path: Path) -> None:
    """None makes the page look for ever, or fail in another way than by its line."""
    rng = np.random.default_rng(3)
    for _ in range(4):
        damaged = bytearray(frames(kind, 2) if kind in ("GIF", "WEBP") else saved(colours(), kind))
        for place in rng.integers(12, min(400, len(damaged)), 8):
            damaged[place] = rng.integers(256)
        assert isinstance(told(bytes(damaged), tmp_path)["lost"], list)
