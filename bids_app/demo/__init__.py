"""Simulated scans with a known truth, laid out as fMRIPrep does, and what the app made of them.

No recording, no person; a scan's way never leads here.
"""

__all__ = ("phantom", "recovery", "tree")
