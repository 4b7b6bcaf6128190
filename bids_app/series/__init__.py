"""Parcel series that other programs made: found, read, mapped to the 457 parcels, embedded.

What cannot be mapped with certainty is refused. Opens no image.
"""

__all__ = ("find", "foreign", "options", "run")
