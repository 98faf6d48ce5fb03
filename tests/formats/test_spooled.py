"""A spool as libvips sees it: the same from memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from upres.formats.image.spooled import as_image, head_of
from upres.raster.spool import Spool


@pytest.mark.parametrize("memory_bytes", [0, 2**30])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32"])
def test_an_image_has_the_samples_that_were_stored(
    tmp_path: Path, dtype: str, channels: int, memory_bytes: int
) -> None:
    kind, shape = np.dtype(dtype), (31, 17, channels)
    samples = (np.random.default_rng(1).random(shape) * 30_000 - 15_000).astype(kind)
    options = {"head": head_of, "memory_bytes": memory_bytes}
    with Spool(tmp_path / "a.raw", shape, kind, **options) as spool:  # type: ignore[arg-type]
        assert (spool.pixels is None) == (not memory_bytes)
        spool.fill([samples[:10], samples[10:]])
        image = as_image(spool)
        assert (image.height, image.width, image.bands) == shape
        np.testing.assert_array_equal(image.numpy().reshape(shape), samples)
    assert not list(tmp_path.iterdir())


def test_strips_of_many_rows_and_rows_longer_than_a_strip(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for shape in ((3000, 700, 1), (3, 400_000, 3)):  # of strips of one megabyte
        samples = random.integers(0, 256, shape, np.uint8)
        with Spool(tmp_path / "a.raw", shape, samples.dtype, head=head_of, memory_bytes=0) as spool:
            spool.fill([samples])
            np.testing.assert_array_equal(as_image(spool).numpy().reshape(shape), samples)
