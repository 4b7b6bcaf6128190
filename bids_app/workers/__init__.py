"""Work spread over processes within bounds, and its progress; knows nothing of scans or files."""

__all__ = ("processes", "progress", "resources")
