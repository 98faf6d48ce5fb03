"""Runs over many files: which, where to, and which are done already."""
