"""Quality against the amount of pretraining data: a grid of runs, their scores, the fitted law.

Trains by `model.pretraining` alone, on simulated subjects, and measures on others.
"""

__all__ = ("grid", "law", "scale")
