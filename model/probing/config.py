"""What a probe asks and how; frozen, and written down with the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from model.errors import ConfigError
from model.files.strict import Count, CountOrZero, Positive, Strict
from model.spec import ReadoutPart

Task = Literal["classification", "regression"]

MAIN_METRIC: dict[Task, str] = {"classification": "balanced_accuracy", "regression": "r2"}
"""What settings are chosen by, and what figure and differences show."""

METHODS = (
    "probe",
    "linear",
    "random-probe",
    "random-linear",
    "random-whitened-probe",
    "random-whitened-linear",
    "fc-svm",
    "fisher-linear",
    "tangent-linear",
)
"""``linear`` is logistic regression or ridge; docs/probing.md describes each."""
TABLE_METHODS = ("probe", "linear")
"""Those that need nothing but embeddings."""


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig(Strict):
    """What probe and fine-tuning share: the question, the subjects, the splits."""

    target: str
    """Column of the participants table."""
    task: Task
    shares: tuple[Positive, Positive, Positive] = (0.6, 0.2, 0.2)
    """Of the subjects, for training, validation and test."""
    splits: Path | None = None
    """Table of a fixed split, in place of drawn ones."""
    seed: CountOrZero = 0
    readout: tuple[ReadoutPart, ...] = ()
    """Parts of the embedding, in order; empty: the checkpoint's default."""
    n_crops: Count = 8
    """Equally spaced windows per scan."""
    entities: tuple[str, ...] = ()
    """Only scans whose names hold all of these, such as ``task-rest``."""
    allow_missing: bool = False
    """Leave subjects without a label out, instead of refusing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(
                f"expected three shares that sum to 1, found {self.shares}.",
                hint="For example 0.6 0.2 0.2 for training, validation and test.",
            )
        if len(set(self.readout)) < len(self.readout):
            raise ConfigError(f"readout {self.readout}: each of {get_args(ReadoutPart)} once.")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(ProtocolConfig):
    """A whole probe; defaults as in the paper's protocol."""

    site: str | None = None
    """Column whose values are left out one by one as test set, in place of repetitions."""
    repetitions: Count = 10
    methods: tuple[str, ...] = ()
    """Of `METHODS`; empty: all that the input allows."""
    epochs: Count = 50
    """Of the probe's training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = sorted(set(self.methods) - set(METHODS))
        if wrong:
            raise ConfigError(f"unknown methods {wrong}.", hint=f"Known: {', '.join(METHODS)}.")
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods {', '.join(self.methods)}: expected each once.")
        if self.site is not None and self.splits is not None:
            raise ConfigError(
                "a fixed split and leaving sites out exclude one another.",
                hint="Give one of --splits and --site.",
            )
