"""The steps in which a network enlarges a window's bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upres.enlarging.window import Window
from upres.raster.pixels import Float32Array, luma
from upres.raster.resize import bicubic

BICUBIC_RADIUS = 2
"""How far, in input pixels, bicubic looks, by which a network of luma has colour enlarged."""


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
        enlarged = _without_widths(window, window.engine(window.colour[None])[0])
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
            made = window.engine(np.repeat(plane[None, None], 3, axis=1))[0]
            enlarged = luma(_without_widths(window, made, keep=band != window.alpha))
        if not window.planes.size:
            window.planes = np.empty((count, *enlarged.shape), np.float32)
        window.planes[band] = enlarged


def _without_widths(window: Window, made: Float32Array, *, keep: bool = True) -> Float32Array:
    """The picture alone, of what an engine makes: half-widths may be its last channel.

    The window ``keep``s them.
    """
    if keep and len(made) > 3:
        window.widths.append(made[3])
    return made[:3]


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
