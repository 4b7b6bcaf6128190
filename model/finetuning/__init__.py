"""Train encoder and head on a label: all weights with layer-wise rates, or adapters.

Question, splits and scores are those of `model.probing`; the encoder it is given is changed.
"""

__all__ = ("finetune", "options", "predictor", "train")
