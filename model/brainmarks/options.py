"""What is exported, under which name, and who is in which part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from model.files.settings import Option, Strict
from model.files.shared_options import SeedOption, TargetOption

Description = Literal["denoised", "model"]


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Strict):
    """A data set of brainmarks."""

    name: Annotated[str, Option("--name", "Name of the data set.", metavar="NAME", required=True)]
    participants: Annotated[
        Path,
        Option(
            "--participants",
            "Table with participant_id and columns about people, such as participants.tsv.",
            path="file",
            required=True,
        ),
    ]
    target: TargetOption
    """Column of the participants table with the classes."""
    description: Annotated[
        Description,
        Option("--desc", "model: what the encoder saw; semantoks series writes no other."),
    ] = "denoised"
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Of train, validation and test, by subject and class."""
    seed: SeedOption = 0
