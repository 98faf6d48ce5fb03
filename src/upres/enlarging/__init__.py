"""From a raster to a larger one: options, plan, windows, steps."""
