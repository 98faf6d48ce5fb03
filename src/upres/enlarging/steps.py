"""The steps that a window goes through, each with a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from upres.card import ModelCard
from upres.enlarging import gaps
from upres.enlarging.bounds import Bounds, bounds_of, clip
from upres.enlarging.networks import (
    BICUBIC_RADIUS,
    add_far,
    run_network,
    run_on_luma,
    set_apart,
)
from upres.enlarging.planes import (
    FLAT_RADIUS,
    NEUTRAL_RADIUS,
    PALETTE_RADIUS,
    RANGE_RADIUS,
    keep_borders_near,
    keep_flat,
    keep_in_place,
    keep_in_range,
    keep_neutral,
    nearest_around,
)
from upres.enlarging.window import Window
from upres.raster.info import COLOUR_ROLES, REPEATED_ROLES, RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.resize import apply_taps, bicubic_taps

FILL_RADIUS = 4
"""How far, in input pixels, visible colour is continued under transparent pixels."""


@dataclass(frozen=True)
class Step:
    """A named thing that is done to a window."""

    name: str
    reach: int
    """How many input pixels further it looks than the steps before it do."""
    run: Callable[[Window], None]
    by_engine: bool = False
    """Whether it is the network, which takes the most time."""


def steps_for(
    info: RasterInfo,
    card: ModelCard,
    size: tuple[int, int],
    *,
    keep_hidden: bool = True,
    keeps_palette: bool = False,
) -> list[Step]:
    """The steps of a model's windows of a raster, to a result of ``size``.

    The halo that windows need is the sum of the steps' reaches. Without ``keep_hidden``, colours
    that alpha hides are those of visible neighbours. If it ``keeps_palette``, the result has the
    raster's own colours only.
    """
    together, alpha = bands_together(info), info.alpha
    inks, numbers = info.find("ink"), info.find(*REPEATED_ROLES)
    missing, mask, bounds = gaps.with_gaps(info), info.mask, bounds_of(info)
    halo = card.halo or 0
    steps = []
    least = min(size[0] / info.height, size[1] / info.width)
    if missing:
        radii = gaps.radii_for(least)
        steps.append(Step("fill gaps", sum(radii), lambda w: fill_gaps(w, missing, mask, radii)))
    colours = info.find(*COLOUR_ROLES, "ink")
    fills = alpha is not None and colours and info.cover != "emission"
    if alpha is not None and fills:
        # As far as what is reduced afterwards is averaged.
        radius = max(FILL_RADIUS, math.ceil(2 / least) + 1)
        fill = Step(
            "fill transparent", radius, lambda w: fill_transparent(w, alpha, colours, radius)
        )
        steps.append(fill)
    # The part beyond a network's range is enlarged by another way.
    far = tuple(number for number, band in enumerate(info.varying) if band.unbounded)
    if far:
        reach = max(0, BICUBIC_RADIUS - halo)
        steps.append(Step("set far values apart", reach, lambda w: set_apart(w, far)))
    if card.channels == 1:
        reach = halo if together is None else max(halo, BICUBIC_RADIUS)
        steps.append(
            Step("network of luma", reach, lambda w: run_on_luma(w, together, numbers), True)
        )
    else:
        steps.append(Step("network", halo, lambda w: run_network(w, together, numbers), True))
    # The next two look at the network's input, not at its result: they add to the halo only where
    # they look further than it does.
    if together is not None:
        reach = max(0, NEUTRAL_RADIUS - halo)
        steps.append(Step("keep neutrals", reach, lambda w: keep_neutrals(w, together)))
    if inks:
        reach = max(0, RANGE_RADIUS - halo)
        steps.append(Step("keep inks in range", reach, lambda w: keep_inks_in_range(w, inks)))
    groups: list[tuple[int, ...]] = [together] if together else []
    alone = [i for i in range(len(info.varying)) if i not in (*(together or ()), *numbers)]
    groups += [(number,) for number in alone]
    reach = max(0, FLAT_RADIUS - halo)
    steps.append(Step("keep flat", reach, lambda w: keep_flats(w, groups)))
    if alpha is not None:
        reach = max(0, 1 - halo)
        steps.append(Step("keep alpha in place", reach, lambda w: keep_alpha_in_place(w, alpha)))
    if far:
        steps.append(Step("add far values", 0, lambda w: add_far(w)))
    steps.append(Step("clip", 0, lambda w: clip(w.planes, bounds)))
    if keeps_palette:
        reach = max(0, PALETTE_RADIUS - halo)
        steps.append(Step("keep palette", reach, lambda w: take_own_colours(w, alpha)))
        numbers, fills = tuple(range(len(info.varying))), False
    full = (info.height * card.scale, info.width * card.scale)
    reach = 0
    if size != full:
        # A sample of the result may lie half of its own width off a window's border.
        reductions = [reduced / whole for reduced, whole in zip(size, full, strict=True)]
        reach = math.ceil((2.5 / min(1, *reductions) + 1) / card.scale)
    steps.append(Step("take its piece", reach, lambda w: take_piece(w, numbers, bounds)))
    if alpha is not None and fills and keep_hidden:
        # It looks two pixels far, at colours before the filling, which looks further.
        cover = least_cover(info, alpha)
        put_back = Step("put hidden back", 0, lambda w: put_hidden_back(w, alpha, colours, cover))
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


def fill_transparent(
    window: Window, alpha: int, colours: Sequence[int], radius: int = FILL_RADIUS
) -> None:
    """Put visible neighbours' colour where alpha is zero; see ``filled_in``."""
    if (window.given[:, :, alpha] > 0).all():
        return
    window.hidden = window.given
    window.given = filled_in(window.given, alpha, colours, radius)


def filled_in(
    given: Float32Array, alpha: int, colours: Sequence[int], radius: int = FILL_RADIUS
) -> Float32Array:
    """Rows x columns x bands with visible neighbours' colour where alpha is zero; others stay.

    A file's own colours there are arbitrary, often black, and would bleed into the edge. The
    fill is the mean of the pixels at most ``radius`` away, weighted by their alpha.
    """
    shown = given[:, :, alpha : alpha + 1]
    colour = given[:, :, colours]
    weighted = np.concatenate([colour * shown, shown], axis=2)
    for axis in (0, 1):
        margin = [(radius, radius) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(weighted, margin)
        weighted = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis)
        weighted = weighted.sum(axis=-1)
    fill = weighted[:, :, :-1] / np.maximum(weighted[:, :, -1:], 1e-6)
    filled = given.copy()
    filled[:, :, colours] = np.where(shown > 0, colour, fill)
    return filled


def fill_gaps(window: Window, bands: Sequence[int], mask: int | None, radii: Sequence[int]) -> None:
    """Put neighbours' values where samples are missing; see ``upres.enlarging.gaps``."""
    window.unfilled = window.given
    window.given = gaps.filled(window.given, bands, mask, radii)


def put_gaps_back(window: Window, bands: Sequence[int], mask: int | None) -> None:
    """Take samples that are missing out of the result: as many as the nearest of the input are."""
    before = window.unfilled
    if before is None or before is window.given:
        return
    scale = window.pieces[0].scale
    rows, columns = window.pieces
    before = before.repeat(scale, 0).repeat(scale, 1)
    gaps.put_back(window.planes, columns.nearest(rows.nearest(before, 0), 1), bands, mask)


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


def keep_flats(window: Window, groups: Sequence[tuple[int, ...]]) -> None:
    """Keep what is flat as it is, and what is beside the picture's border near the input."""
    for bands in groups:
        if bands == (0, 1, 2) and window.colour is not None:
            given, output = window.colour, window.planes[:3]
        elif len(bands) == 1:
            given = np.ascontiguousarray(window.given[None, :, :, bands[0]])
            output = window.planes[bands[0] : bands[0] + 1]
        else:
            given, output = window.given.transpose(2, 0, 1)[list(bands)], window.planes[list(bands)]
        keep_borders_near(output, given, [piece.ends for piece in window.pieces])
        keep_flat(output, given)
        if len(bands) > 1 and bands != (0, 1, 2):
            window.planes[list(bands)] = output


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


def take_own_colours(window: Window, alpha: int | None) -> None:
    """Take, of the pixels around, the one whose colour is nearest to what the network made."""
    given = window.given if window.hidden is None else window.hidden
    window.planes = nearest_around(window.planes, given.transpose(2, 0, 1), alpha)


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
