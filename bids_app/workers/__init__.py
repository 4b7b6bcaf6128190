"""Work spread over processes within bounds; knows of scans only their sizes."""

__all__ = ("processes", "resources")
