"""Builds the atlas from public files, once: fetched, verified, joined, laid out.

The only room that reaches for the network. No scan's way leads through it.
"""

__all__ = ("build_grayordinates", "build_volumes", "fetch", "install", "origins")
