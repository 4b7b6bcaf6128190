"""From an fMRIPrep folder to scans: names, entities, sources, selection; opens no image."""

__all__ = ("discovery", "entities", "locate", "refusal", "scan", "selection", "sources")
