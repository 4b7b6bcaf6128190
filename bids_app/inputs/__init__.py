"""From an fMRIPrep folder to scans: names, entities, sources, selection, reasons of refusal.

Reads names and sidecars; opens no image and no table, but to compare a copy with its original.
"""

__all__ = (
    "copies",
    "discovery",
    "eligible",
    "entities",
    "given_tr",
    "index",
    "locate",
    "scan",
    "selection",
    "sidecars",
    "study_space",
)
