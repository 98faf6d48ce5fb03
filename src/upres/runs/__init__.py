"""Runs over many files: which, where to, what is done already."""
