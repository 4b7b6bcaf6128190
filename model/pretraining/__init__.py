"""Self-distillation of the encoder: what the published training computes, and its variants."""
