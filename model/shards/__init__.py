"""Parcel series of cohorts, stored for training: format, sources, lists of subjects, crops.

Series come normalized and are never changed once they are stored.
"""

__all__ = ("crops", "incoming", "pooled", "published_series", "store", "stored", "subjects")
