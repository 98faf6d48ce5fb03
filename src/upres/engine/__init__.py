"""Runs networks: each engine behind one protocol, and what this machine has."""
