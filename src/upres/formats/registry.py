"""Which formats there are."""

from __future__ import annotations

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".gif")
"""Of the files that are read, in lower case."""

OUTPUT_SUFFIXES = SUFFIXES
"""Of the files that can be written."""
