"""What is evaluated, and what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from model.cohort.names import SESSION, SUBJECT
from model.errors import ConfigError
from model.files.settings import Limits, Option, Strict
from model.files.shared_options import CheckpointOption, FitShardsOption, SeedOption


def conditions(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Read ``COLUMN=VALUE``.

    Raises
    ------
    ConfigError
        Something has another form.
    """
    pairs = [text.partition("=") for text in words]
    if not all(column and equals for column, equals, _ in pairs):
        raise ConfigError(f"--where {' '.join(words)}: expected COLUMN=VALUE.")
    return tuple((column, value) for column, _, value in pairs)


@dataclass(frozen=True, kw_only=True)
class SourceOptions(Strict):
    """Which columns say what a row is, which rows are used, and what its vector is."""

    subject_column: Annotated[
        str, Option("--subject-column", "Column that says whose a row is.", metavar="COLUMN")
    ] = SUBJECT
    session_column: Annotated[
        str, Option("--session-column", "Column that says of which session.", metavar="COLUMN")
    ] = SESSION
    pipeline_column: Annotated[
        str | None,
        Option(
            "--pipeline-column",
            "Column that says by which pipeline a row was made.",
            metavar="COLUMN",
        ),
    ] = None
    window_column: Annotated[
        str | None,
        Option(
            "--window-column",
            "Column with the number of a window: rows are windows.",
            metavar="COLUMN",
        ),
    ] = None
    where: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            "--where",
            "Use only such rows; repeatable.",
            metavar="COLUMN=VALUE",
            read=conditions,
        ),
    ] = ()
    """Column and value that a row must have"""
    features: Annotated[
        str | None,
        Option("--features", "Names of the columns that are the vector.", metavar="REGEX"),
    ] = None
    """Regular expression that a column's whole name fits; None: the app's own columns"""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Strict):
    """What is compared with what."""

    source: SourceOptions
    against: Annotated[
        Path | None,
        Option(
            "--against",
            "Other embeddings of the same scans; differences are taken subject by subject.",
            path="any",
        ),
    ] = None
    across: Annotated[
        Path | None,
        Option(
            "--across",
            "The same scans by another pipeline: identify one with the other.",
            path="any",
        ),
    ] = None
    connectivity: Annotated[
        bool,
        Option("--no-connectivity", "Leave out the comparison with connectivity.", value=False),
    ] = True
    """Compare with connectivity where the source is an output folder"""
    checkpoint: CheckpointOption = None
    """The encoder that made the outputs of the source, for what encodes their series anew"""
    random_weights: Annotated[
        bool,
        Option(
            "--random-weights",
            "Compare with the architecture of --checkpoint under random weights.",
        ),
    ] = False
    fit_shards: FitShardsOption = ()
    robustness: Annotated[
        bool,
        Option(
            "--robustness",
            "Perturb the series of SOURCE and embed them again with --checkpoint. Takes minutes.",
        ),
    ] = False
    condition_column: Annotated[
        str | None,
        Option(
            "--condition-column",
            "Column of a table that says what was done to a scan: how far does it move a vector?",
            metavar="COLUMN",
        ),
    ] = None
    """Needs ``reference``"""
    reference: Annotated[
        str | None,
        Option("--reference", "What that column holds for scans as they are.", metavar="VALUE"),
    ] = None
    """Only such rows are evaluated, the others compared"""
    motion_column: Annotated[
        str | None,
        Option(
            "--motion-column",
            "Mean motion: how much of it do the vectors predict?",
            metavar="COLUMN",
        ),
    ] = None
    site_column: Annotated[
        str | None,
        Option(
            "--site-column",
            "Site or scanner: how often do the vectors predict it?",
            metavar="COLUMN",
        ),
    ] = None
    n_resamples: Annotated[
        int,
        Limits(100, 10**9, "at least 100"),
        Option("--n-resamples", "Of the bootstrap over subjects.", metavar="COUNT"),
    ] = 2000
    seed: SeedOption = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checkpoint is not None and not (self.random_weights or self.robustness):
            raise ConfigError(
                "--checkpoint says with what to encode series anew, and nothing is.",
                hint="Add --random-weights, --robustness, or both.",
            )
        if self.fit_shards and not self.random_weights:
            raise ConfigError(
                "--fit-shards are what random weights are whitened on, and there are none.",
                hint="Add --random-weights.",
            )
