"""Task blocks and network importance of scans that are embedded already."""
