"""Array jobs of a SLURM cluster over the participants of a study."""

__all__ = ("options", "plan", "script")
