"""What files say of their pictures: EXIF, XMP, IPTC, colours, gain maps."""
