"""Quality of embeddings without labels: who is who across sessions, and what moves a vector."""
