"""Options that several commands have: one name, one meaning, one default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from model.files.settings import Count, CountOrZero, Limits, Option, Strict

TaskIds = Annotated[
    tuple[str, ...],
    Option(
        "--task-id -t --task-label --task", "Tasks, with or without 'task-'.", metavar="LABEL ..."
    ),
]
"""Tasks to take; empty: all."""

CheckpointOption = Annotated[
    Path | None,
    Option(
        "--checkpoint",
        "Folder with weights and card, a published .pth, or the name of what 'semantoks assets "
        "checkpoint' installed. Default: the bundled one.",
        metavar="PATH|NAME",
        path="checkpoint",
    ),
]
"""None: the bundled one."""

FitShardsOption = Annotated[
    tuple[Path, ...],
    Option(
        "--fit-shards",
        "Shards that the checkpoint's whitening was fitted to; repeatable. Without them there are "
        "no whitened random weights to compare with.",
        metavar="FOLDER",
        path="folder",
    ),
]

DeviceOption = Annotated[
    str,
    Option(
        "--device",
        "Where the encoder runs; auto takes a GPU if there is one.",
        metavar="auto|cpu|cuda[:N]",
    ),
]

Normalization = Literal["robust", "zscore"]
"""How the series of a parcel are brought to one scale, over the whole scan."""

NormalizationOption = Annotated[
    Normalization | None,
    Option("--normalization", "Per-scan normalization. Default: as the checkpoint was trained."),
]

TR_LIMITS_S = (0.1, 20.0)
"""Outside, a TR was most likely given in milliseconds, or is a rate."""

RepetitionTime = Annotated[
    Annotated[float, Limits(*TR_LIMITS_S, "from 0.1 to 20 (seconds)")] | None,
    Option(
        "--tr",
        "Repetition time, 0.1 to 20. Default: what sidecar and header say.",
        metavar="SECONDS",
    ),
]
"""In seconds; None: what the files say."""

SeedOption = Annotated[
    CountOrZero, Option("--seed", "Of whatever is drawn at random.", metavar="NUMBER")
]

TargetOption = Annotated[
    str,
    Option(
        "--target",
        "Column to be predicted: of PARTICIPANTS, or with --target-of rows of DATA.",
        metavar="COLUMN",
        required=True,
    ),
]

EpochsOption = Annotated[
    Count, Option("--epochs", "Passes over the training subjects, at most.", metavar="COUNT")
]


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(Strict):
    """Where the encoder runs."""

    device: DeviceOption = "auto"


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(DeviceOptions):
    """Which encoder, and where it runs."""

    checkpoint: CheckpointOption = None
    """None: the bundled one."""
