"""Gets the weights of the paper, once: fetched, verified, imported, installed.

Reaches for the network; no scan's way leads through it.
"""

__all__ = ("hub", "install", "transfer")
