"""What is fitted, to which scans, and how they weigh: the section ``[fit]`` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from model.errors import ConfigError
from model.files.settings import Limits, Share, Strict

Weigh = Literal["cohorts", "windows"]
ShortBy = Literal["repeated", "random"]


@dataclass(frozen=True, kw_only=True)
class FitConfig(Strict):
    """Scans to fit to. Without shards, and in rows that no stored scan has, simulated ones."""

    shards: tuple[str, ...] = ()
    """Folders of stored series, one a cohort; covariances are those within a cohort."""
    subjects: str = ""
    """File of the subjects to fit to, one a line, in each of the folders, such as ``train.txt``;
    empty: all."""
    weigh: Weigh = "cohorts"
    """What weighs the same: ``cohorts``, so that a large one does not decide alone, for what all
    have in common is what holds in the next; or ``windows``."""
    simulated: Share = 0.0
    """Weight of the simulator beside the stored scans, in rows that they have."""
    parcels: tuple[str, ...] = ()
    """Groups, or single rows, whose parcels are whitened before they are mixed: their first
    weights take the mean covariance of people out. Needs ``run.init = "high-pass"``."""
    parcels_shrinkage: Share = 0.1
    """Share of the identity in that covariance."""
    short: Annotated[int, Limits(0, 64, "from 0 to 64")] = 0
    """Length of a short form of the scan vector, in dimensions of a token; 0: none."""
    short_by: ShortBy = "random"
    """Its directions: orthogonal ``random`` ones, for which whitened tokens are enough, or those
    in which people repeat themselves from session to session (``repeated``), which dozens of
    people do not show (docs/pretraining.md)."""
    short_shrinkage: Share = 0.3
    """Of ``repeated`` ones: share of the mean variance in the variance that they are held
    against."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.shards)) < len(self.shards):
            raise ConfigError(f"fit.shards {self.shards}: a folder stands there twice.")
        if self.shards and self.simulated == 1:
            raise ConfigError(
                "fit.simulated 1 leaves the stored scans without weight.",
                hint="Leave fit.shards away, or lower it.",
            )
