"""One table of all scans, from the outputs of the participant level; reads no image.

Names, columns and sidecars are those of `bids_app.outputs.group`.
"""

__all__ = ("export", "load", "options")
