"""GeoTIFF: rasters with a place on the map, read and written by rasterio."""
