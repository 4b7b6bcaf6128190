"""Array jobs of a SLURM cluster over the participants of a study.

Plans tasks and writes scripts; never processes a scan.
"""

__all__ = ("options", "plan", "script")
