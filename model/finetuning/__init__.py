"""Train encoder and head on a label: all weights with layer-wise rates, or adapters."""
