"""Training of networks: recipes, networks, data, the loop, and export to a model file.

Needs the extra ``train``; nothing else in upres imports it, but for the command, inside
a function.
"""
