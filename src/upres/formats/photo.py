"""stub"""
import numpy as np, pyvips
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
def read_rgb8(source, *, name=None):
    im = pyvips.Image.new_from_buffer(source, "", fail_on="error") if isinstance(source, bytes) else pyvips.Image.new_from_file(str(source), fail_on="error")
    im = im.colourspace("srgb")
    return im[:3].cast("uchar").numpy()
