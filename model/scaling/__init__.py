"""Quality against the amount of pretraining data: a grid of runs, their scores, the fitted law."""
