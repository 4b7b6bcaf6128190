"""One page per participant, from what lies in the output folder; it never opens an image."""

__all__ = ("environment", "page")
