"""Adapters between files and arrays, one module a kind of file."""
