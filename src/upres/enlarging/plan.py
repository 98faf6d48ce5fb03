"""The plan for a raster, made before any of its samples is looked at."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from upres.card import Model
from upres.engine.backends import default_backend
from upres.engine.protocol import Backend
from upres.engine.wrappers import REDUCING
from upres.enlarging import costs
from upres.enlarging.between import factor_between
from upres.enlarging.bounding import with_head
from upres.enlarging.compressed import (
    CLEAN_QUALITY,
    COMPRESSED_MODEL,
    clean_quality,
    faults_of_jpeg,
)
from upres.enlarging.consistency import scratch_bytes
from upres.enlarging.options import Bounding, Options, output_size
from upres.enlarging.preserving import as_classes, preserved
from upres.errors import InputError, LargeEnoughError, ModelError, Remedy
from upres.models import (
    DEFAULT_MODEL,
    Precision,
    Settled,
    Shipped,
    computed_in,
    open_at,
    scales_of,
    shipped_models,
)
from upres.raster.info import REPEATED_ROLES, Preserves, RasterInfo


@dataclass(frozen=True)
class Plan:
    """The result of a raster: by which models, how large, and the means that it will take."""

    info: RasterInfo
    models: tuple[Model, ...]
    """One after another."""
    why: str
    """A short text for the user, such as ``model photo: JPEG of quality 62``; empty where there
    was nothing to choose."""
    height: int
    """Of a frame of the result, in pixels."""
    width: int
    memory: int
    """Bytes that the process will take, about, beside an encoder's own."""
    disk: int
    """Bytes of free disk needed while the result is made, itself included, at most."""
    seconds: float
    """On this machine, about: within a factor of three."""
    wrap: bool = False
    """The raster is a tile, as ``Options`` has it."""
    keeps_palette: bool = False
    """The result has the raster's own colours only."""
    preserves: Preserves = "nothing"
    """The reduction of the result that gives the raster back, by a whole factor."""
    check: bool = False
    """How well it agrees is told."""
    between: int = 1
    """How many slices of the result each slice of a volume becomes."""
    errors: Bounding = False
    """The error of each pixel is bounded: the model has a head."""
    not_promised: str = ""
    """Why these bounds are not promised for the raster, if they are not."""

    @property
    def consistent(self) -> bool:
        """Whether the result is made to agree with the raster by ``consistency``."""
        return self.preserves == "bicubic"

    @property
    def frames(self) -> int:
        """How many the result has, at least one."""
        return (self.info.frames or 1) * self.between

    @property
    def pixels(self) -> int:
        """Of the result, all frames together."""
        return self.frames * self.height * self.width

    @property
    def summary(self) -> str:
        """How the result is made, in words for those who read its file."""
        how = "residual network " + ", ".join(
            f"{model.card.name} x{model.card.scale}" for model in self.models
        )
        if self.is_repeated:
            how = "nearest samples"
        factor = f"{self.width / self.info.width:g} times in plane"
        if self.between > 1:
            factor += f", {self.between} times between slices"
        kept = "; the mean of each sample is kept" if self.preserves == "mean" else ""
        return f"enlarged {factor} by upres ({how}{kept})"

    @property
    def is_repeated(self) -> bool:
        """Whether no band goes through a network: each sample is the nearest of the raster."""
        return all(band.role in REPEATED_ROLES for band in self.info.bands)

    @property
    def content_bytes(self) -> int:
        """Bytes of the result's samples, not compressed, of the raster's own type."""
        return self.pixels * len(self.info.bands) * self.info.dtype.itemsize


def plan(
    info: RasterInfo,
    options: Options,
    backend: Backend | None = None,
    *,
    shipped: Shipped | None = None,
) -> Plan:
    """Make the plan for a raster: the same for an array, a file, a request.

    ``backend`` is asked which of a model's variants suits it (default: the processor's).
    ``shipped`` are the models that have names (default: the package's own).

    Raises ``InputError`` if the raster is too small or large for the request, ``ModelError`` if
    there is no such model, or it does not enlarge.
    """
    backend = backend or default_backend()
    shipped = shipped_models() if shipped is None else shipped
    info = as_classes(info) if options.labels else info
    scale = default_scale(options, shipped=shipped)
    try:
        height, width, factor = output_size(options, info.height, info.width, default_scale=scale)
    except LargeEnoughError as error:
        raise LargeEnoughError(info.problem(error.problem)) from None
    between = factor_between(info, options, height)
    check_pixels(info.problem, width, height, (info.frames or 1) * between, options)
    models, why = choose_models(options, factor, info.jpeg_quality, backend, shipped)
    preserves, reason = preserved(info, options, height, width)
    faults = faults_of_jpeg(info, models[0])
    if faults and preserves == "bicubic" and options.consistent != "force":
        if options.consistent:
            raise InputError(
                info.problem(f"{faults}, and a consistent result keeps them"),
                Remedy("consistent", "makes it all the same", "force"),
            )
        preserves, reason = "nothing", f"reduced again it differs from its input: {faults}"
    why = "; ".join(filter(None, (why, reason)))
    not_promised = ""
    if options.errors:
        seen = dataclasses.replace(info, preserves=preserves)
        models, not_promised = with_head(seen, options.errors, models, (height, width))
    compares = preserves != "nothing" or options.check
    # A copy whose blocks are not ordered yet, with smaller ones.
    unordered = options.cog * height * width * len(info.bands) * info.dtype.itemsize * 4 // 3
    return Plan(
        info=info,
        models=models,
        why=why,
        height=height,
        width=width,
        memory=costs.memory_needed(info, models, backend, compares=compares, wraps=options.wrap),
        disk=costs.disk_needed(info, models, height, width, between)
        + compares * scratch_bytes(info, height, width)
        + unordered,
        seconds=costs.seconds_needed(info, models, height * width, between, compares=compares),
        wrap=options.wrap,
        keeps_palette=options.palette == "keep",
        preserves=preserves,
        check=options.check,
        between=between,
        errors=options.errors,
        not_promised=not_promised,
    )


def default_scale(options: Options, *, shipped: Shipped | None = None) -> int:
    """The model's largest scale, whatever models the raster may decide for.

    ``shipped`` are the models that have names (default: the package's own).

    Raises ``ModelError`` if there is no such model or precision.
    """
    if isinstance(options.model, Model):
        return options.model.card.scale
    model = options.model or DEFAULT_MODEL
    return scales_of(model, options.precision, shipped=shipped)[-1]


def check_pixels(
    problem: Callable[[str], str],
    width: int,
    height: int,
    count: int,
    options: Options,
    *,
    pixels: int | None = None,
) -> None:
    """Raise ``InputError`` if a result has more pixels than allowed; ``problem`` names the input.

    It has ``count`` frames or pages, the largest of ``width`` x ``height``; all together they have
    ``pixels``, if they are not alike.
    """
    if (count * width * height if pixels is None else pixels) > options.max_pixels:
        several = f" times {count}" if count > 1 else ""
        raise InputError(
            problem(
                f"would become {width}x{height} pixels{several}, more than the "
                f"{options.max_pixels:,} pixels that are allowed"
            ),
            Remedy("max_pixels", "allows more"),
        )


def choose_models(
    options: Options, factor: float, quality: int | None, backend: Backend, shipped: Shipped
) -> tuple[tuple[Model, ...], str]:
    """The models that enlarge a raster ``factor`` times, one after another, and why.

    ``quality`` is that of its JPEG file, ``None`` of another raster. ``shipped`` are the models
    that have names.

    Raises ``ModelError`` if there is no such model, or it does not enlarge.
    """
    chosen = partial(
        stages,
        factor=factor,
        precision=options.precision,
        backend=backend,
        shipped=shipped,
        settled=options.settled,
    )
    if factor < 1:
        return (REDUCING,), "reduced"
    if options.model is not None:
        return chosen(options.model), ""
    clean = chosen(DEFAULT_MODEL)
    if quality is None or COMPRESSED_MODEL not in shipped:
        return clean, ""
    why = f"JPEG of quality {quality}"
    if quality >= max(CLEAN_QUALITY.values()):
        return clean, f"model {DEFAULT_MODEL}: {why}"  # without loading the other
    # Only the first: its result is clean.
    models = chosen(DEFAULT_MODEL, first=COMPRESSED_MODEL)
    if quality >= clean_quality(models[0]):
        return clean, f"model {DEFAULT_MODEL}: {why}"
    if models[0].path == clean[0].path:
        return clean, f"model {DEFAULT_MODEL}: {why}, but {COMPRESSED_MODEL} has no scale for this"
    return models, f"model {COMPRESSED_MODEL}: {why}"


def stages(
    model: str | Path | Model,
    factor: float | None,
    precision: Precision,
    backend: Backend,
    *,
    first: str | None = None,
    shipped: Shipped | None = None,
    settled: Settled = (),
) -> tuple[Model, ...]:
    """The models that one after another enlarge at least ``factor`` times.

    Of a shipped model's scales, as few as do it, and of those the smallest product; a model that
    is given by path, or open, has one scale, and is repeated. ``None`` is the model's largest
    scale. The largest scale comes last: those before it work on fewer pixels.

    ``first`` is a shipped model for the first of them, if one of its scales serves: all others see
    the result of the first. ``shipped`` are the models that have names (default: the
    package's own). ``settled`` is as in ``open_at``.

    Raises ``ModelError`` if there is no such model or precision, or it does not enlarge.
    """
    shipped = shipped_models() if shipped is None else shipped
    opened: Callable[..., Model]
    if isinstance(model, Model):
        largest, scales = model.card.scale, [model.card.scale]
        own = computed_in(model, precision, backend, settled=settled)
        opened = lambda name, scale: own  # noqa: E731
    else:
        scales = scales_of(model, precision, shipped=shipped)
        largest = scales[-1]
        opened = partial(
            open_at, precision=precision, backend=backend, shipped=shipped, settled=settled
        )
    factor = largest if factor is None else factor
    if largest < 2 and factor > 1:
        path = opened(model, largest).path
        raise ModelError(f"{path}: this model does not enlarge, so not {factor:g} times")
    for count in itertools.count(1):
        if largest**count >= factor:
            break
    openings = [(first, scales_of(first, precision, shipped=shipped))] if first else []
    for opens, opening in (*openings, (model, scales)):  # noqa: B007
        fitting = [
            (start, *rest)
            for start in opening
            for rest in itertools.combinations_with_replacement(scales, count - 1)
            if start * math.prod(rest) >= factor
        ]
        if fitting:
            break
    # Of equals the first, which begins with the smallest scale.
    start, *rest = min(fitting, key=math.prod)
    return (opened(opens, start), *(opened(model, scale) for scale in rest))
