"""Runs networks: each engine behind one protocol, and the means of this machine."""
