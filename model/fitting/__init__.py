"""What is fitted to scans in one pass, without a gradient: whitening of tokens and of parcels.

Knows shards and the simulator; knows nothing of self-distillation.
"""

__all__ = ("data", "parcels", "settings", "whitening")
