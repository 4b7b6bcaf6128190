"""Work spread over processes within bounds, and its progress; knows of scans only their sizes."""

__all__ = ("processes", "progress", "resources")
