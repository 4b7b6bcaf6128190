"""Arrays in, embeddings out: Brain-Semantoks without BIDS, NIfTI or subject folders.

Axes, used in every docstring of the repository:

====== ==============================================================
``T``  frames of a scan (native TR) or samples (TR 2.0 s); first axis
``P``  457 parcels, in the order of ``model/data/parcels.tsv``
``R``  confound regressors
``W``  windows of a scan
``L``  100 samples of a window (200 s); last axis of a window
``N``  9 networks
``K``  5 patches of 20 samples (40 s) in a window
``D``  embedding dimension
====== ==============================================================
"""

__version__ = "0.1.0"

# `bids_app` checks this before anything else: other projects install a top-level
# package `model` too, and files of two packages can end up in one folder.
DISTRIBUTION = "semantoks"
