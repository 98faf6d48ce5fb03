"""The command: a short file for each of its parts."""
