"""What a fine-tuning run is; frozen, and written down with the results."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import ConfigError
from model.probing.config import ProtocolConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(ProtocolConfig):
    """A run on one split; rates, epochs and decay as in the paper."""

    repetition: int = 0
    """Which of the splits that a probe with the same seed draws."""
    epochs: int = 50
    """At most."""
    frozen_epochs: int = 5
    """At the start, in which only the head learns; fewer than all."""
    patience: int = 10
    """Epochs without a better validation, after the frozen ones, that end the training."""
    batch_size: int = 16
    learning_rate: float = 1e-4
    """Of the head, at the first step; a cosine takes it to 0."""
    layer_decay: float = 0.9
    """Factor on the rate from each layer to the one below."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    lora_rank: int = 0
    """Of adapters on the transformer's linear layers; 0: all weights learn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: the head normalizes by batch.")
        if min(self.epochs, self.patience) < 1 or min(self.repetition, self.frozen_epochs) < 0:
            raise ConfigError(
                "epochs and patience must be at least 1, repetition and frozen_epochs at least 0."
            )
        if self.epochs <= self.frozen_epochs:
            raise ConfigError(
                f"{self.epochs} epochs, of which {self.frozen_epochs} are frozen: the encoder "
                "would not learn.",
                hint="Raise --epochs, or lower --frozen-epochs.",
            )
        if not (self.learning_rate > 0 and 0 < self.layer_decay <= 1 and self.clip_norm > 0):
            raise ConfigError(
                "learning_rate and clip_norm must be positive, layer_decay above 0 and at most 1."
            )
        if self.weight_decay < 0 or self.lora_rank < 0:
            raise ConfigError("weight_decay and lora_rank must not be negative.")
