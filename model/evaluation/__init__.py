"""Quality of embeddings without labels: who is who across sessions, and what moves a vector.

Reads the app's outputs and tables of embeddings; trains nothing, and knows no label.
"""

__all__ = ("encoded", "evaluate", "options", "results", "source")
