"""What a probe asks and how; frozen, and written down with the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from model.errors import ConfigError
from model.spec import ReadoutPart

if TYPE_CHECKING:
    from pathlib import Path

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
class ProtocolConfig:
    """What probe and fine-tuning share: the question, the subjects, the splits."""

    target: str
    """Column of the participants table."""
    task: Task
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of the subjects, for training, validation and test."""
    splits: Path | None = None
    """Table of a fixed split, in place of drawn ones."""
    seed: int = 0
    readout: tuple[ReadoutPart, ...] = ()
    """Parts of the embedding, in order; empty: the checkpoint's default."""
    n_crops: int = 8
    """Equally spaced windows per scan."""
    entities: tuple[str, ...] = ()
    """Only scans whose names hold all of these, such as ``task-rest``."""
    allow_missing: bool = False
    """Leave subjects without a label out, instead of refusing."""

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(f"task {self.task!r}: one of {get_args(Task)}.")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(
                f"expected three positive shares that sum to 1, found {self.shares}.",
                hint="For example 0.6 0.2 0.2 for training, validation and test.",
            )
        wrong = sorted(set(self.readout) - set(get_args(ReadoutPart)))
        if wrong or len(set(self.readout)) < len(self.readout):
            raise ConfigError(f"readout {self.readout}: each of {get_args(ReadoutPart)} once.")
        if self.n_crops < 1 or self.seed < 0:
            raise ConfigError("n_crops must be at least 1 and seed at least 0.")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(ProtocolConfig):
    """A whole probe; defaults as in the paper's protocol."""

    site: str | None = None
    """Column whose values are left out one by one as test set, in place of repetitions."""
    repetitions: int = 10
    methods: tuple[str, ...] = ()
    """Of `METHODS`; empty: all that the input allows."""
    epochs: int = 50
    """Of the probe's training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = sorted(set(self.methods) - set(METHODS))
        if wrong:
            raise ConfigError(f"unknown methods {wrong}.", hint=f"Known: {', '.join(METHODS)}.")
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods {', '.join(self.methods)}: expected each once.")
        if self.repetitions < 1 or self.epochs < 1:
            raise ConfigError("repetitions and epochs must be at least 1.")
        if self.site is not None and self.splits is not None:
            raise ConfigError(
                "a fixed split and leaving sites out exclude one another.",
                hint="Give one of --splits and --site.",
            )
