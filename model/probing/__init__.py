"""What embeddings tell about people: linear probe and baselines on the same splits."""
