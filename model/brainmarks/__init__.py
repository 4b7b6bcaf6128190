"""The encoder in the evaluation suite brainmarks."""
