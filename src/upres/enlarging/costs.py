"""The means that a result takes: memory, disk and seconds, about, before any of it is made."""

from __future__ import annotations

from upres.card import Model
from upres.engine.machine import operations_per_second
from upres.engine.protocol import Backend
from upres.raster.info import REPEATED_ROLES, RasterInfo

BASE_BYTES = 200 * 2**20
"""Memory of the process beside a picture: Python, the engine, libvips."""

UNKNOWN_PARAMETERS = 1_000_000
"""Of a model whose card does not tell."""

SECONDS_PER_SAMPLE = 12e-9
"""Time of reading, putting together and encoding for a sample of the result, about."""


def disk_needed(
    info: RasterInfo, models: tuple[Model, ...], height: int, width: int, between: int
) -> int:
    """Bytes of a frame before it is encoded, the encoded result, and results between models."""
    frame = height * width * len(info.bands) * info.dtype.itemsize
    count = (info.frames or 1) * between
    # Encoded, it may be as large; metadata and the like are small beside this. A frame of several
    # may be encoded by itself, and then be put to the others.
    needed = frame * (1 + count + (count > 1)) + 2**20 + info.scratch_bytes
    pixels = info.pixels * len(info.bands)
    for model in models[:-1]:
        pixels *= model.card.scale**2
        needed += 4 * pixels
    if between > 1:  # a volume, and the same with the slices between
        needed += 4 * info.slices * info.pixels * len(info.bands) * (1 + between)
    return needed


def memory_needed(
    info: RasterInfo, models: tuple[Model, ...], backend: Backend, *, compares: bool, wraps: bool
) -> int:
    """Bytes of the process with the window that takes most, and the rows that are kept for it."""
    most = 0
    pixels, columns = info.pixels, info.width
    for model in models:
        card, limit = model.card, backend.limits(model).window_pixels
        window = pixels if card.halo is None else min(pixels, limit)
        features = int(card.network_parameters.get("features", 64))
        # A few layers' values are held at a time, and the result a few times over: once more with
        # its neighbours, and once more in parts.
        work = window * 4 * (4 * features + (3 + 2 * compares) * 3 * card.scale**2)
        rows = 4 * columns * len(info.varying) * (2 * (card.halo or 0) + 64)
        most = max(most, work + rows)
        pixels, columns = pixels * card.scale**2, columns * card.scale
    # A tile is held whole, and once more with its own content around it.
    return BASE_BYTES + most + wraps * 2 * 4 * info.pixels * len(info.varying)


def seconds_needed(
    info: RasterInfo, models: tuple[Model, ...], pixels_made: int, between: int, *, compares: bool
) -> float:
    """The time of the networks, and of all else for each sample of ``pixels_made``."""
    # Red, green and blue go through a network together, each other band by itself.
    passes = len(info.varying) - 2 * bool(info.colour_bands) - len(info.find(*REPEATED_ROLES))
    pixels, total = info.pixels, 0.0
    for model in models:
        turns = 8 if model.card.self_ensemble else 1
        # Of convolutions at the input's resolution, each parameter is used once for a pixel.
        products = (model.card.parameter_count or UNKNOWN_PARAMETERS) * pixels * turns * passes
        total += 2 * products / operations_per_second(model.card.precision, model.compute)
        pixels *= model.card.scale**2
    total += SECONDS_PER_SAMPLE * (1 + compares) * pixels_made * len(info.bands)
    # Between slices, the network sees a volume from two more sides.
    return total * (info.frames or 1) * (between + 2 * (between > 1))
