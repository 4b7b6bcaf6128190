"""Partitions: which parcels become tokens together, as data; named ones and people's own tables.

Knows the parcels and their networks; knows nothing of an encoder, nor of what it is trained on.
"""

__all__ = ("groups", "named", "table")
