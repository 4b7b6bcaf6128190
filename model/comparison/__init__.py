"""Results of probes side by side: single networks over a cohort, methods over tasks.

Fits nothing itself but by `model.probing`.
"""

__all__ = ("average", "importance", "options", "tasks")
