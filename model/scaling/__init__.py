"""Quality against the amount of pretraining data: a grid of runs, their scores, the fitted law.

Trains by `model.pretraining` alone, measures on others, and compares each run with its own start.
"""

__all__ = ("grid", "law", "scale")
