"""Names of the items that a picture's file may say of itself, for the table and messages."""

from __future__ import annotations

EXIF, XMP, IPTC, PHOTOSHOP = "EXIF", "XMP", "IPTC", "Photoshop's data"
PROFILE, RESOLUTION, ASPECT = "colour profile", "resolution", "pixel aspect"
COMMENTS, TEXT = "comments", "text"
GAIN_MAP, MAKERS = "gain map", "maker's data"
PLACE = "georeference"
CHUNKS = "PNG chunks"
"""Of all the kinds that only PNG has, which messages name one by one."""

PHOTOGRAPH = frozenset({EXIF, XMP, PROFILE, RESOLUTION})
"""Of a photograph, what most formats have a place for."""
