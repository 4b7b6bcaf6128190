"""What a probe asks and how; frozen, and written down with the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from model.errors import ConfigError
from model.files.settings import Count, CountOrZero, Option, Positive, Strict
from model.files.shared_options import (
    EpochsOption,
    FitShardsOption,
    SeedOption,
    TargetOption,
    TaskIds,
)
from model.spec import ReadoutPart

if TYPE_CHECKING:
    from collections.abc import Iterable

Task = Literal["classification", "regression"]
RegressBy = Literal["r2", "mae"]

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
    "fc-svm-raw",
    "covariates-linear",
)
"""``linear`` is logistic regression or ridge; docs/probing.md describes each."""
PUBLISHED_METHODS = ("probe", "random-probe", "fc-svm-raw")
"""Those of the paper, and what its probe must be compared with."""
COVARIATES = "covariates-linear"
EXTRA_METHODS = ("fc-svm-raw", COVARIATES)
"""Those that are fitted only where they are asked for, or covariates are given."""
TABLE_METHODS = ("probe", "linear")
"""Those that need nothing but embeddings."""


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig(Strict):
    """What probe and fine-tuning share: the question, the subjects, the splits."""

    target: TargetOption
    task: Annotated[Task, Option("--kind", "What the target is.", required=True)]
    target_of: Annotated[
        Literal["people", "rows"],
        Option(
            "--target-of",
            "Whose the target is: a column of PARTICIPANTS, or one of DATA's own rows, such as "
            "trial_type or task_id; PARTICIPANTS may then be -.",
        ),
    ] = "people"
    shares: Annotated[
        tuple[Positive, Positive, Positive],
        Option("--shares", "Of the subjects, for training, validation and test."),
    ] = (0.6, 0.2, 0.2)
    splits: Annotated[
        Path | None,
        Option(
            "--splits",
            "Table of a fixed split: participant_id, split (train, validation, test).",
            path="any",
        ),
    ] = None
    seed: SeedOption = 0
    readout: Annotated[
        tuple[ReadoutPart, ...],
        Option(
            "--readout",
            "Parts of the embedding, in order; repeatable. Default: the checkpoint's.",
        ),
    ] = ()
    n_crops: Annotated[
        Count, Option("--n-crops", "Equally spaced windows per scan.", metavar="COUNT")
    ] = 8
    scans: Annotated[
        Literal["all", "one"],
        Option("--scans", "All scans of a subject, or one of them, drawn at random."),
    ] = "all"
    train_subjects: Annotated[
        Count | None,
        Option(
            "--train-subjects",
            "Train on so many of those that a split has for it; the others have no part.",
            metavar="COUNT",
        ),
    ] = None
    regress_by: Annotated[
        RegressBy,
        Option("--regress-by", "What validation chooses settings by, of numbers."),
    ] = "r2"
    task_ids: TaskIds = ()
    entities: Annotated[
        tuple[str, ...],
        Option("--entity", "Only scans with it, such as ses-1; repeatable.", metavar="KEY-LABEL"),
    ] = ()
    """Only scans whose names hold all of these, such as ``ses-1``."""
    allow_missing: Annotated[
        bool,
        Option(
            "--allow-missing",
            "Leave subjects out who lack the target, or another column that is needed, instead of "
            "refusing.",
        ),
    ] = False

    @property
    def columns_needed(self) -> tuple[str, ...]:
        """Columns of PARTICIPANTS that every subject needs beside the target."""
        return ()

    @property
    def are_drawn(self) -> bool:
        """True if splits are drawn, by ``shares``."""
        return self.splits is None

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

    read: Annotated[
        Literal["series", "windows", "tokens"],
        Option(
            "--read",
            "Of an output folder: the series, encoded anew; or the windows' embeddings or tokens "
            "as they were written.",
        ),
    ] = "series"
    site: Annotated[
        str | None,
        Option("--site", "Test on each site in turn, train on the others.", metavar="COLUMN"),
    ] = None
    """Column whose values are left out one by one as test set, in place of repetitions."""
    covariates: Annotated[
        tuple[str, ...],
        Option(
            "--covariate",
            "Column of PARTICIPANTS that features are residualised by, learned from the training "
            "subjects of each split; repeatable.",
            metavar="COLUMN",
        ),
    ] = ()
    harmonize: Annotated[
        str | None,
        Option(
            "--harmonize",
            "Column of the site whose effect ComBat takes out, learned from training subjects.",
            metavar="COLUMN",
        ),
    ] = None
    repetitions: Annotated[
        Count,
        Option(
            "--repetitions",
            "Of drawn splits; --site and --splits have a number of their own.",
            metavar="COUNT",
        ),
    ] = 10
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--method",
            "Such as probe or fc-svm; repeatable. Default: all that there are.",
            metavar="NAME",
        ),
    ] = ()
    """Of `METHODS`; empty: all that the input allows."""
    epochs: EpochsOption = 50
    """Of the probe's training."""
    permutations: Annotated[
        CountOrZero,
        Option(
            "--permutations",
            "Of the labels, each fitted anew, for a p-value of every method.",
            metavar="COUNT",
        ),
    ] = 0
    fit_shards: FitShardsOption = ()

    @property
    def columns_needed(self) -> tuple[str, ...]:
        """Columns of PARTICIPANTS that every subject needs beside the target."""
        return (*self.covariates, *(c for c in (self.harmonize, self.site) if c is not None))

    @property
    def are_drawn(self) -> bool:
        """True if splits are drawn, by ``shares``."""
        return super().are_drawn and self.site is None

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = sorted(set(self.methods) - set(METHODS))
        if wrong:
            raise ConfigError(f"unknown methods {wrong}.", hint=f"Known: {', '.join(METHODS)}.")
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods {', '.join(self.methods)}: expected each once.")
        if len({self.target, *self.covariates}) < 1 + len(self.covariates):
            raise ConfigError(
                f"covariates {', '.join(self.covariates)}: expected each once, and not the target."
            )
        if COVARIATES in self.methods and not self.covariates:
            raise ConfigError(f"{COVARIATES} needs --covariate.")
        if self.harmonize is not None and self.site is not None:
            raise ConfigError(
                "ComBat knows nothing of a site that it has not learned from.",
                hint="Give one of --harmonize and --site.",
            )
        if self.site is not None and self.splits is not None:
            raise ConfigError(
                "a fixed split and leaving sites out exclude one another.",
                hint="Give one of --splits and --site.",
            )


PROBE_PRESETS = {
    "published": {
        "readout": ("mean", "cls"),
        "scans": "one",
        "regress_by": "mae",
        "method": PUBLISHED_METHODS,
    }
}
"""Values of options by preset, where these are not given."""


@dataclass(frozen=True, kw_only=True)
class ResultOptions(Strict):
    """What becomes of a folder that holds results."""

    overwrite: Annotated[bool, Option("--overwrite", "Redo what is done already.")] = False


def is_wanted(
    there: Iterable[str], *, entities: Iterable[str] = (), task_ids: Iterable[str] = ()
) -> bool:
    """Tell whether a scan with these entities has all that are asked for, and one of the tasks.

    Examples
    --------
    >>> is_wanted(["sub-01", "task-rest"], task_ids=["rest", "movie"])
    True
    >>> is_wanted(["sub-01", "task-rest"], entities=["ses-1"])
    False
    """
    found = set(there)
    tasks = {f"task-{label.removeprefix('task-')}" for label in task_ids}
    return found.issuperset(entities) and (not tasks or not tasks.isdisjoint(found))
