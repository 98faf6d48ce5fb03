"""Pixels as arrays: resizing, measures, sample types, and room for them on disk."""
