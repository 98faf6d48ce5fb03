"""The library's verb for several pictures: fuse arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from upres.card import Model
from upres.engine.backends import Device, default_backend
from upres.engine.protocol import Backend
from upres.enlarging.options import MAX_PIXELS, Options
from upres.enlarging.windows import Progress
from upres.errors import InputError
from upres.fusing.frames import Given
from upres.fusing.pipeline import Fusion, fuse_into
from upres.fusing.request import fusing_plan
from upres.models import Precision
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.info import Role


def fuse(
    images: Sequence[object],
    *,
    scale: float | None = None,
    reference: int = 0,
    model: Model | str | Path | None = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: int | None = None,
    bands: Sequence[Role] | None = None,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Fuse several pictures of one scene, as of a burst, to one that is better and larger.

    ``images`` are arrays as ``upres.enlarge`` takes them, with its ``bands`` and ``value_range``;
    floats without a range lie in [0, 1]. They may have been taken with another exposure or white
    balance each, from places and by cameras that are moved, turned or tilted a little, and objects
    in them may move: docs/fuse.md tells how far that goes. Those that cannot be used are left out.

    The result is what the picture of number ``reference`` (from 0) shows, ``scale`` times as large:
    2, 3 or 4, or another whole number (default: the model's largest). It has that picture's axes,
    bands, type and exposure. Of one picture it is ``upres.enlarge``'s. It does not depend on the
    order of the others.

    ``model``, ``precision``, ``device``, ``threads``, ``max_pixels`` and ``progress`` are those of
    ``upres.enlarge``.

    Raises ``InputError`` for no pictures, or one that ``upres.enlarge`` would not take, and
    ``UsageError`` and ``ModelError`` as that does; ``UsageError``, too, for a scale that is not
    whole, and a reference that there is not.
    """
    options = Options(model=model, precision=precision, scale=scale, max_pixels=max_pixels)
    if not isinstance(images, Iterable):
        raise InputError(f"expected a list of pictures, got {type(images).__name__}")
    images = list(images)
    if not images:
        raise InputError("there are no pictures to fuse: give one or more")
    sources = [ArraySource(image, bands=bands, value_range=value_range) for image in images]
    result, _ = fuse_arrays(
        sources,
        options,
        reference=reference,
        backend=default_backend(device, threads),
        progress=progress,
    )
    return result


def fuse_arrays(
    sources: Sequence[ArraySource],
    options: Options,
    *,
    reference: int = 0,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[Any], Fusion]:
    """Fuse arrays as ``fuse`` does, on any backend (default: the processor's); and tell of it.

    Raises the errors of ``fuse``.
    """
    backend = backend or default_backend()
    given = [Given(f"picture {n}", source, 0) for n, source in enumerate(sources, start=1)]
    plan = fusing_plan(given, reference, options, backend)
    with ArraySink(flat=sources[reference].flat) as sink:
        facts = fuse_into(
            given,
            reference,
            plan,
            sink,
            beside=Path(tempfile.gettempdir(), "array"),
            backend=backend,
            progress=progress,
        )
        sink.commit()
        return sink.result, facts
