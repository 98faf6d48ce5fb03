"""The steps that a window goes through, each with a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from upres.card import ModelCard
from upres.engine.protocol import Engine
from upres.enlarging import gaps
from upres.enlarging.bounds import Bounds, bounds_of, clip
from upres.enlarging.pieces import Piece
from upres.enlarging.planes import (
    NEUTRAL_RADIUS,
    RANGE_RADIUS,
    keep_in_place,
    keep_in_range,
    keep_neutral,
)
from upres.raster.info import COLOUR_ROLES, REPEATED_ROLES, RasterInfo
from upres.raster.pixels import Float32Array, luma
from upres.raster.resize import apply_taps, bicubic, bicubic_taps

FILL_RADIUS = 4
"""How far, in input pixels, visible colour is continued under transparent pixels."""

BICUBIC_RADIUS = 2
"""How far, in input pixels, bicubic looks, by which a network of luma has colour enlarged."""


@dataclass
class Window:
    """A window on its way: its part of the raster, and its result so far."""

    given: Float32Array
    """Rows x columns x bands that vary, 0 to 1."""
    engine: Engine
    pieces: tuple[Piece, Piece]
    """Which rows and columns of the result are to be kept of it."""
    colour: Float32Array | None = None
    """3 x rows x columns: the network's input, where three bands go through it together."""
    hidden: Float32Array | None = None
    """Rows x columns x bands as they were before colours were filled, if some were."""
    unfilled: Float32Array | None = None
    """The same before missing samples were filled, if bands have some."""
    far: dict[int, Float32Array] = field(default_factory=dict)
    """By band, the part of its values beyond the network's range, where there is some."""
    planes: Float32Array = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    """The result so far: bands that vary x rows x columns."""


@dataclass(frozen=True)
class Step:
    """A named thing that is done to a window."""

    name: str
    reach: int
    """How many input pixels further it looks than the steps before it do."""
    run: Callable[[Window], None]


def steps_for(
    info: RasterInfo, card: ModelCard, size: tuple[int, int], *, keep_hidden: bool = True
) -> list[Step]:
    """The steps of a model's windows of a raster, to a result of ``size``.

    The halo that windows need is the sum of the steps' reaches. Without ``keep_hidden``, colours
    that alpha hides are those of visible neighbours.
    """
    together, alpha = bands_together(info), info.alpha
    inks, numbers = info.find("ink"), info.find(*REPEATED_ROLES)
    missing, mask, bounds = gaps.with_gaps(info), info.mask, bounds_of(info)
    halo = card.halo or 0
    steps = []
    if missing:
        steps.append(Step("fill gaps", gaps.GAP_REACH, lambda w: fill_gaps(w, missing, mask)))
    colours = info.find(*COLOUR_ROLES, "ink")
    fills = alpha is not None and colours and info.cover != "emission"
    if alpha is not None and fills:
        steps.append(
            Step("fill transparent", FILL_RADIUS, lambda w: fill_transparent(w, alpha, colours))
        )
    # The part beyond a network's range is enlarged by another way.
    far = tuple(number for number, band in enumerate(info.varying) if band.unbounded)
    if far:
        reach = max(0, BICUBIC_RADIUS - halo)
        steps.append(Step("set far values apart", reach, lambda w: set_apart(w, far)))
    if card.channels == 1:
        reach = halo if together is None else max(halo, BICUBIC_RADIUS)
        steps.append(Step("network of luma", reach, lambda w: run_on_luma(w, together, numbers)))
    else:
        steps.append(Step("network", halo, lambda w: run_network(w, together, numbers)))
    # The next two look at the network's input, not at its result: they add to the halo only where
    # they look further than it does.
    if together is not None:
        reach = max(0, NEUTRAL_RADIUS - halo)
        steps.append(Step("keep neutrals", reach, lambda w: keep_neutrals(w, together)))
    if inks:
        reach = max(0, RANGE_RADIUS - halo)
        steps.append(Step("keep inks in range", reach, lambda w: keep_inks_in_range(w, inks)))
    if alpha is not None:
        reach = max(0, 1 - halo)
        steps.append(Step("keep alpha in place", reach, lambda w: keep_alpha_in_place(w, alpha)))
    if far:
        steps.append(Step("add far values", 0, lambda w: add_far(w)))
    steps.append(Step("clip", 0, lambda w: clip(w.planes, bounds)))
    full = (info.height * card.scale, info.width * card.scale)
    reach = 0
    if size != full:
        # A sample of the result may lie half of its own width off a window's border.
        reductions = [reduced / whole for reduced, whole in zip(size, full, strict=True)]
        reach = math.ceil((2.5 / min(1, *reductions) + 1) / card.scale)
    steps.append(Step("take its piece", reach, lambda w: take_piece(w, numbers, bounds)))
    if alpha is not None and fills and keep_hidden:
        # It looks two pixels far, at colours before the filling, which looks further.
        least = least_cover(info, alpha)
        put_back = Step("put hidden back", 0, lambda w: put_hidden_back(w, alpha, colours, least))
        steps.append(put_back)
    if missing and keep_hidden:
        steps.append(Step("put gaps back", 0, lambda w: put_gaps_back(w, missing, mask)))
    return steps


def bands_together(info: RasterInfo) -> tuple[int, int, int] | None:
    """The bands that a network for RGB is given together; each other one goes alone, as grey.

    Cyan, magenta and yellow are the complement of RGB.
    """
    inks = info.find("ink")
    return (inks[0], inks[1], inks[2]) if len(inks) == 4 else info.colour_bands


def fill_transparent(window: Window, alpha: int, colours: Sequence[int]) -> None:
    """Put visible neighbours' colour where alpha is zero; see ``filled_in``."""
    if (window.given[:, :, alpha] > 0).all():
        return
    window.hidden = window.given
    window.given = filled_in(window.given, alpha, colours)


def filled_in(given: Float32Array, alpha: int, colours: Sequence[int]) -> Float32Array:
    """Rows x columns x bands with visible neighbours' colour where alpha is zero; others stay.

    A file's own colours there are arbitrary, often black, and would bleed into the edge. The
    fill is the mean of the pixels at most ``FILL_RADIUS`` away, weighted by their alpha.
    """
    shown = given[:, :, alpha : alpha + 1]
    colour = given[:, :, colours]
    weighted = np.concatenate([colour * shown, shown], axis=2)
    for axis in (0, 1):
        margin = [(FILL_RADIUS, FILL_RADIUS) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(weighted, margin)
        weighted = np.lib.stride_tricks.sliding_window_view(padded, 2 * FILL_RADIUS + 1, axis)
        weighted = weighted.sum(axis=-1)
    fill = weighted[:, :, :-1] / np.maximum(weighted[:, :, -1:], 1e-6)
    filled = given.copy()
    filled[:, :, colours] = np.where(shown > 0, colour, fill)
    return filled


def fill_gaps(window: Window, bands: Sequence[int], mask: int | None) -> None:
    """Put neighbours' values where samples are missing; see ``upres.enlarging.gaps``."""
    window.unfilled = window.given
    window.given = gaps.filled(window.given, bands, mask)


def put_gaps_back(window: Window, bands: Sequence[int], mask: int | None) -> None:
    """Take samples that are missing out of the result: as many as the nearest of the input are."""
    before = window.unfilled
    if before is None or before is window.given:
        return
    scale = window.pieces[0].scale
    rows, columns = window.pieces
    before = before.repeat(scale, 0).repeat(scale, 1)
    gaps.put_back(window.planes, columns.nearest(rows.nearest(before, 0), 1), bands, mask)


def set_apart(window: Window, bands: Sequence[int]) -> None:
    """Leave to the network the part of values that lies in its range; the rest is for later."""
    for band in bands:
        plane = window.given[:, :, band]
        if plane.min() < 0 or plane.max() > 1:
            within = np.clip(plane, 0, 1)
            window.far[band] = plane - within
            if len(window.far) == 1:
                window.given = window.given.copy()
            window.given[:, :, band] = within


def add_far(window: Window) -> None:
    """Add the part of values beyond the network's range, enlarged bicubically.

    A network extrapolates nothing, least of all one of int8, whose values end there.
    """
    for band, plane in window.far.items():
        window.planes[band] += bicubic(plane, size=window.planes[band].shape)


def run_network(
    window: Window, together: tuple[int, int, int] | None, numbers: tuple[int, ...]
) -> None:
    """Enlarge the bands: three ``together``, and each other alone: as grey, and luma is kept.

    Of ``numbers``, which have nothing in between, each sample is repeated.
    """
    count, first_three = window.given.shape[2], together == (0, 1, 2)
    if together is not None:
        colour = window.given[:, :, :3] if first_three else window.given[:, :, together]
        window.colour = np.ascontiguousarray(colour.transpose(2, 0, 1))
        enlarged = window.engine(window.colour[None])[0]
        if first_three and count == 3:
            window.planes = enlarged
            return
        window.planes = np.empty((count, *enlarged.shape[1:]), np.float32)
        window.planes[list(together)] = enlarged
    scale = window.pieces[0].scale
    for band in (i for i in range(count) if together is None or i not in together):
        plane = window.given[:, :, band]
        if band in numbers:
            enlarged = plane.repeat(scale, 0).repeat(scale, 1)
        else:
            enlarged = luma(window.engine(np.repeat(plane[None, None], 3, axis=1))[0])
        if not window.planes.size:
            window.planes = np.empty((count, *enlarged.shape), np.float32)
        window.planes[band] = enlarged


def run_on_luma(
    window: Window, together: tuple[int, int, int] | None, numbers: tuple[int, ...]
) -> None:
    """The same by a network of one channel: each band as it is, and of bands ``together`` luma.

    What these differ from luma by is enlarged bicubically, and added: the eye sees little of its
    details. Source: Dong, Loy, He and Tang, "Learning a deep convolutional network for image
    super-resolution" (SRCNN), ECCV 2014, section 4.
    """

    def enlarged(plane: Float32Array) -> Float32Array:
        large: Float32Array = window.engine(np.ascontiguousarray(plane)[None, None])[0, 0]
        return large

    planes: dict[int, Float32Array] = {}
    if together is not None:
        window.colour = np.ascontiguousarray(window.given[:, :, together].transpose(2, 0, 1))
        grey = luma(window.colour)
        large = enlarged(grey)
        for band, plane in zip(together, window.colour, strict=True):
            planes[band] = large + bicubic(plane - grey, size=large.shape)
    scale = window.pieces[0].scale
    for band in (i for i in range(window.given.shape[2]) if i not in planes):
        plane = window.given[:, :, band]
        repeated = band in numbers
        planes[band] = plane.repeat(scale, 0).repeat(scale, 1) if repeated else enlarged(plane)
    window.planes = np.stack([planes[band] for band in sorted(planes)])


def keep_neutrals(window: Window, together: tuple[int, int, int]) -> None:
    """Take from the result the colour that a network gave to pixels without any."""
    assert window.colour is not None
    if together == (0, 1, 2):
        keep_neutral(window.planes[:3], window.colour)
    else:
        window.planes[list(together)] = keep_neutral(window.planes[list(together)], window.colour)


def keep_inks_in_range(window: Window, inks: tuple[int, ...]) -> None:
    """Keep each ink within the range of the input's samples ``RANGE_RADIUS`` around."""
    for band in inks:
        window.planes[band] = keep_in_range(window.planes[band], window.given[:, :, band])


def keep_alpha_in_place(window: Window, alpha: int) -> None:
    """Keep alpha within the range of the input's samples that are nearest."""
    window.planes[alpha] = keep_in_place(window.planes[alpha], window.given[:, :, alpha])


def least_cover(info: RasterInfo, alpha: int) -> float:
    """The alpha below which a sample is rounded to 0."""
    band = info.varying[alpha]
    if info.dtype.kind == "f" or band.high is None:
        return float(np.finfo(np.float32).tiny)
    return 0.5 / band.high


def put_hidden_back(window: Window, alpha: int, colours: Sequence[int], least: float) -> None:
    """Where the result shows nothing, put the input's own colours, enlarged bicubically.

    The eye does not see them, but programs that take alpha for something else do.
    Alpha of less than ``least`` becomes 0.
    """
    nothing = window.planes[alpha] < least
    if window.hidden is None or not nothing.any():
        return
    window.planes[alpha][nothing] = 0
    planes = np.ascontiguousarray(window.hidden[:, :, colours].transpose(2, 0, 1))
    for axis, piece in zip((1, 2), window.pieces, strict=True):
        length = planes.shape[axis]
        planes = apply_taps(planes, axis, *bicubic_taps(length, length * piece.scale))
        planes = piece.reduced(planes, axis)
    np.clip(planes, 0, 1, out=planes)
    for plane, band in zip(planes, colours, strict=True):
        window.planes[band][nothing] = plane[nothing]


def take_piece(window: Window, numbers: tuple[int, ...], bounds: tuple[Bounds, ...]) -> None:
    """Keep the window's piece of the result, reduced by antialiased bicubic if that is smaller."""
    rows, columns = window.pieces
    planes = rows.reduced(window.planes, 1)
    planes = columns.reduced(planes, 2)
    if rows.is_reduced or columns.is_reduced:
        clip(planes, bounds)
        for band in numbers:
            planes[band] = columns.nearest(rows.nearest(window.planes[band], 0), 1)
    window.planes = planes
