"""From an fMRIPrep folder to scans: names, entities, sources, selection, reasons of refusal.

Reads names and sidecars; opens no image and no table.
"""

__all__ = ("discovery", "eligible", "entities", "locate", "scan", "selection", "sidecars")
