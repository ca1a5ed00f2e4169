"""Doors for other people's frameworks; each is a module of its own, and loads its framework when it is imported."""
