"""Task blocks and network importance of scans that are embedded already.

Reads an output folder and events; never an image.
"""

__all__ = ("blocks", "events", "importance", "options")
