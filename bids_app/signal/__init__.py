"""From parcel means to a cleaned series: confounds, strategies, filter, times, lost frames.

Reads what fMRIPrep wrote beside an image; never opens one, and writes nothing.
"""

__all__ = ("confounds", "denoise", "effect", "lost", "strategy", "timing")
