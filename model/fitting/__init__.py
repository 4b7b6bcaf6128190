"""What is fitted to scans in one pass, without a gradient: whitening, the short form.

Knows shards and the simulator; knows nothing of self-distillation.
"""

__all__ = ("data", "mixtures", "settings", "short", "whitening")
