"""One page for a whole cohort, from its rows and embeddings; it never opens a scan's files."""

__all__ = ("maps", "page", "scans")
