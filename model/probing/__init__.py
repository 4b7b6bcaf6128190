"""What embeddings tell about people: linear probe and baselines on the same splits.

Test subjects are scored once and have no part in anything that is learned; the encoder is frozen.
"""

__all__ = (
    "features",
    "head",
    "inputs",
    "methods",
    "options",
    "participants",
    "probe",
    "protocol",
    "samples",
    "scoring",
    "splits",
    "summary",
    "unfinished",
)
