"""What a fine-tuning run is; frozen, and written down with the results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from model.errors import ConfigError
from model.files.settings import Count, CountOrZero, Limits, NotNegative, Option, Positive
from model.files.shared_options import EpochsOption
from model.probing.options import ProtocolConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(ProtocolConfig):
    """A run on one split; rates, epochs and decay as in the paper."""

    repetition: Annotated[
        CountOrZero,
        Option(
            "--repetition",
            "Which of the splits that a probe with the same seed draws.",
            metavar="NUMBER",
        ),
    ] = 0
    epochs: EpochsOption = 50
    frozen_epochs: Annotated[
        CountOrZero,
        Option(
            "--frozen-epochs",
            "At the start, in which only the head learns; fewer than all.",
            metavar="COUNT",
        ),
    ] = 5
    patience: Annotated[
        Count,
        Option(
            "--patience",
            "Epochs without a better validation, after the frozen ones, that end the training.",
            metavar="COUNT",
        ),
    ] = 10
    batch_size: Annotated[
        int,
        Limits(2, math.inf, "at least 2"),
        Option("--train-batch-size", "Windows per step of the training.", metavar="COUNT"),
    ] = 16
    """The head normalizes by batch: one sample has no variance."""
    learning_rate: Annotated[
        Positive,
        Option(
            "--learning-rate",
            "Of the head, at the first step; a cosine takes it to 0.",
            metavar="RATE",
        ),
    ] = 1e-4
    layer_decay: Annotated[
        float,
        Limits(math.ulp(0.0), 1, "above 0, at most 1"),
        Option(
            "--layer-decay",
            "Factor on the rate from each layer to the one below.",
            metavar="FACTOR",
        ),
    ] = 0.9
    weight_decay: Annotated[
        NotNegative, Option("--weight-decay", "Of the weights, per step.", metavar="RATE")
    ] = 0.05
    clip_norm: Positive = 1.0
    lora_rank: Annotated[
        CountOrZero,
        Option(
            "--lora-rank",
            "Of adapters on the transformer's linear layers; 0: all weights learn.",
            metavar="RANK",
        ),
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs <= self.frozen_epochs:
            raise ConfigError(
                f"{self.epochs} epochs, of which {self.frozen_epochs} are frozen: the encoder "
                "would not learn.",
                hint="Raise --epochs, or lower --frozen-epochs.",
            )
