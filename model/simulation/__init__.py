"""Simulated scans of 457 parcels, and the generators that all randomness comes from.

Reads no file: settings, the label table and a seed are all there is to a scan.
"""

__all__ = ("draws", "layout", "simulate")
