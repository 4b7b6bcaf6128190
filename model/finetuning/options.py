"""What a fine-tuning run is; frozen, and written down with the results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from model.errors import ConfigError
from model.files.settings import Count, CountOrZero, Limits, NotNegative, Option, Positive
from model.files.shared_options import EpochsOption
from model.probing.options import ProtocolConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(ProtocolConfig):
    """Runs on one split or several; by default made for few subjects."""

    repetition: Annotated[
        CountOrZero,
        Option(
            "--repetition",
            "Which of the splits that a probe with the same seed draws is the first.",
            metavar="NUMBER",
        ),
    ] = 0
    n_splits: Annotated[
        Count, Option("--n-splits", "Splits, each from the untouched encoder.", metavar="COUNT")
    ] = 1
    epochs: EpochsOption = 50
    frozen_epochs: Annotated[
        CountOrZero,
        Option(
            "--frozen-epochs",
            "At the start, in which only the head learns; fewer than all.",
            metavar="COUNT",
        ),
    ] = 5
    keep: Annotated[
        Literal["best", "last"],
        Option("--keep", "The epoch that is best on validation, or the last of all."),
    ] = "best"
    patience: Annotated[
        Count,
        Option(
            "--patience",
            "Epochs without a better validation, after the frozen ones, that end the training; "
            "not with --keep last.",
            metavar="COUNT",
        ),
    ] = 10
    train_crops: Annotated[
        Literal["all", "random"],
        Option(
            "--train-crops",
            "An epoch is all --n-crops windows of each scan, or one drawn anywhere in it.",
        ),
    ] = "all"
    batch_size: Annotated[
        int,
        Limits(2, math.inf, "at least 2"),
        Option("--train-batch-size", "Windows per step of the training.", metavar="COUNT"),
    ] = 16
    """The head normalizes by batch: one sample has no variance."""
    learning_rates: Annotated[
        tuple[Positive, ...],
        Option(
            "--learning-rate",
            "Of the head, at the first step; a cosine takes it to 0. Of several (repeatable) "
            "validation chooses, each from the untouched encoder.",
            metavar="RATE",
        ),
    ] = (1e-4,)
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
    decay_exempt: Annotated[
        bool,
        Option("--decay-exempt", "Biases, norms and layer scales of the encoder do not decay."),
    ] = False
    clip_norm: Positive = 1.0
    head: Annotated[
        Literal["linear", "mlp"],
        Option("--head", "Batch normalization and a layer, or layers of 512, 512 and 256 units."),
    ] = "linear"
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
        if not self.learning_rates or len(set(self.learning_rates)) < len(self.learning_rates):
            raise ConfigError(f"learning rates {self.learning_rates}: expected each once.")
        if self.splits is not None and (self.n_splits > 1 or self.repetition):
            raise ConfigError(
                "a fixed split has no repetitions.", hint="Leave out --n-splits or --splits."
            )


_PUBLISHED: dict[str, Any] = {
    "readout": ("mean", "cls"),
    "scans": "one",
    "regress_by": "mae",
    "n_splits": 10,
    "frozen_epochs": 0,
    "keep": "last",
    "train_crops": "random",
    "decay_exempt": True,
}
FINETUNE_PRESETS = {
    "published": _PUBLISHED,
    "published-grid": _PUBLISHED | {"learning_rate": (1e-3, 1e-4, 1e-5), "epochs": 30},
}
"""Values of options by preset, where these are not given."""
