"""Metadata of pictures: EXIF, XMP, IPTC, colours, gain maps."""
