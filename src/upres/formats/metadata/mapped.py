"""The part of a picture's metadata that is true of a map of it, too: its place and its size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from upres.formats.metadata.carried import Carried, nothing_carried


def for_a_map(carried: object, bands: Sequence[int], words: str) -> Carried:
    """Of a picture's metadata, its place on the ground and its resolution.

    Each band of the map is about one of the picture's ``bands``, by number, and is described by
    ``words``.
    """
    nothing = nothing_carried()
    if not isinstance(carried, Carried):
        return nothing
    image = nothing.image
    if carried.resolution:
        across, down = carried.resolution
        image = image.copy(xres=across, yres=down)
    place = carried.place
    if place is not None:
        from upres.formats.geo.place import Place

        place = place.for_a_map(bands, words) if isinstance(place, Place) else None
    return dataclasses.replace(nothing, image=image, density=carried.upright_density, place=place)
