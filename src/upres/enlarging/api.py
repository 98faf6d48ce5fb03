"""The library's two verbs: enlarge an array, enlarge a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args, overload

from numpy.typing import NDArray

from upres.card import Model
from upres.engine.backends import Device, default_backend
from upres.engine.protocol import Backend
from upres.enlarging import pipeline
from upres.enlarging.error_map import ErrorMap
from upres.enlarging.files import open_file
from upres.enlarging.map_files import lacks_map
from upres.enlarging.options import (
    MAX_PIXELS,
    Bounding,
    Consistent,
    Existing,
    Larger,
    Options,
    Palette,
)
from upres.enlarging.plan import plan
from upres.enlarging.windows import Progress
from upres.enlarging.writing import Written
from upres.errors import ExistsError, LargeEnoughError, UsageError
from upres.files import check_name
from upres.models import Precision
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.info import Role
from upres.raster.pixels import Float32Array


class Choices(TypedDict, total=False):
    """The options of ``enlarge`` for type checkers; see there."""

    scale: float | None
    width: int | None
    height: int | None
    fit: tuple[int, int] | None
    model: Model | str | Path | None
    precision: Precision
    device: Device
    threads: int | None
    bands: Sequence[Role] | None
    value_range: tuple[float, float] | None
    wrap: bool
    palette: Palette
    consistent: Consistent
    max_pixels: int
    progress: Progress | None


@overload
def enlarge(
    image: object, *, errors: Literal[False] = False, **choices: Unpack[Choices]
) -> NDArray[Any]: ...


@overload
def enlarge(
    image: object, *, errors: Literal[True, "force"], **choices: Unpack[Choices]
) -> tuple[NDArray[Any], Float32Array]: ...


def enlarge(
    image: object,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    model: Model | str | Path | None = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: int | None = None,
    bands: Sequence[Role] | None = None,
    value_range: tuple[float, float] | None = None,
    wrap: bool = False,
    palette: Palette = "free",
    consistent: Consistent = False,
    errors: Bounding = False,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], Float32Array]:
    """Enlarge a picture that is in memory.

    ``image`` is a NumPy array, or anything that offers itself as one through the array interface
    or ``__array__``, such as a PIL image or a tensor on the CPU: height x width (grey), or height x
    width x bands. One band is grey, two are grey and alpha, three RGB, four RGB and alpha (not
    premultiplied); ``bands`` says otherwise, and must for more, band by band: ``red``, ``green``,
    ``blue``, ``grey``, ``alpha``, ``ink``, ``index`` (classes, which have nothing in between),
    ``mask`` (0 where the others count for nothing) or ``other``. Red, green and blue go through the
    network together, each other band by itself.

    Samples are uint8, uint16, uint32, int16, int32, float16, float32 or float64, and gamma-encoded
    as in photographs. Those of floats range over [0, 1], and NaN is a sample that is missing: it
    stays, and nothing bleeds out of it. A network is given uint8 samples by all values of the type,
    and others by the least and the largest that there are, beyond which no sample of the result
    lies. ``value_range`` says otherwise, for all bands but alpha; a sample beyond it is clipped.

    The result is a NumPy array of the same axes, bands and type, byte order included. Its size is
    ``scale`` times as large, any number of at least 1 (default: the model's largest), or follows
    from ``width``, ``height`` or ``fit`` (width and height within which it fits); halves of pixels
    round up.

    ``model`` is the name of a shipped model, the path of an .onnx file, or a model from
    ``upres.open_model`` (default: ``fast``). Models are applied one after another as often as the
    factor asks for; a result between whole factors is an antialiased bicubic reduction.
    ``precision`` chooses the variant of a shipped model that is named: float32, int8 (default where
    the processor is made for it), or float32 computed in bfloat16. A model that is open is one
    variant already, and stays it. ``device`` is ``cpu`` or ``gpu``; ``auto`` takes
    a GPU that ONNX Runtime can use. On the processor, at most so many ``threads`` compute (default:
    as many as the process may use processors).

    ``consistent`` makes the result agree with ``image``: reduced again by the same whole factor,
    by MATLAB's antialiased bicubic (``upres.raster.resize``), it is ``image``, up to the rounding
    of its own samples. docs/faithfulness.md tells how far that goes: at least 60 dB in 8 bits, and
    further in 16 bits and floats. Alpha and numbers of classes stay as they are without it. It is
    refused for the model ``photo``, which is to remove the faults of JPEG; ``"force"`` is not.
    ``upres.agreement`` tells how well any result agrees.

    ``errors`` asks for two arrays, the result and its half-widths, float32 in the samples' unit:
    one for each pixel, height x width; and where red, green and blue have other bands beside them,
    height x width x groups, as each other band has its own. 90% of the samples of the truth lie
    within them, in the mean over pictures: docs/faithfulness.md has what is promised, and what is
    not. Alpha, masks and classes have none. What the calibration is not for is refused; ``"force"``
    bounds it all the same, without a promise. The result is the same as without.

    ``wrap`` says that the picture is a tile, whose opposite edges continue each other; it is
    enlarged as if in the middle of such tiles. With ``palette="keep"``, for pixel art, each pixel
    of the result is one of the picture's own around it.

    ``progress`` is told the part that is done, from 0 to 1.

    Raises ``InputError`` for an object that is no array, for another shape or type, samples out of
    range, or a result of more than ``max_pixels``; ``UsageError`` for options that contradict each
    other; ``ModelError`` if there is no such model, scale or precision, and in a process that was
    forked from one that has enlarged already: spawn it instead.
    """
    options = Options(
        model=model,
        precision=precision,
        scale=scale,
        width=width,
        height=height,
        fit=fit,
        wrap=wrap,
        palette=palette,
        consistent=consistent,
        errors=errors,
        max_pixels=max_pixels,
    )
    source = ArraySource(image, bands=bands, value_range=value_range)
    made = enlarge_bounded if errors else enlarge_array
    backend = default_backend(device, threads)
    return made(source, options, backend=backend, progress=progress)


def enlarge_array(
    source: ArraySource,
    options: Options,
    *,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Enlarge an array as ``enlarge`` does, on any backend (default: the processor's).

    Gives an array of the source's axes, bands and type. Raises the errors of ``enlarge``.
    """
    return _made(source, options, backend, progress, None)


def enlarge_bounded(
    source: ArraySource,
    options: Options,
    *,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[Any], Float32Array]:
    """The same, and the half-widths: see ``errors`` of ``enlarge``."""
    with ArraySink() as widths:
        result = _made(source, options, backend, progress, ErrorMap([widths]))
        widths.commit()
        one = widths.result.shape[2] == 1
        return result, widths.result[:, :, 0] if one else widths.result


def _made(
    source: ArraySource,
    options: Options,
    backend: Backend | None,
    progress: Progress | None,
    errors: ErrorMap | None,
) -> NDArray[Any]:
    backend = backend or default_backend()
    with ArraySink(flat=source.flat) as sink:
        pipeline.enlarge_into(
            source,
            plan(source.info, options, backend),
            sink,
            beside=Path(tempfile.gettempdir(), "array"),
            backend=backend,
            progress=progress,
            errors=errors,
        )
        sink.commit()
        return sink.result.astype(source.dtype, copy=False)


def enlarge_file(
    source: str | Path,
    target: str | Path,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    model: Model | str | Path | None = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: int | None = None,
    quality: int | None = None,
    keep_cmyk: bool = False,
    wrap: bool = False,
    palette: Palette = "free",
    larger: Larger = "refuse",
    consistent: Consistent | None = None,
    check: bool = False,
    keep_means: bool = False,
    labels: bool = False,
    through_plane: bool = False,
    cog: bool = False,
    errors: Bounding = False,
    error_map: str | Path | Sequence[str | Path] = (),
    existing: Existing = "refuse",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Written:
    """Enlarge a file to another, with all that it says of itself.

    ``target``'s suffix decides its format. ``scale``, ``width``, ``height``, ``fit``, ``model``,
    ``precision``, ``device``, ``threads``, ``wrap``, ``palette``, ``consistent`` and ``progress``
    are those of ``enlarge``; without ``model``, a JPEG file of low quality goes through ``photo``,
    and any other through ``fast``. ``quality`` is that of JPEG, WebP and AVIF, 1 to 100 (default:
    the input's, and 95 at least; AVIF: 90). ``keep_cmyk`` keeps inks as they are, instead of
    converting them to sRGB. ``consistent`` is refused for a JPEG file of low quality, too; without
    it, the format of ``source`` decides: GeoTIFF's results agree where the factor is whole, and
    those of DICOM and NIfTI keep the mean of each sample. ``check`` measures how well the result
    agrees with ``source``, as ``upres.agreement`` does: of all pages together, before a lossy
    format changes them. ``keep_means`` has GeoTIFF's results keep the means, too. ``labels`` says
    that samples are numbers of classes, which are repeated. ``through_plane`` enlarges volumes
    between their slices, too. ``cog`` writes a GeoTIFF as a Cloud Optimized GeoTIFF.

    ``error_map`` names one or several files for the half-widths of ``errors``, which it asks for:
    .tif holds them in float32, page by page; .png shows them in colours; .json sums them up, and
    has the calibration. ``errors`` alone sums them up in what is returned.

    A picture that is larger already than asked for is refused; ``larger`` may ``copy`` or
    ``reduce`` it, or ``skip`` the work.

    ``target`` is written at once and whole, or not at all. One that exists is refused; ``existing``
    may ``replace`` it, or ``skip`` the work, but for a result that lacks a file of ``error_map``.

    Returns a ``Written``: ``not_kept`` are short names of the items that ``source`` says of itself
    and ``target`` does not keep, such as ``IPTC``, as its format has no place for them, or they
    would not be true any more. With ``check``, ``agreement.decibels`` is in dB. With ``errors``,
    its attribute ``errors`` has ``mean``, in grey levels of 255, and ``share_above(8)``.

    Raises ``InputError`` if ``source`` cannot be read, ``OutputError`` if ``target`` cannot be
    written or cannot hold the result, ``ExistsError`` if it exists, ``UsageError`` for options that
    contradict each other, ``ModelError`` if there is no such model, scale or precision,
    ``MissingExtraError`` if a format needs an extra.
    """
    maps = tuple(map(Path, [error_map] if isinstance(error_map, str | Path) else error_map))
    options = Options(
        model=model,
        precision=precision,
        scale=scale,
        width=width,
        height=height,
        fit=fit,
        quality=quality,
        cmyk=keep_cmyk,
        wrap=wrap,
        palette=palette,
        larger=larger,
        consistent=consistent,
        check=check,
        keep_means=keep_means,
        labels=labels,
        through_plane=through_plane,
        cog=cog,
        errors=errors or bool(maps),
        error_map=maps,
        max_pixels=max_pixels,
    )
    if existing not in get_args(Existing):
        known = ", ".join(get_args(Existing))
        raise UsageError(f"existing={existing!r}: expected one of {known}")
    target = Path(target)
    check_name(target)
    replace = existing == "replace" or (existing == "skip" and lacks_map(target, maps))
    if not replace and os.path.lexists(target):
        if existing == "skip":
            return Written()
        raise ExistsError(target)
    try:
        opened = open_file(Path(source), options, backend=default_backend(device, threads))
    except LargeEnoughError:
        if larger == "skip":
            return Written()
        raise
    return opened.write(target, replace=replace, progress=progress)
