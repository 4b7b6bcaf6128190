"""Self-distillation of the encoder: what the published training computes, and its variants.

Learns from the simulator or from stored series, never from labels, and adapts to a cohort.
"""

__all__ = ("adapt", "layer_rates", "pretrain", "recipes", "run_folder", "settings", "untrained")
